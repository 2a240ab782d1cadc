//! The numbers of the system calls and of the operations of [`Call::DoIo`].

/// A system call, by its number in `rax`. `docs/system-calls/` has a page for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Call {
    /// `() → ABI version`. Does nothing else: the cheapest way through the kernel.
    Version = 0,
    /// `(object, operation, a, b, c, d) → value`: one operation on one object.
    DoIo = 1,
    /// `(handle)`: gives a handle back.
    Close = 2,
    /// `(handle, rights, process or null) → handle`: a second handle with the same or fewer
    /// rights, in the caller's table or in another process's.
    Duplicate = 3,
    /// `(process, memory, address or 0, offset, length, access) → address`: makes pages of a
    /// Memory visible in an address space.
    Map = 4,
    /// `(process, address, length)`: takes whole mappings away again.
    Unmap = 5,
    /// `(process or thread, deadline) → exit status`: waits for its end.
    Wait = 6,
    /// `(address, expected, deadline, 0 or [`FUTEX_DEAF`])`: sleeps while the 32-bit word has the
    /// expected value.
    FutexWait = 7,
    /// `(address, count) → woken`: wakes sleepers of this process on that word.
    FutexWake = 8,
    /// `()`: lets another ready thread of the same priority run first.
    Yield = 9,
    /// `(code)`: ends the calling thread.
    ExitThread = 10,
    /// `(code)`: ends the calling process.
    ExitProcess = 11,
    /// `(service, token or 0, status, value, extra, deadline) → message`: answers a request, if the
    /// token names one, and waits for the next ([`crate::service`]).
    Serve = 12,
    /// `(queue, minimum, deadline) → completions`: takes what was submitted, and waits until so many
    /// completions are there ([`crate::queue`]).
    Enter = 13,
    /// `(event, event, deadline) → count`: signals the first, and waits for the second.
    SignalAndWait = 14,
}

/// How many call numbers exist; numbers from here on are [`crate::Error::UnknownCall`].
pub const CALL_COUNT: u64 = 15;

// The design keeps the number of system calls under twenty.
const _: () = assert!(CALL_COUNT < 20);

impl Call {
    /// The call with this number, if there is one.
    pub const fn from_raw(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Version,
            1 => Self::DoIo,
            2 => Self::Close,
            3 => Self::Duplicate,
            4 => Self::Map,
            5 => Self::Unmap,
            6 => Self::Wait,
            7 => Self::FutexWait,
            8 => Self::FutexWake,
            9 => Self::Yield,
            10 => Self::ExitThread,
            11 => Self::ExitProcess,
            12 => Self::Serve,
            13 => Self::Enter,
            14 => Self::SignalAndWait,
            _ => return None,
        })
    }
}

/// An operation on an object, by [`Call::DoIo`] or as an entry of a queue
/// ([`crate::queue::Submission`]). Which object knows which, and what the arguments mean there, is
/// in [`crate::object`], [`crate::device`] and [`crate::service`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Operation {
    /// `(name, length, value) → handle`: looks up a named object.
    Open = 0,
    /// `(kind, b, c) → handle`: makes a new object.
    Create = 1,
    /// `(code)`: ends what the object stands for.
    Destroy = 2,
    /// `(offset, address, length, registration) → bytes read`.
    Read = 3,
    /// `(offset, address, length, registration) → bytes written`.
    Write = 4,
    /// `(key) → value`.
    GetMeta = 5,
    /// `(key, value)`.
    SetMeta = 6,
    /// `(handle or null, rights, key) → handle or number`: gives the object a Memory or an Event to
    /// use, or has it yield one.
    Share = 7,
    /// `()`: gives the handle back. In a queue; alone it is [`Call::Close`].
    Close = 8,
    /// `(user data) → 0 or 1`: on an IoQueue, asks for a request to be given back soon; 1 if it is
    /// still to come.
    Cancel = 9,
    /// `(token, status, value, extra)`: on a Service, answers a request.
    Reply = 10,
    /// `()`: waits for the object, until the entry's deadline. In a queue; alone it is
    /// [`Call::Wait`].
    Wait = 11,
    /// `()`: nothing, on no object. In a queue only.
    Nothing = 12,
}

/// How many operations exist; numbers from here on are [`crate::Error::BadOperation`].
pub const OPERATION_COUNT: u64 = 13;

/// In the operation of [`Call::DoIo`]: `r12` has a trace id, which the server of the object gets.
pub const TRACED: u64 = 1 << 8;
/// In the operation of [`Call::DoIo`]: `r13` has the deadline of the call, if a process serves the
/// object.
pub const TIMED: u64 = 1 << 9;

impl Operation {
    /// The operation with this number, if there is one.
    #[inline]
    pub const fn from_raw(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Open,
            1 => Self::Create,
            2 => Self::Destroy,
            3 => Self::Read,
            4 => Self::Write,
            5 => Self::GetMeta,
            6 => Self::SetMeta,
            7 => Self::Share,
            8 => Self::Close,
            9 => Self::Cancel,
            10 => Self::Reply,
            11 => Self::Wait,
            12 => Self::Nothing,
            _ => return None,
        })
    }
}

/// For [`Call::FutexWait`]: a request to stop does not end the wait, because what is waited for, as
/// a lock, is to be had soon.
pub const FUTEX_DEAF: u64 = 1;

/// A deadline that never comes. Deadlines are nanoseconds on the monotonic clock
/// ([`crate::time::TimePage`]); one in the past means "do not wait".
pub const NO_DEADLINE: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_number_round_trips_and_the_next_is_unknown() {
        for number in 0..CALL_COUNT {
            assert_eq!(Call::from_raw(number).unwrap() as u64, number);
        }
        assert_eq!(Call::from_raw(CALL_COUNT), None);
        assert_eq!(Call::from_raw(u64::MAX), None);
    }

    #[test]
    fn every_operation_number_round_trips() {
        for number in 0..OPERATION_COUNT {
            assert_eq!(Operation::from_raw(number).unwrap() as u64, number);
        }
        assert_eq!(Operation::from_raw(OPERATION_COUNT), None);
    }
}

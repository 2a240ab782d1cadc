//! The system calls, raw: registers in, registers out. The typed form is in [`crate::object`].
//!
//! A system call is a function call: the compiler is told that every register that the C
//! convention lets a function change is gone afterwards, and nothing more.

use core::arch::asm;

use spillway_abi::{Call, Error, Handle, Rights, call::FUTEX_DEAF, error::decode_result};

/// One `syscall` instruction. The third argument and the value share `rdx`, so the forms with
/// fewer arguments are separate: they load no register for nothing.
macro_rules! syscall {
    ($number:expr $(, $register:tt = $value:expr)* ; rdx = $third:expr) => {{
        let (status, value): (u64, u64);
        asm!(
            "syscall",
            inlateout("rax") $number => status,
            inlateout("rdx") $third => value,
            $(in($register) $value,)*
            clobber_abi("C"),
            options(nostack),
        );
        (status, value)
    }};
    ($number:expr $(, $register:tt = $value:expr)*) => {{
        let (status, value): (u64, u64);
        asm!(
            "syscall",
            inlateout("rax") $number => status,
            lateout("rdx") value,
            $(in($register) $value,)*
            clobber_abi("C"),
            options(nostack),
        );
        (status, value)
    }};
}

mod io;
mod wait;

pub use io::{Failure, ask, ask_until, create, do_io};
pub use wait::{enter, serve, signal_and_wait};

/// Any system call with any arguments; returns `rax` and `rdx`.
///
/// # Safety
///
/// The call may do whatever the kernel lets this process do: write to its memory, unmap it, end
/// the thread. The caller answers for what it asks.
pub unsafe fn raw(number: u64, arguments: [u64; 6]) -> (u64, u64) {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the caller answers for the effect; the registers are those of the ABI.
    unsafe { syscall!(number, "rdi" = a, "rsi" = b, "r10" = d, "r8" = e, "r9" = f; rdx = c) }
}

/// The kernel's ABI version.
#[inline(always)]
pub fn version() -> u32 {
    // SAFETY: the call has no arguments and no effect.
    let (_, version) = unsafe { syscall!(Call::Version as u64) };
    version as u32
}

/// Gives a handle back.
///
/// # Errors
///
/// [`Error::BadHandle`] if it names nothing.
pub fn close(handle: Handle) -> Result<(), Error> {
    // SAFETY: the object lives on for everybody else, and mappings keep their memory.
    let (status, value) = unsafe { syscall!(Call::Close as u64, "rdi" = u64::from(handle.raw())) };
    decode_result(status, value).map(drop)
}

/// A second handle, here (`process` null) or in another process.
///
/// # Errors
///
/// [`Error::MissingRight`] for rights that the handle does not have or without the right to pass
/// it, [`Error::LimitReached`] if the table is full, [`Error::BadHandle`].
pub fn duplicate(handle: Handle, rights: Rights, process: Handle) -> Result<Handle, Error> {
    // SAFETY: handing on a capability touches no memory of this process.
    let (status, value) = unsafe {
        syscall!(
            Call::Duplicate as u64,
            "rdi" = u64::from(handle.raw()),
            "rsi" = u64::from(rights.bits());
            rdx = u64::from(process.raw())
        )
    };
    decode_result(status, value).map(|raw| Handle::from_raw(raw as u32))
}

/// Makes `length` bytes of a Memory, from `offset`, visible in an address space; at `address`, or
/// where the kernel likes if that is 0. Returns the address.
///
/// # Errors
///
/// [`Error::WriteAndExecute`], [`Error::AddressInUse`], [`Error::OutOfRange`],
/// [`Error::BadArgument`] for misalignment, and those of the two handles.
///
/// # Safety
///
/// In this process, nobody may hold references that the new access contradicts.
pub unsafe fn map(
    process: Handle,
    memory: Handle,
    address: u64,
    offset: u64,
    length: u64,
    access: Rights,
) -> Result<u64, Error> {
    // SAFETY: passed on to the caller.
    let (status, value) = unsafe {
        syscall!(
            Call::Map as u64,
            "rdi" = u64::from(process.raw()),
            "rsi" = u64::from(memory.raw()),
            "r10" = offset,
            "r8" = length,
            "r9" = u64::from(access.bits());
            rdx = address
        )
    };
    decode_result(status, value)
}

/// Takes whole mappings away.
///
/// # Errors
///
/// [`Error::NotMapped`] if the range is not exactly one or more mappings, and those of the handle.
///
/// # Safety
///
/// Nothing may refer to the range any more.
pub unsafe fn unmap(process: Handle, address: u64, length: u64) -> Result<(), Error> {
    // SAFETY: passed on to the caller.
    let (status, value) = unsafe {
        syscall!(
            Call::Unmap as u64,
            "rdi" = u64::from(process.raw()),
            "rsi" = address;
            rdx = length
        )
    };
    decode_result(status, value).map(drop)
}

/// Waits until a process or thread has ended; returns its raw exit status.
///
/// # Errors
///
/// [`Error::TimedOut`], [`Error::Interrupted`], and those of the handle.
pub fn wait(object: Handle, deadline: u64) -> Result<u64, Error> {
    // SAFETY: waiting touches no memory.
    let (status, value) = unsafe {
        syscall!(
            Call::Wait as u64,
            "rdi" = u64::from(object.raw()),
            "rsi" = deadline
        )
    };
    decode_result(status, value)
}

/// Sleeps while the word at `address` has the `expected` value.
///
/// # Errors
///
/// [`Error::Changed`] if it has another value, [`Error::TimedOut`], [`Error::Interrupted`],
/// [`Error::BadPointer`], [`Error::BadArgument`] if it is misaligned.
pub fn futex_wait(address: *const u32, expected: u32, deadline: u64) -> Result<(), Error> {
    futex_sleep(address, expected, deadline, 0)
}

/// The same, but a request to stop does not end the sleep.
///
/// # Errors
///
/// As for [`futex_wait`], without [`Error::Interrupted`].
pub fn futex_wait_regardless(
    address: *const u32,
    expected: u32,
    deadline: u64,
) -> Result<(), Error> {
    futex_sleep(address, expected, deadline, FUTEX_DEAF)
}

fn futex_sleep(address: *const u32, expected: u32, deadline: u64, flags: u64) -> Result<(), Error> {
    // SAFETY: the kernel reads the word with checks; a bad address is an error.
    let (status, value) = unsafe {
        syscall!(
            Call::FutexWait as u64,
            "rdi" = address,
            "rsi" = u64::from(expected),
            "r10" = flags;
            rdx = deadline
        )
    };
    decode_result(status, value).map(drop)
}

/// Wakes at most `count` sleepers on the word; returns how many.
///
/// # Errors
///
/// [`Error::BadPointer`], [`Error::BadArgument`] if it is misaligned.
pub fn futex_wake(address: *const u32, count: u32) -> Result<u32, Error> {
    // SAFETY: sleepers check their condition again; the word itself is not touched.
    let (status, value) = unsafe {
        syscall!(
            Call::FutexWake as u64,
            "rdi" = address,
            "rsi" = u64::from(count)
        )
    };
    decode_result(status, value).map(|woken| woken as u32)
}

/// Lets another ready thread of the same priority run first.
#[inline(always)]
pub fn yield_now() {
    // SAFETY: the call has no arguments and touches no memory.
    let _ = unsafe { syscall!(Call::Yield as u64) };
}

/// Ends the calling thread.
///
/// # Safety
///
/// Nothing on its stack is dropped; no other thread may refer to it.
pub unsafe fn exit_thread(code: i32) -> ! {
    // SAFETY: passed on to the caller. The call does not return.
    unsafe {
        let _ = syscall!(Call::ExitThread as u64, "rdi" = u64::from(code as u32));
        core::hint::unreachable_unchecked()
    }
}

/// Ends the calling process.
pub fn exit_process(code: i32) -> ! {
    // SAFETY: nothing of the process exists afterwards. The call does not return.
    unsafe {
        let _ = syscall!(Call::ExitProcess as u64, "rdi" = u64::from(code as u32));
        core::hint::unreachable_unchecked()
    }
}

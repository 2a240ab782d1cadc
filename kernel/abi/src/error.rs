//! Why a system call refused.

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why a system call refused. The number travels in `rax`; 0 is success.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Error {
            $($(#[$doc])* $name = $code,)*
        }

        impl Error {
            /// Every error, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The error with this number; `None` for 0 and for numbers that are not in use.
            pub const fn from_raw(raw: u64) -> Option<Self> {
                match raw {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// What went wrong, as a sentence for people.
            pub const fn describe(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

errors! {
    /// No system call has this number.
    UnknownCall = 1, "no system call has this number";
    /// The handle is null, was closed, was never given out, or is from another process.
    BadHandle = 2, "the handle is null, closed or not from this process";
    /// The handle names an object of another kind than the call needs.
    WrongObject = 3, "the handle names an object of another kind";
    /// The handle lacks a right that the call needs.
    MissingRight = 4, "the handle lacks a right that this needs";
    /// The object does not know this operation, key or kind.
    BadOperation = 5, "the object does not know this operation, key or kind";
    /// A pointer leads outside the caller's mapped memory, or lacks the access.
    BadPointer = 6, "a pointer leads outside the memory that the caller may use";
    /// An argument is out of range or misaligned.
    BadArgument = 7, "an argument is out of range or misaligned";
    /// The range is not inside the object.
    OutOfRange = 8, "the range is not inside the object";
    /// The address range is in use, or no free range is left.
    AddressInUse = 9, "the address range is in use or no free range is left";
    /// The address range is not exactly one or more whole mappings.
    NotMapped = 10, "the address range is not a whole mapping";
    /// A page may be writable or executable, never both.
    WriteAndExecute = 11, "a page may be writable or executable, never both";
    /// A limit of the process is reached: memory, handles, threads or processes.
    LimitReached = 12, "a limit of the process is reached";
    /// The machine has no free memory left.
    OutOfMemory = 13, "the machine has no free memory left";
    /// The deadline came first.
    TimedOut = 14, "the deadline came first";
    /// The thread was asked to stop while it waited.
    Interrupted = 15, "the thread was asked to stop";
    /// The word did not have the expected value, so there was nothing to wait for.
    Changed = 16, "the word did not have the expected value";
    /// The process that the object belonged to has ended.
    Gone = 17, "the process that this belonged to has ended";
    /// The object is in exclusive use.
    Busy = 18, "the object is in exclusive use";
    /// The object's name, list or text is longer than the call takes.
    TooLong = 19, "a name, list or text is longer than this takes";
    /// The grant does not allow this: it could harm others.
    Refused = 20, "the grant of the device does not allow this";
    /// There is no IOMMU, and the boot command line does not say `dma=trust`.
    NoIommu = 21, "device access to memory needs an IOMMU, or dma=trust on the boot command line";
    /// Nothing has this name.
    NotFound = 22, "nothing has this name";
    /// The device did not do what it must in time, or has hardware that is not supported.
    DeviceFailed = 23, "the device did not answer, or is not supported";
    /// The process that serves the object has ended, or serves it no longer.
    ServerGone = 24, "the process that serves the object is gone";
    /// The request was cancelled before it was done.
    Cancelled = 25, "the request was cancelled";
    /// A ring has an index or an entry that cannot be.
    Corrupt = 26, "a ring has an index or an entry that cannot be";
    /// What the object does failed, for a reason of its own that comes with the error.
    Failed = 27, "the object could not do it, for a reason of its own";
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.describe())
    }
}

impl core::error::Error for Error {}

/// Splits the two result registers of a system call.
///
/// An unknown code in `rax` (a newer kernel) is reported as [`Error::BadOperation`].
pub const fn decode_result(rax: u64, rdx: u64) -> Result<u64, Error> {
    if rax == 0 {
        return Ok(rdx);
    }
    match Error::from_raw(rax) {
        Some(error) => Err(error),
        None => Err(Error::BadOperation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_zero_is_success() {
        for &error in Error::ALL {
            assert_eq!(Error::from_raw(error as u64), Some(error));
            assert_eq!(decode_result(error as u64, 7), Err(error));
        }
        assert_eq!(Error::from_raw(0), None);
        assert_eq!(decode_result(0, 7), Ok(7));
    }
}

//! How a thread or a process ended.

/// What the processor refused to do for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// Division by zero or overflow of a division.
    Divide = 1,
    /// A breakpoint or single step without a debugger.
    Breakpoint = 2,
    /// An instruction that does not exist, or `ud2`.
    InvalidInstruction = 3,
    /// A privileged instruction or another general protection fault.
    Protection = 4,
    /// A page that is not mapped or lacks the access.
    Page = 5,
    /// The page below a stack.
    StackGuard = 6,
    /// A misaligned access with alignment checks on.
    Alignment = 7,
    /// A floating-point exception that the program had unmasked.
    FloatingPoint = 8,
    /// Any other exception.
    Other = 9,
}

impl Fault {
    /// One more than the largest number.
    pub const COUNT: usize = 10;

    /// The fault with this number, if there is one.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            1 => Self::Divide,
            2 => Self::Breakpoint,
            3 => Self::InvalidInstruction,
            4 => Self::Protection,
            5 => Self::Page,
            6 => Self::StackGuard,
            7 => Self::Alignment,
            8 => Self::FloatingPoint,
            9 => Self::Other,
            _ => return None,
        })
    }

    /// What happened, for people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Divide => "a division by zero or overflow",
            Self::Breakpoint => "a breakpoint without a debugger",
            Self::InvalidInstruction => "an invalid instruction",
            Self::Protection => "a privileged or malformed instruction",
            Self::Page => "an access to memory that it may not use",
            Self::StackGuard => "a stack overflow",
            Self::Alignment => "a misaligned access",
            Self::FloatingPoint => "a floating-point exception",
            Self::Other => "an exception",
        }
    }
}

/// How a thread or a process ended; what [`crate::Call::Wait`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It ended by itself with this code; 0 means success.
    Exited(i32),
    /// The processor refused an instruction of it.
    Faulted(Fault),
    /// Somebody with a handle ended the process, with this code.
    Killed(i32),
}

impl ExitStatus {
    /// The exit code of a program that panicked.
    pub const PANIC_CODE: i32 = 101;

    /// The value that travels in a register.
    pub const fn to_raw(self) -> u64 {
        match self {
            Self::Exited(code) => code as u32 as u64,
            Self::Faulted(fault) => 1 << 32 | fault as u64,
            Self::Killed(code) => 2 << 32 | code as u32 as u64,
        }
    }

    /// The status behind a value; `None` if there is none.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        let low = raw as u32;
        match raw >> 32 {
            0 => Some(Self::Exited(low as i32)),
            1 if low < 256 => match Fault::from_raw(low as u8) {
                Some(fault) => Some(Self::Faulted(fault)),
                None => None,
            },
            2 => Some(Self::Killed(low as i32)),
            _ => None,
        }
    }

    /// Whether it ended by itself with code 0.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

impl core::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Faulted(fault) => write!(f, "was ended by {}", fault.describe()),
            Self::Killed(code) => write!(f, "was ended from outside with code {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn codes_round_trip(code: i32) {
            for status in [ExitStatus::Exited(code), ExitStatus::Killed(code)] {
                prop_assert_eq!(ExitStatus::from_raw(status.to_raw()), Some(status));
            }
        }

        #[test]
        fn raw_values_that_decode_encode_to_themselves(raw: u64) {
            if let Some(status) = ExitStatus::from_raw(raw) {
                prop_assert_eq!(status.to_raw(), raw);
            }
        }
    }

    #[test]
    fn faults_round_trip() {
        for raw in 1..Fault::COUNT as u8 {
            let status = ExitStatus::Faulted(Fault::from_raw(raw).unwrap());
            assert_eq!(ExitStatus::from_raw(status.to_raw()), Some(status));
        }
        assert_eq!(Fault::from_raw(0), None);
        assert_eq!(Fault::from_raw(Fault::COUNT as u8), None);
    }
}

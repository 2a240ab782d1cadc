//! The status of a completed command, and the error that it becomes.

use spillway_hal::{DriverError, DriverErrorKind};

/// The Status field of a completion without the phase tag: 15 bits (NVM Express Base Specification
/// 2.0, 3.3.3.2.1). Status code in bits 07:00, status code type in bits 10:08, then the retry
/// delay, More, and Do Not Retry. It appears as [`DriverError::status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusField(pub u16);

/// Status code types (figure 93).
const GENERIC: u16 = 0;
const COMMAND_SPECIFIC: u16 = 1;
const MEDIA: u16 = 2;

impl StatusField {
    /// Whether the command succeeded.
    pub const fn is_success(self) -> bool {
        self.code() == 0 && self.code_type() == 0
    }

    /// The status code.
    pub const fn code(self) -> u16 {
        self.0 & 0xff
    }

    /// The status code type.
    pub const fn code_type(self) -> u16 {
        self.0 >> 8 & 7
    }

    /// Whether the same command would fail again.
    pub const fn do_not_retry(self) -> bool {
        self.0 & 1 << 14 != 0
    }

    /// The error of a command that completed in this way. Generic codes are those of figure 94 and
    /// of the NVM Command Set Specification 1.0, 3.1; the others of its 3.1.1 and 3.1.2.
    #[cold]
    pub fn error(self) -> DriverError {
        use DriverErrorKind as Kind;
        let (kind, reason) = match (self.code_type(), self.code()) {
            (GENERIC, 0x04) => (
                Kind::Device,
                "the device could not reach the data in memory",
            ),
            (GENERIC, 0x07 | 0x08) => (Kind::Aborted, "the device gave the command up"),
            (GENERIC, 0x20) | (COMMAND_SPECIFIC, 0x82) => {
                (Kind::WriteProtected, "the namespace is write-protected")
            }
            (GENERIC, 0x80) => (Kind::OutOfRange, "the device has no such blocks"),
            (MEDIA, _) => (Kind::Media, "the medium failed"),
            _ => (Kind::Device, "the device reported an error"),
        };
        DriverError::new(kind, reason).with_status(self.0.into())
    }

    /// As a result.
    #[inline]
    pub(crate) fn result(self) -> Result<(), DriverError> {
        if self.is_success() {
            Ok(())
        } else {
            Err(self.error())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::StatusField;
    use spillway_hal::DriverErrorKind as Kind;

    #[test]
    fn statuses_have_kinds() {
        let kind = |status| StatusField(status).error().kind;
        assert_eq!(kind(0x080), Kind::OutOfRange);
        assert_eq!(kind(0x281), Kind::Media);
        assert_eq!(kind(0x182), Kind::WriteProtected);
        assert_eq!(kind(0x4002), Kind::Device);
        assert_eq!(StatusField(0x4002).error().status, 0x4002);
        assert!(StatusField(0x4002).do_not_retry());
        // Neither the retry delay nor More makes a success a failure.
        assert!(StatusField(0x3800).is_success());
    }
}

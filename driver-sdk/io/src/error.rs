//! One error for all levels: a kind to decide by, a sentence for people, the number behind it.

use core::fmt;

use spillway_hal::{DriverError, DriverErrorKind, HalError, HalErrorKind};

/// What went wrong between an application and a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The kind, to decide by. It is the same at every level.
    pub kind: ErrorKind,
    /// What was wrong and what would be right, for people.
    pub reason: &'static str,
    /// The device's own status, as its driver documents it; zero where it has none.
    pub status: u64,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The device, or the path to it, has no such operation.
    Unsupported,
    /// The request contradicts itself or a limit of the device.
    InvalidRequest,
    /// The request reaches past the end of the device.
    OutOfRange,
    /// A buffer is of a pool that is not registered with this device.
    NotRegistered,
    /// The queue has no room; take completions first.
    QueueFull,
    /// The caller has no right to do this.
    Denied,
    /// Somebody else has it, or a limit is reached for the moment.
    Busy,
    /// Memory is used up, or too fragmented for a buffer of this size.
    OutOfMemory,
    /// The medium cannot be written.
    WriteProtected,
    /// The medium failed: data that cannot be read or was not written.
    Media,
    /// The device reported an error of another kind; `status` has it.
    Device,
    /// The device or the server broke its own rules.
    Protocol,
    /// The deadline passed. What was asked for is still under way.
    TimedOut,
    /// The process was asked to stop while it waited.
    Interrupted,
    /// The request was cancelled, and has had no effect on the device unless it was a write: that
    /// may be done, in part or not at all.
    Cancelled,
    /// The device was reset, or its server died, while it had the request. A write may be done, in
    /// part or not at all.
    Lost,
    /// The device is gone for good.
    Gone,
}

impl Error {
    /// An error without a status of the device behind it.
    pub const fn new(kind: ErrorKind, reason: &'static str) -> Self {
        Self {
            kind,
            reason,
            status: 0,
        }
    }

    /// The same error with the device's own status.
    pub const fn with_status(self, status: u64) -> Self {
        Self { status, ..self }
    }
}

impl From<HalError> for Error {
    #[cold]
    fn from(error: HalError) -> Self {
        DriverError::from(error).into()
    }
}

impl From<DriverError> for Error {
    #[cold]
    fn from(error: DriverError) -> Self {
        use {DriverErrorKind as Driver, HalErrorKind as Hal};
        let kind = match error.kind {
            Driver::Hal(Hal::Refused) => ErrorKind::Denied,
            Driver::Hal(Hal::Busy) => ErrorKind::Busy,
            Driver::Hal(Hal::OutOfMemory) => ErrorKind::OutOfMemory,
            Driver::Hal(Hal::Interrupted) => ErrorKind::Interrupted,
            Driver::Hal(Hal::InvalidArgument) | Driver::InvalidRequest => ErrorKind::InvalidRequest,
            Driver::Hal(Hal::Unsupported | Hal::NotFound) => ErrorKind::Unsupported,
            Driver::Unsupported | Driver::WrongDevice => ErrorKind::Unsupported,
            Driver::OutOfRange => ErrorKind::OutOfRange,
            Driver::QueueFull => ErrorKind::QueueFull,
            Driver::WriteProtected => ErrorKind::WriteProtected,
            Driver::Media => ErrorKind::Media,
            Driver::Protocol => ErrorKind::Protocol,
            Driver::TimedOut => ErrorKind::TimedOut,
            // A driver's queue gives requests back unfinished after a reset only.
            Driver::Aborted => ErrorKind::Lost,
            Driver::Gone => ErrorKind::Gone,
            // `Device`, and kinds that may be added: the status says more.
            _ => ErrorKind::Device,
        };
        Self {
            kind,
            reason: error.reason,
            status: error.status,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({:?}", self.reason, self.kind)?;
        if self.status != 0 {
            write!(out, ", status {:#x}", self.status)?;
        }
        out.write_str(")")
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn the_devices_status_stays_behind_the_kind() {
        let driver = DriverError::new(DriverErrorKind::Media, "the block cannot be read");
        let error = Error::from(driver.with_status(0x281));
        assert_eq!(error.kind, ErrorKind::Media);
        assert_eq!(
            error.to_string(),
            "the block cannot be read (Media, status 0x281)"
        );
    }

    #[test]
    fn a_reset_is_told_as_lost() {
        let driver = DriverError::new(DriverErrorKind::Aborted, "the controller was reset");
        assert_eq!(Error::from(driver).kind, ErrorKind::Lost);
        let hal = HalError::new(HalErrorKind::Gone, "unplugged");
        assert_eq!(Error::from(hal).kind, ErrorKind::Gone);
    }
}

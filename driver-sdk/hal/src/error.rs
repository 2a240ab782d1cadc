//! Errors: a generic kind for decisions, a sentence for people, and the number behind it.

use core::fmt;

/// What went wrong between the driver and the back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalError {
    /// The kind, to decide by.
    pub kind: HalErrorKind,
    /// What was wrong and what would be right, for people.
    pub reason: &'static str,
    /// The back end's own error number; zero where it has none.
    pub code: u64,
}

/// The kinds of [`HalError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HalErrorKind {
    /// The function has no such BAR, vector or register.
    NotFound,
    /// The back end or the device cannot do this at all.
    Unsupported,
    /// The caller has no right to do this; a mediated write that would harm others.
    Refused,
    /// Somebody else has it, or a limit is reached for the moment.
    Busy,
    /// Memory, or I/O addresses that meet the constraints, are used up.
    OutOfMemory,
    /// An argument is out of range or does not fit with another.
    InvalidArgument,
    /// The deadline passed.
    TimedOut,
    /// The process was asked to stop while it waited.
    Interrupted,
    /// The device was revoked or unplugged; nothing will work any more.
    Gone,
}

impl HalError {
    /// An error without a number behind it.
    pub const fn new(kind: HalErrorKind, reason: &'static str) -> Self {
        Self {
            kind,
            reason,
            code: 0,
        }
    }

    /// The same error with the back end's own number.
    pub const fn with_code(self, code: u64) -> Self {
        Self { code, ..self }
    }
}

impl fmt::Display for HalError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(out, &self.kind, self.reason, self.code)
    }
}

impl core::error::Error for HalError {}

/// What went wrong between a driver and whoever uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverError {
    /// The kind, to decide by.
    pub kind: DriverErrorKind,
    /// What was wrong and what would be right, for people.
    pub reason: &'static str,
    /// The device's own status, as the driver documents it; zero where it has none.
    pub status: u64,
}

/// The kinds of [`DriverError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriverErrorKind {
    /// The back end failed; never `TimedOut` or `Gone`, which have kinds of their own here.
    Hal(HalErrorKind),
    /// The device is not one that this driver drives.
    WrongDevice,
    /// The device or the driver has no such operation.
    Unsupported,
    /// The request contradicts itself or a limit of the device.
    InvalidRequest,
    /// The request reaches past the end of the device.
    OutOfRange,
    /// The queue has no room; reap first.
    QueueFull,
    /// The medium cannot be written.
    WriteProtected,
    /// The medium failed: data that cannot be read or was not written.
    Media,
    /// The device reported an error of another kind; `status` has it.
    Device,
    /// The device broke its own rules. It should be reset and not be trusted.
    Protocol,
    /// The device did not answer in time.
    TimedOut,
    /// The request was given back unfinished, because it was cancelled or the device was reset.
    Aborted,
    /// The device is gone, or was given up after a failure.
    Gone,
}

impl DriverError {
    /// An error without a status of the device behind it.
    pub const fn new(kind: DriverErrorKind, reason: &'static str) -> Self {
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

/// Kinds that both have stay what they are, so that a caller decides by one name.
impl From<HalError> for DriverError {
    fn from(error: HalError) -> Self {
        Self {
            kind: match error.kind {
                HalErrorKind::TimedOut => DriverErrorKind::TimedOut,
                HalErrorKind::Gone => DriverErrorKind::Gone,
                other => DriverErrorKind::Hal(other),
            },
            reason: error.reason,
            status: error.code,
        }
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(out, &self.kind, self.reason, self.status)
    }
}

impl core::error::Error for DriverError {}

fn show(
    out: &mut fmt::Formatter<'_>,
    kind: &dyn fmt::Debug,
    reason: &str,
    number: u64,
) -> fmt::Result {
    write!(out, "{reason} ({kind:?}")?;
    if number != 0 {
        write!(out, ", status {number:#x}")?;
    }
    out.write_str(")")
}

//! The kernel's errors as those of the traits.

use spillway_abi::Error;
use spillway_hal::{HalError, HalErrorKind};

/// An error of the kernel. What a trait's method documents as another kind, the method decides.
pub fn from_kernel(error: Error) -> HalError {
    let kind = match error {
        Error::NotFound => HalErrorKind::NotFound,
        Error::MissingRight | Error::Refused | Error::NoIommu => HalErrorKind::Refused,
        Error::Busy | Error::LimitReached => HalErrorKind::Busy,
        Error::OutOfMemory | Error::AddressInUse => HalErrorKind::OutOfMemory,
        Error::TimedOut | Error::DeviceFailed => HalErrorKind::TimedOut,
        Error::Interrupted => HalErrorKind::Interrupted,
        // A handle that the revocation, or its owner, took away.
        Error::Gone | Error::BadHandle => HalErrorKind::Gone,
        Error::BadOperation | Error::UnknownCall => HalErrorKind::Unsupported,
        _ => HalErrorKind::InvalidArgument,
    };
    HalError::new(kind, error.describe()).with_code(error as u64)
}

/// The same kernel error as another kind, with a sentence that fits the occasion.
pub fn because(kind: HalErrorKind, reason: &'static str, error: Error) -> HalError {
    HalError::new(kind, reason).with_code(error as u64)
}

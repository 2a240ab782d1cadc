//! What a test can have a [`MemoryDevice`](crate::MemoryDevice) do to a request.

use crate::Error;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    pub(crate) result: Result<(), Error>,
    /// `None` until it is released.
    pub(crate) delay: Option<u64>,
    /// Bytes that a write that fails leaves on the medium.
    pub(crate) torn: u64,
}

impl Fate {
    /// It is done, with the next look.
    pub const DONE: Self = Self {
        result: Ok(()),
        delay: Some(0),
        torn: 0,
    };

    /// The device keeps it, also when it is cancelled, until
    /// [`MemoryDevice::release`](crate::MemoryDevice::release).
    pub const HELD: Self = Self {
        delay: None,
        ..Self::DONE
    };

    /// It fails.
    pub const fn fail(error: Error) -> Self {
        Self {
            result: Err(error),
            ..Self::DONE
        }
    }

    /// The same, so many nanoseconds after the request was submitted.
    pub const fn after(self, nanoseconds: u64) -> Self {
        Self {
            delay: Some(nanoseconds),
            ..self
        }
    }

    /// A write that fails, but leaves its first `bytes` on the medium.
    pub const fn torn(self, bytes: u64) -> Self {
        Self {
            torn: bytes,
            ..self
        }
    }
}

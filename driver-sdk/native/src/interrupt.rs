//! One vector of a function.

use alloc::sync::Arc;

use spillway_abi::Error;
use spillway_hal::HalError;
use spillway_rt::{
    object::{self, PciFunction},
    time::{Deadline, Instant},
};

use crate::error::from_kernel;

/// A vector, bound to the core on which it was asked for; unbound when dropped.
#[derive(Debug)]
pub struct Interrupt {
    vector: object::Interrupt,
    /// The function is not given back as long as this lives.
    _function: Arc<PciFunction>,
}

impl Interrupt {
    pub(crate) fn new(vector: object::Interrupt, function: Arc<PciFunction>) -> Self {
        Self {
            vector,
            _function: function,
        }
    }

    /// The kernel's object, to be waited for through an IoQueue.
    pub const fn object(&self) -> &object::Interrupt {
        &self.vector
    }
}

impl spillway_hal::Interrupt for Interrupt {
    fn wait(&mut self, deadline: u64) -> Result<u64, HalError> {
        let deadline = Instant::from_nanoseconds(deadline);
        // The kernel reports what has come whatever the time is; here a device that storms must not
        // keep a loop going.
        if Instant::now() >= deadline {
            return Err(from_kernel(Error::TimedOut));
        }
        self.vector
            .wait(Deadline::at(deadline))
            .map_err(from_kernel)
    }

    /// A revoked vector never fires again.
    fn poll(&mut self) -> u64 {
        self.vector.poll().unwrap_or(0)
    }
}

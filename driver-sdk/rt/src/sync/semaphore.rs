//! The counting semaphore.

use spillway_sync::semaphore;

use super::Futex;
use crate::time::Deadline;

/// A number of permits; who finds none waits.
#[derive(Debug)]
pub struct Semaphore(Futex);

impl Semaphore {
    /// With this many permits.
    pub const fn new(permits: u32) -> Self {
        Self(Futex::new(permits))
    }

    /// Takes a permit, waiting for one.
    pub fn acquire(&self) {
        semaphore::acquire(&self.0, Deadline::NEVER.into());
    }

    /// Takes a permit; returns whether there was one before the deadline.
    pub fn acquire_until(&self, deadline: Deadline) -> bool {
        semaphore::acquire(&self.0, deadline.into())
    }

    /// Takes a permit if there is one.
    pub fn try_acquire(&self) -> bool {
        semaphore::try_acquire(&self.0)
    }

    /// Adds permits. The total must stay below 2³².
    pub fn release(&self, permits: u32) {
        semaphore::release(&self.0, permits);
    }
}

//! Events: a wake-up between two parties that share memory.

use spillway_abi::{Error, call::Operation, object::CreateKind};

use super::{Object, OwnedHandle, Process, create_on, object};
use crate::{startup::own_process, syscall, time::Deadline};

/// Counts signals until somebody who waits takes them.
#[derive(Debug)]
pub struct Event(OwnedHandle);

object!(Event);

impl Event {
    /// One that was not signalled, charged to this process.
    ///
    /// # Errors
    ///
    /// [`Error::LimitReached`], [`Error::OutOfMemory`].
    pub fn new() -> Result<Self, Error> {
        Self::charged_to(own_process())
    }

    /// The same, charged to another process; the handle comes here.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`], and those of the process's handle.
    pub fn charged_to(process: &Process) -> Result<Self, Error> {
        create_on(process, CreateKind::Event, 0, 0).map(Self)
    }

    /// Wakes one who waits, or is remembered for the next who does. Needs the right to write.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn signal(&self) -> Result<(), Error> {
        // SAFETY: a signal touches no memory.
        unsafe { syscall::do_io(self.handle(), Operation::Write, [0; 4]) }.map(drop)
    }

    /// Waits for a signal; returns how many there were since the last time.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Interrupted`], and those of the handle. An event that was
    /// shared with an object is also signalled when that object's service ends.
    pub fn wait(&self, deadline: Deadline) -> Result<u64, Error> {
        syscall::wait(self.handle(), deadline.raw())
    }

    /// Signals this event and waits for the other, in one call; on one core the thread that waits
    /// for this one runs at once.
    ///
    /// # Errors
    ///
    /// As for [`Self::wait`] and [`Self::signal`].
    #[inline]
    pub fn signal_and_wait(&self, other: &Self, deadline: Deadline) -> Result<u64, Error> {
        syscall::signal_and_wait(self.handle(), other.handle(), deadline.raw())
    }
}

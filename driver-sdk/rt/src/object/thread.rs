//! Threads as the kernel knows them; [`crate::thread`] starts them.

use spillway_abi::{
    Error, ExitStatus,
    call::Operation,
    object::{ThreadMeta, ThreadPhase},
};

use super::{Object, OwnedHandle, object};
use crate::{syscall, time::Deadline};

/// A thread of a process.
#[derive(Debug)]
pub struct Thread(OwnedHandle);

object!(Thread);

impl Thread {
    /// Waits until it has ended.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Interrupted`], and those of the handle.
    pub fn wait(&self, deadline: Deadline) -> Result<ExitStatus, Error> {
        let raw = syscall::wait(self.handle(), deadline.raw())?;
        ExitStatus::from_raw(raw).ok_or(Error::BadOperation)
    }

    /// One of the values that describe the thread.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn meta(&self, key: ThreadMeta) -> Result<u64, Error> {
        // SAFETY: reading a value touches no memory.
        unsafe { syscall::do_io(self.handle(), Operation::GetMeta, [key as u64, 0, 0, 0]) }
    }

    /// Where the thread is. A moment later it may be elsewhere.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn phase(&self) -> Result<ThreadPhase, Error> {
        ThreadPhase::from_raw(self.meta(ThreadMeta::Phase)?).ok_or(Error::BadOperation)
    }

    /// Asks the thread to stop: its waiting calls return [`Error::Interrupted`] from now on, until
    /// the request is taken back. What it does about it is its own matter.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn ask_to_stop(&self, stop: bool) -> Result<(), Error> {
        self.set_meta(ThreadMeta::Stop, stop.into())
    }

    /// Sets priority or affinity.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] for a value that the process may not use, [`Error::BadOperation`]
    /// for a key that cannot be set, and those of the handle.
    pub fn set_meta(&self, key: ThreadMeta, value: u64) -> Result<(), Error> {
        // SAFETY: when and where a thread runs is no matter of memory safety.
        unsafe {
            syscall::do_io(self.handle(), Operation::SetMeta, [key as u64, value, 0, 0]).map(drop)
        }
    }
}

//! Timers: wake-ups by the clock.

use core::time::Duration;

use spillway_abi::{
    Error,
    call::Operation,
    object::{CreateKind, TimerMeta},
};

use super::{Object, OwnedHandle, create_on, object};
use crate::{
    startup::own_process,
    syscall,
    time::{Deadline, Instant},
};

/// Counts how often its time has come until somebody who waits takes that.
#[derive(Debug)]
pub struct Timer(OwnedHandle);

object!(Timer);

impl Timer {
    /// One that is not set. It takes one of the process's requests.
    ///
    /// # Errors
    ///
    /// [`Error::LimitReached`], [`Error::OutOfMemory`].
    pub fn new() -> Result<Self, Error> {
        create_on(own_process(), CreateKind::Timer, 0, 0).map(Self)
    }

    /// Fires once, at this moment, or at once if it has passed. What it counted before is gone.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn set(&self, moment: Instant) -> Result<(), Error> {
        self.start(moment, 0)
    }

    /// Fires at this moment and again after each period. What nobody took in time counts once.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] for a period below [`spillway_abi::object::MIN_TIMER_PERIOD`], and
    /// those of the handle.
    pub fn repeat(&self, first: Instant, period: Duration) -> Result<(), Error> {
        match u64::try_from(period.as_nanos()) {
            Ok(period) if period > 0 => self.start(first, period),
            _ => Err(Error::BadArgument),
        }
    }

    fn start(&self, moment: Instant, period: u64) -> Result<(), Error> {
        self.set_meta(TimerMeta::Period, period)?;
        // 0 would stop it, and has passed as 1 has.
        self.set_meta(TimerMeta::Deadline, moment.as_nanoseconds().max(1))
    }

    /// Does not fire any more. What it counted before is gone.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn stop(&self) -> Result<(), Error> {
        self.set_meta(TimerMeta::Deadline, 0)
    }

    /// When it fires next, if it is set.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn next(&self) -> Result<Option<Instant>, Error> {
        let arguments = [TimerMeta::Deadline as u64, 0, 0, 0];
        // SAFETY: reading a value touches no memory.
        let moment = unsafe { syscall::do_io(self.handle(), Operation::GetMeta, arguments)? };
        Ok((moment != 0).then(|| Instant::from_nanoseconds(moment)))
    }

    /// Waits until it has fired; returns how often since the last time.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Interrupted`], [`Error::Gone`] if its last handle was closed,
    /// and those of the handle.
    pub fn wait(&self, deadline: Deadline) -> Result<u64, Error> {
        syscall::wait(self.handle(), deadline.raw())
    }

    fn set_meta(&self, key: TimerMeta, value: u64) -> Result<(), Error> {
        let arguments = [key as u64, value, 0, 0];
        // SAFETY: a wake-up touches no memory.
        unsafe { syscall::do_io(self.handle(), Operation::SetMeta, arguments) }.map(drop)
    }
}

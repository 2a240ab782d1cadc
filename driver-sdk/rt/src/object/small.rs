//! The small objects: Log, Clock, Counters, Power.

use spillway_abi::{
    Error,
    call::Operation,
    counters::{COUNTER_COUNT, Counter},
    object::ClockMeta,
};

use super::{Object, OwnedHandle, object};
use crate::syscall;

/// Lines for the system log.
#[derive(Debug)]
pub struct Log(OwnedHandle);

object!(Log);

impl Log {
    /// Writes one text of at most [`spillway_abi::limits::MAX_LOG_WRITE`] bytes.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], and those of the handle; [`Error::Failed`] if it takes nothing: a process
    /// can serve a log, too.
    pub fn write(&self, mut text: &[u8]) -> Result<(), Error> {
        // One call takes a few lines at most and says how many bytes they had.
        while !text.is_empty() {
            let arguments = [0, text.as_ptr() as u64, text.len() as u64, 0];
            // SAFETY: the text is only read.
            let written = unsafe { syscall::do_io(self.handle(), Operation::Write, arguments)? };
            if written == 0 {
                return Err(Error::Failed);
            }
            text = text.get(written as usize..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The monotonic clock. Reading the time needs none: see [`crate::time`].
#[derive(Debug)]
pub struct Clock(OwnedHandle);

object!(Clock);

impl Clock {
    /// One of the values that describe the clock.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn meta(&self, key: ClockMeta) -> Result<u64, Error> {
        // SAFETY: reading a value touches no memory.
        unsafe { syscall::do_io(self.handle(), Operation::GetMeta, [key as u64, 0, 0, 0]) }
    }
}

/// The counters of a process, or of the whole system.
#[derive(Debug)]
pub struct Counters(OwnedHandle);

object!(Counters);

/// What the counters were at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot([u64; COUNTER_COUNT]);

impl Snapshot {
    /// One counter.
    pub const fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }
}

impl Counters {
    /// All counters now.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        let mut words = [0u64; COUNTER_COUNT];
        let arguments = [0, words.as_mut_ptr() as u64, size_of_val(&words) as u64, 0];
        // SAFETY: the array is ours to be written, and any bits are numbers.
        unsafe { syscall::do_io(self.handle(), Operation::Read, arguments)? };
        Ok(Snapshot(words))
    }
}

/// The machine's power switch.
#[derive(Debug)]
pub struct Power(OwnedHandle);

object!(Power);

impl Power {
    /// Ends the machine with this code; returns only if that is refused.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn off(&self, code: i32) -> Result<(), Error> {
        let arguments = [u64::from(code as u32), 0, 0, 0];
        // SAFETY: nothing is left that could notice.
        unsafe { syscall::do_io(self.handle(), Operation::Destroy, arguments) }.map(drop)
    }
}

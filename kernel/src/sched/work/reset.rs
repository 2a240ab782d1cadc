//! Resetting a function for its owner.
//!
//! The owner keeps everything: what the reset took from the function, its BARs and its messages,
//! is put back. What the owner's driver had told the device is gone.

use alloc::sync::Arc;
use spillway_abi::Error;

use super::{Progress, Work};
use crate::{kernel::Guard, object::Grant, pci::reset::RESET_TIME, platform::clock};

/// A reset.
#[derive(Debug)]
pub struct ResetFunction {
    grant: Arc<Grant>,
    /// When it is over, in nanoseconds, once it has begun.
    until: Option<u64>,
}

impl ResetFunction {
    /// A reset that has not begun.
    pub fn of(grant: Arc<Grant>) -> Work {
        Work::Reset(Self { grant, until: None })
    }

    /// Begins it, or ends it when its time has come. [`Error::Gone`] if the function is taken back
    /// meanwhile, [`Error::DeviceFailed`] if it cannot be reset or does not answer afterwards.
    pub(super) fn step(mut self, guard: &mut Guard) -> Progress {
        if let Err(error) = self.grant.check(guard) {
            return Progress::Done(Err(error));
        }
        let function = self.grant.function;
        let now = clock::now_ns();
        let until = match self.until {
            Some(until) => until,
            None => {
                function.set_bus_master(false);
                if !function.begin_reset() {
                    return Progress::Done(Err(Error::DeviceFailed));
                }
                *self.until.insert(now + RESET_TIME)
            }
        };
        if now < until {
            return Progress::Sleep(Work::Reset(self), until);
        }
        if !function.end_reset() {
            return Progress::Done(Err(Error::DeviceFailed));
        }
        function.set_memory_decoding(true);
        for interrupt in self.grant.state.get(guard).interrupts.clone() {
            interrupt.program_again(guard);
        }
        Progress::Done(Ok(0))
    }
}

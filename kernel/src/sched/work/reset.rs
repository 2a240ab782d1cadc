//! Resetting a function for its owner.
//!
//! The owner keeps everything: what the reset took from the function, its BARs and its messages,
//! is put back. What the owner's driver had told the device is gone.

use alloc::sync::Arc;
use spillway_abi::Error;

use super::{Progress, Work};
use crate::{
    kernel::Guard,
    object::Grant,
    pci::reset::{ANSWER_TIME, POWER_UP_TIME, RESET_TIME},
    platform::clock,
};

/// A reset.
#[derive(Debug)]
pub struct ResetFunction {
    grant: Arc<Grant>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Begin,
    /// Until this time, in nanoseconds, the function must be left alone.
    Settle(u64),
    /// It must answer before this time, in nanoseconds.
    Answer(u64),
}

impl ResetFunction {
    /// A reset that has not begun.
    pub fn of(grant: Arc<Grant>) -> Work {
        Work::Reset(Self {
            grant,
            stage: Stage::Begin,
        })
    }

    /// Does the next part of it. [`Error::Gone`] if the function is taken back meanwhile,
    /// [`Error::DeviceFailed`] if it cannot be reset or does not answer afterwards.
    pub(super) fn step(mut self, guard: &mut Guard) -> Progress {
        if let Err(error) = self.grant.check(guard) {
            return Progress::Done(Err(error));
        }
        let function = self.grant.function;
        let now = clock::now_ns();
        let until = match self.stage {
            Stage::Begin => {
                function.disconnect();
                if !function.begin_reset() {
                    return Progress::Done(Err(Error::DeviceFailed));
                }
                self.stage = Stage::Settle(now + RESET_TIME);
                now + RESET_TIME
            }
            Stage::Settle(until) if now < until => until,
            Stage::Settle(_) => {
                function.power_up();
                self.stage = Stage::Answer(now + ANSWER_TIME);
                now + POWER_UP_TIME
            }
            Stage::Answer(_) if function.end_reset() => return self.finish(guard),
            Stage::Answer(until) if now < until => now + POWER_UP_TIME,
            Stage::Answer(_) => return Progress::Done(Err(Error::DeviceFailed)),
        };
        Progress::Sleep(Work::Reset(self), until)
    }

    /// Puts back what the owner had.
    fn finish(self, guard: &mut Guard) -> Progress {
        self.grant.function.decode_memory();
        for interrupt in self.grant.state.get(guard).interrupts.clone() {
            interrupt.program_again(guard);
        }
        Progress::Done(Ok(0))
    }
}

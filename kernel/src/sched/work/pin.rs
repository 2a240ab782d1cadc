//! Pinning memory for a function, and unpinning it.

use alloc::sync::Arc;
use lock_api::MutexGuard;
use spillway_abi::{
    Error, PAGE_SIZE, Rights,
    device::{PIN_FROM_DEVICE, PIN_TO_DEVICE, PinArguments},
};

use super::{Progress, Work};
use crate::{
    kernel::Guard,
    object::{DmaSpace, Memory, Object, Pin, Thread, dma::PIN_COST},
    sync::Locked,
    syscall::insert,
};

/// Bytes mapped per step, if they are small pages.
const STEP: u64 = 512 * PAGE_SIZE;

/// A pin that is not complete.
#[derive(Debug)]
pub struct PinPages {
    pin: Arc<Pin>,
    memory: Arc<Memory>,
    arguments: PinArguments,
    done: u64,
}

impl PinPages {
    /// Checks the arguments and finds an I/O address.
    pub fn begin(
        guard: &mut Guard,
        space: &Arc<DmaSpace>,
        memory: Arc<Memory>,
        arguments: PinArguments,
    ) -> Result<Work, Error> {
        let PinArguments {
            direction,
            offset,
            length,
            address_bits,
            alignment_bits,
            ..
        } = arguments;
        space.grant.check(guard)?;
        let right = direction & !(PIN_TO_DEVICE | PIN_FROM_DEVICE) == 0
            && direction != 0
            && length > 0
            && (offset | length).is_multiple_of(PAGE_SIZE)
            && (20..=64).contains(&address_bits)
            && (12..=30).contains(&alignment_bits)
            && !memory.is_registers();
        if !right {
            return Err(Error::BadArgument);
        }
        memory.check(offset, length)?;
        space.reserve(guard)?;
        let account = space.grant.owner.account.clone();
        account.charge(PIN_COST)?;
        let reach = &mut space.state.get_mut(guard).reach;
        let io_address = reach
            .allocate(&memory, offset, length, address_bits, 1 << alignment_bits)
            .inspect_err(|_| account.release(PIN_COST))?;
        if let Err(error) = memory.hold(guard, &account) {
            space.state.get_mut(guard).reach.release(io_address);
            account.release(PIN_COST);
            return Err(error);
        }
        // It is on the list from the beginning, so that a revocation in between finds it.
        let memory_of_pin = Locked::new(Some(memory.clone()));
        let pin = Pin {
            space: space.clone(),
            io_address,
            length,
            memory: memory_of_pin,
        };
        let pin = Arc::new(pin);
        space.state.get_mut(guard).pins.push(pin.clone());
        Ok(Work::Pin(Self {
            pin,
            memory,
            arguments,
            done: 0,
        }))
    }

    pub(super) fn step(mut self, guard: &mut Guard, thread: &Arc<Thread>) -> Progress {
        if let Err(error) = self.pin.space.grant.check(guard) {
            return Progress::Done(Err(error));
        }
        if let Err(error) = self.advance(guard) {
            return undo(self.pin, error).step(guard);
        }
        if self.done < self.arguments.length {
            return Progress::More(Work::Pin(self));
        }
        let object = Object::Pin(self.pin.clone());
        match insert(guard, &thread.process, object, Rights::READ) {
            Ok(handle) => Progress::Done(Ok(handle.raw().into())),
            Err(error) => undo(self.pin, error).step(guard),
        }
    }

    fn advance(&mut self, guard: &mut Guard) -> Result<(), Error> {
        let PinArguments {
            offset,
            length,
            direction,
            ..
        } = self.arguments;
        let until = length.min(self.done + STEP);
        let space = self.pin.space.clone();
        while self.done < until {
            let (frame, bytes) = self
                .memory
                .run(offset + self.done, until - self.done)
                .ok_or(Error::OutOfRange)?;
            let io = self.pin.io_address + self.done;
            space.map(guard, io, frame.as_u64(), bytes, direction)?;
            self.done += bytes;
        }
        Ok(())
    }
}

fn undo(pin: Arc<Pin>, error: Error) -> UnpinPages {
    UnpinPages {
        pin,
        cleared: 0,
        failed: false,
        result: Err(error),
    }
}

/// A pin that is being taken away.
#[derive(Debug)]
pub struct UnpinPages {
    pin: Arc<Pin>,
    cleared: u64,
    failed: bool,
    result: Result<u64, Error>,
}

impl UnpinPages {
    /// Takes a pin away whose handle was closed.
    pub fn begin(pin: Arc<Pin>) -> Work {
        Work::Unpin(Self {
            pin,
            cleared: 0,
            failed: false,
            result: Ok(0),
        })
    }

    pub(super) fn step(mut self, guard: &mut Guard) -> Progress {
        let pin = self.pin.clone();
        let space = pin.space.clone();
        // A revocation takes all pins away by itself.
        if space.grant.state.get(guard).revoked {
            return Progress::Done(self.result);
        }
        let bytes = STEP.min(pin.length - self.cleared);
        let reach = &mut space.state.get_mut(guard).reach;
        let unmapped = reach.unmap(pin.io_address + self.cleared, bytes);
        self.cleared += bytes;
        self.failed |= unmapped.is_err();
        if self.cleared < pin.length {
            return Progress::More(Work::Unpin(self));
        }
        // Whatever goes wrong, the pin stays on the list, and its memory in quarantine.
        let failed = self.failed;
        let whole = if failed {
            Err(Error::DeviceFailed)
        } else {
            Ok(())
        };
        if let Err(error) = whole.and_then(|()| reach.flush()) {
            let id = space.grant.function.id;
            MutexGuard::unlocked(guard, || {
                log::error!("{id}: memory cannot be unpinned: {error}");
            });
            return Progress::Done(Err(error));
        }
        reach.release(pin.io_address);
        space.forget(guard, &pin);
        Progress::Done(self.result)
    }
}

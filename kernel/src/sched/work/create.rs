//! Making a Memory: find frames, zero them, hand out a handle.

use alloc::sync::Arc;
use spillway_abi::{Error, PAGE_SIZE};
use spillway_kernel_core::frames::Extent;

use super::{Progress, Work};
use crate::{
    kernel::Guard,
    memory::frames,
    object::{MEMORY_RIGHTS, Memory, Object, Process, Thread},
    syscall::insert,
};

/// Pages per step: as many as a large page has.
const STEP: u64 = 512;

/// A Memory that is not complete.
#[derive(Debug)]
pub struct CreateMemory {
    memory: Memory,
    /// Pages without frames.
    missing: u64,
    /// Frames that still have in them what they held before.
    dirty: Option<Extent>,
    /// They follow each other, at addresses of at most so many bits.
    contiguous: Option<u32>,
}

impl CreateMemory {
    /// Charges the process. [`Error::LimitReached`]; [`Error::BadArgument`] for no pages or more
    /// than there can be. With `contiguous` the frames follow each other, at addresses of at most so
    /// many bits.
    pub fn begin(process: &Process, bytes: u64, contiguous: Option<u32>) -> Result<Work, Error> {
        if bytes == 0 || bytes > spillway_abi::limits::MAX_MEMORY {
            return Err(Error::BadArgument);
        }
        let pages = bytes.div_ceil(PAGE_SIZE);
        let memory = Memory::empty(process.account.clone(), pages * PAGE_SIZE)?;
        Ok(Work::Create(Self {
            memory,
            missing: pages,
            dirty: None,
            contiguous,
        }))
    }

    pub(super) fn step(mut self, guard: &mut Guard, thread: &Arc<Thread>) -> Progress {
        match self.advance(guard) {
            Err(error) => Progress::Done(Err(error)),
            Ok(()) if self.missing > 0 || self.dirty.is_some() => {
                Progress::More(Work::Create(self))
            }
            Ok(()) => Progress::Done(self.finish(guard, thread)),
        }
    }

    /// Frames for at most [`STEP`] pages, or zeros for as many.
    fn advance(&mut self, guard: &mut Guard) -> Result<(), Error> {
        if let Some(bits) = self.contiguous
            && self.dirty.is_none()
            && self.missing > 0
        {
            let extent = frames::allocate_contiguous(self.missing, bits)?;
            self.memory.push(extent)?;
            self.missing = 0;
            self.dirty = Some(extent);
        }
        let mut left = STEP;
        lock_api::MutexGuard::unlocked(guard, || {
            while left > 0 {
                let extent = match self.dirty.take() {
                    Some(dirty) => dirty,
                    None if self.missing == 0 => break,
                    None => {
                        let extent = frames::allocate_extent(self.missing.min(left))?;
                        self.memory.push(extent)?;
                        self.missing -= extent.count;
                        extent
                    }
                };
                let now = Extent {
                    count: extent.count.min(left),
                    ..extent
                };
                frames::zero(now);
                left -= now.count;
                if extent.count > now.count {
                    self.dirty = Some(Extent {
                        start: now.start + now.count,
                        count: extent.count - now.count,
                    });
                }
            }
            Ok(())
        })
    }

    fn finish(self, guard: &mut Guard, thread: &Arc<Thread>) -> Result<u64, Error> {
        let object = Object::Memory(Arc::new(self.memory));
        Ok(insert(guard, &thread.process, object, MEMORY_RIGHTS)?.raw() as u64)
    }
}

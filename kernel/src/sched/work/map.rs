//! Mapping and unmapping pages of a Memory.

use alloc::sync::Arc;
use spillway_abi::{Error, PAGE_SIZE, Rights};

use super::{Progress, Work};
use crate::{
    arch::{core, shootdown},
    kernel::Guard,
    memory::{paging, space::Mapping},
    object::{Memory, Process},
};

/// Bytes of page table entries written per step: those of 512 pages, or of as many large ones.
const MAP_STEP: u64 = 512 * PAGE_SIZE;
/// Clearing is quicker.
const UNMAP_STEP: u64 = 8 * MAP_STEP;

/// A mapping that is not complete.
#[derive(Debug)]
pub struct MapPages {
    process: Arc<Process>,
    memory: Arc<Memory>,
    offset: u64,
    start: u64,
    length: u64,
    access: Rights,
    done: u64,
}

impl MapPages {
    /// Reserves the addresses. The range lies inside the memory, and the access was checked.
    pub fn begin(
        guard: &mut Guard,
        process: &Arc<Process>,
        memory: Arc<Memory>,
        offset: u64,
        address: u64,
        length: u64,
        access: Rights,
    ) -> Result<Work, Error> {
        process.check_alive()?;
        let mapping = Mapping::new(memory.clone(), true);
        let start = process
            .space
            .reserve(guard, &process.account, address, length, mapping)?;
        let process = process.clone();
        Ok(Work::Map(Self {
            process,
            memory,
            offset,
            start,
            length,
            access,
            done: 0,
        }))
    }

    /// In whose address space.
    pub(super) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    pub(super) fn step(mut self, guard: &mut Guard) -> Progress {
        if self.process.is_ending() {
            return Progress::Done(Err(Error::Gone));
        }
        if let Err(error) = self.memory.check_live().and_then(|()| self.advance()) {
            // What is mapped already goes away again.
            let undo = UnmapPages {
                process: self.process,
                start: self.start,
                length: self.length,
                cleared: 0,
                result: Err(error),
            };
            return undo.step(guard);
        }
        if self.done < self.length {
            return Progress::More(Work::Map(self));
        }
        if let Some(region) = self
            .process
            .space
            .regions
            .get_mut(guard)
            .get_mut(self.start)
        {
            region.value.busy = false;
        }
        Progress::Done(Ok(self.start))
    }

    fn advance(&mut self) -> Result<(), Error> {
        let until = self.length.min(self.done + MAP_STEP);
        while self.done < until {
            let run = self
                .memory
                .mappable_run(self.offset + self.done, until - self.done)
                .ok_or(Error::OutOfRange)?;
            let mut access = self.access;
            access.set(
                Rights::WRITE,
                access.contains(Rights::WRITE) && run.writable,
            );
            let flags = paging::user_flags(access, self.memory.caching());
            let (frame, bytes) = (run.start, run.bytes);
            let account = &self.process.account;
            let address = self.start + self.done;
            let charge = || account.charge_table();
            paging::map(
                self.process.space.root(),
                address,
                frame,
                bytes,
                flags,
                charge,
            )?;
            self.done += bytes;
        }
        Ok(())
    }
}

/// A mapping that is being taken away.
#[derive(Debug)]
pub struct UnmapPages {
    process: Arc<Process>,
    start: u64,
    length: u64,
    cleared: u64,
    result: Result<u64, Error>,
}

impl UnmapPages {
    /// Marks the mappings. [`Error::NotMapped`] if the range is not one or more whole mappings,
    /// [`Error::Busy`] if one of them is being mapped or unmapped.
    pub fn begin(
        guard: &mut Guard,
        process: &Arc<Process>,
        start: u64,
        length: u64,
    ) -> Result<Work, Error> {
        process.check_alive()?;
        let regions = process.space.regions.get_mut(guard);
        if !regions.covers_whole(start, length) {
            return Err(Error::NotMapped);
        }
        let mut address = start;
        while address < start + length {
            let region = regions.get_mut(address).ok_or(Error::NotMapped)?;
            if region.value.busy {
                return Err(Error::Busy);
            }
            address = region.end();
        }
        let mut address = start;
        while let Some(region) = regions
            .get_mut(address)
            .filter(|_| address < start + length)
        {
            region.value.busy = true;
            address = region.end();
        }
        let process = process.clone();
        Ok(Work::Unmap(Self {
            process,
            start,
            length,
            cleared: 0,
            result: Ok(0),
        }))
    }

    /// In whose address space.
    pub(super) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    pub(super) fn step(mut self, guard: &mut Guard) -> Progress {
        if self.process.is_ending() {
            return Progress::Done(self.result.and(Err(Error::Gone)));
        }
        let bytes = (self.length - self.cleared).min(UNMAP_STEP);
        paging::unmap(self.process.space.root(), self.start + self.cleared, bytes);
        self.cleared += bytes;
        if self.cleared < self.length {
            return Progress::More(Work::Unmap(self));
        }
        // Only when every core has forgotten the pages may they be used for something else.
        let cores = self.process.space.cores();
        lock_api::MutexGuard::unlocked(guard, || {
            if cores & 1 << core().index.get() != 0 {
                shootdown::flush_here(self.start, self.length);
            }
            shootdown::flush_others(cores);
        });
        let mut address = self.start;
        while address < self.start + self.length && !self.process.is_ending() {
            let Process { space, account, .. } = &*self.process;
            let Some(end) = space.release(guard, account, address) else {
                break;
            };
            address = end;
        }
        Progress::Done(self.result)
    }
}

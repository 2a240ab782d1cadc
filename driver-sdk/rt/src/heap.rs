//! The heap: `talc` on Memory objects that grow with the need, and go back when they are empty.

use core::alloc::Layout;

use spillway_abi::{Error, PAGE_SIZE, Rights};
use talc::{
    TalcLock,
    base::{CHUNK_UNIT, Talc, binning::Binning},
    min_first_heap_size,
    source::Source,
};

use crate::{
    object::{Memory, Object},
    startup::own_process,
    sync::RawMutex,
    syscall,
};

#[global_allocator]
static HEAP: TalcLock<RawMutex, Pages> = TalcLock::new(Pages::new());

/// The first region; each further one is twice as large …
const SMALLEST: usize = 64 << 10;
/// … up to this. A larger request gets a region of its own.
const LARGEST: usize = 1 << 20;

/// Whole mappings for the allocator to divide.
#[derive(Debug)]
struct Pages {
    next: usize,
    /// One empty region that is kept, so that a program at the edge does not map and unmap
    /// with every request. At most [`LARGEST`] bytes.
    spare: Option<Region>,
}

#[derive(Clone, Copy, Debug)]
struct Region {
    start: usize,
    length: usize,
}

impl Pages {
    const fn new() -> Self {
        Self {
            next: SMALLEST,
            spare: None,
        }
    }

    fn take(&mut self, needed: usize) -> Result<Region, Error> {
        match self.spare.take() {
            Some(region) if region.length >= needed => return Ok(region),
            Some(region) => region.unmap(),
            None => {}
        }
        let length = needed.max(self.next);
        // Near the limit of the process, only as much as is needed may still fit.
        let region = Region::map(length).or_else(|_| Region::map(needed))?;
        self.next = (self.next * 2).min(LARGEST);
        Ok(region)
    }

    fn give_back(&mut self, region: Region) {
        if region.length > LARGEST {
            return region.unmap();
        }
        if let Some(other) = self.spare.replace(region) {
            other.unmap();
        }
    }
}

impl Region {
    fn map(length: usize) -> Result<Self, Error> {
        let length = length.next_multiple_of(PAGE_SIZE as usize);
        let memory = Memory::new(length as u64)?;
        let access = Rights::READ | Rights::WRITE;
        let process = own_process().handle();
        // SAFETY: the kernel chooses addresses that nobody uses. The mapping keeps the memory.
        let start = unsafe { syscall::map(process, memory.handle(), 0, 0, length as u64, access)? };
        Ok(Self {
            start: start as usize,
            length,
        })
    }

    fn unmap(self) {
        // SAFETY: the allocator has given the whole region back: nothing in it is in use.
        let _ = unsafe {
            syscall::unmap(
                own_process().handle(),
                self.start as u64,
                self.length as u64,
            )
        };
    }
}

// SAFETY: nothing here allocates. `resize` either keeps the end of the heap as it is or gives up
// the whole heap.
unsafe impl Source for Pages {
    const TRACK_HEAP_END: bool = true;

    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        // The tag before the first chunk, and alignment on both sides.
        let mut needed = layout.size() + layout.align() + 2 * CHUNK_UNIT;
        if !talc.is_metadata_established() {
            needed += min_first_heap_size::<B>();
        }
        let region = talc.source.take(needed).map_err(drop)?;
        // SAFETY: the region is mapped, writable and nobody else's until it is given back whole.
        unsafe { talc.claim(region.start as *mut u8, region.length) }
            .map(drop)
            .ok_or(())
    }

    unsafe fn resize(&mut self, base: *mut u8, end: *mut u8, is_heap_base: bool) -> *mut u8 {
        if !is_heap_base {
            return end;
        }
        // The first chunk begins within the first page of its region, and the region ends on a
        // page, where the last chunk ends.
        let start = (base as usize - 1) & !(PAGE_SIZE as usize - 1);
        self.give_back(Region {
            start,
            length: end as usize - start,
        });
        base
    }
}

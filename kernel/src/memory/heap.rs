//! The kernel heap: grows by frames from the direct map, never shrinks.
//!
//! What a system call allocates is small and bounded, and admitted only while the kernel's
//! reserve of frames is whole ([`super::frames::has_reserve`]); lists that can be long grow by
//! `try_reserve`. So an allocation that fails here is a bug and ends in a panic.

use core::alloc::Layout;

use spillway_abi::PAGE_SIZE;
use talc::{TalcLock, base::Talc, base::binning::Binning, source::Source};

use super::{frames, phys_to_virt};
use crate::sync::RawSpin;

#[global_allocator]
static HEAP: TalcLock<RawSpin, Frames> = TalcLock::new(Frames);

/// Where the heap gets its memory.
#[derive(Debug)]
struct Frames;

/// The least frames that the heap grows by.
const GROWTH: u64 = 32;

// SAFETY: `acquire` uses nothing but the allocator that it is given and the frame allocator,
// which does not allocate.
unsafe impl Source for Frames {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        // Room for the layout wherever it begins, and for the heap's own marks.
        let wanted = (layout.size() + layout.align()) as u64 + PAGE_SIZE;
        let count = wanted.div_ceil(PAGE_SIZE).max(GROWTH);
        let extent = frames::allocate_for_kernel(count, 1).ok_or(())?;
        // SAFETY: the frames are in the direct map and from here on the heap's alone.
        unsafe {
            let start = phys_to_virt(extent.start * PAGE_SIZE);
            talc.claim(start, (extent.count * PAGE_SIZE) as usize)
                .map(|_| ())
                .ok_or(())
        }
    }
}

/// Bytes that the heap holds beyond what was asked of it: memory that is as good as free.
pub fn unused_bytes() -> u64 {
    let heap = HEAP.lock();
    let counters = heap.counters();
    (counters.claimed_bytes - counters.allocated_bytes) as u64
}

/// Bytes in use, and bytes that the heap holds for later.
pub fn usage() -> (u64, u64) {
    let heap = HEAP.lock();
    let counters = heap.counters();
    (
        counters.allocated_bytes as u64,
        counters.available_bytes as u64,
    )
}

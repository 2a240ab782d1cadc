//! The frames of physical memory: the allocator of [`spillway_kernel_core::frames`] over the
//! memory map, with zeroing.
//!
//! Free memory is not touched: the bookkeeping lies apart, 144 bytes for each 2 MiB, and a frame
//! is zeroed when it is handed out.

use spillway_abi::{Error, PAGE_SIZE, limits::MAX_MEMORY};
use spillway_bootinfo::{BootInfo, RegionKind};
use spillway_kernel_core::frames::{Block, Extent, FrameAllocator};
use x86_64::PhysAddr;

use super::{direct, phys_to_virt};
use crate::sync::Spin;

static FRAMES: Spin<Option<FrameAllocator<'static>>> = Spin::new(None);

/// Frames that only the kernel itself may take, so that what it needs for an operation that was
/// admitted is always there.
const KERNEL_RESERVE: u64 = 512;

/// The first frame that is used: the first megabyte is left alone but for one, because firmware
/// uses more of it than it says.
const FIRST_MEGABYTE: u64 = 256;

/// A frame below 1 MiB for the code that starts the other cores: the one page that is kept from
/// the allocator.
static LOW_FRAME: Spin<Option<u64>> = Spin::new(None);

/// Takes over all memory that the loader calls free or used up. Called once, before any other
/// function here. Returns the bytes that are free.
///
/// # Panics
///
/// If no free region has room for the bookkeeping; the loader made sure of more than that.
pub fn init(boot: &BootInfo) -> u64 {
    let usable = || {
        boot.regions()
            .iter()
            .filter(|r| RegionKind::from_raw(r.kind) == Some(RegionKind::Free))
            .map(|r| (r.start / PAGE_SIZE, r.end.min(MAX_MEMORY) / PAGE_SIZE))
            .filter(|(start, end)| start < end)
    };
    let end_frame = usable().map(|(_, end)| end).max().unwrap_or(0);
    let blocks = FrameAllocator::blocks_for(end_frame);
    let bytes = (blocks * size_of::<Block>()) as u64;
    let own_frames = bytes.div_ceil(PAGE_SIZE);
    let home = usable()
        .map(|(start, end)| (start.max(FIRST_MEGABYTE), end))
        .find(|(start, end)| start + own_frames <= *end)
        .map(|(start, _)| start)
        .expect("no free memory for the frame allocator's bookkeeping");
    // SAFETY: the frames are free RAM by the loader's word, in the direct map, and are kept out
    // of the allocator below, so nobody else uses them. Zeros are a valid `Block`.
    let blocks = unsafe {
        let start = phys_to_virt(home * PAGE_SIZE);
        start.write_bytes(0, bytes as usize);
        core::slice::from_raw_parts_mut(start.cast::<Block>(), blocks)
    };
    let mut allocator = FrameAllocator::new(blocks);
    for (start, end) in usable() {
        for (from, to) in [(start, end.min(home)), (start.max(home + own_frames), end)] {
            let from = from.max(FIRST_MEGABYTE);
            if from < to {
                allocator.add(Extent {
                    start: from,
                    count: to - from,
                });
            }
        }
    }
    // Page 0 holds what a null pointer would find, page 1 on are free.
    *LOW_FRAME.lock() = usable()
        .map(|(start, end)| (start.max(1), end.min(FIRST_MEGABYTE)))
        .find(|(start, end)| start < end)
        .map(|(start, _)| start * PAGE_SIZE);
    let free = allocator.free_count() * PAGE_SIZE;
    *FRAMES.lock() = Some(allocator);
    free
}

/// Takes over what the loader used, when nobody needs it any more.
pub fn reclaim(boot: &BootInfo) {
    let used = boot
        .regions()
        .iter()
        .filter(|r| RegionKind::from_raw(r.kind) == Some(RegionKind::Loader))
        .map(|r| (r.start / PAGE_SIZE, r.end / PAGE_SIZE))
        .filter(|(start, _)| *start >= FIRST_MEGABYTE);
    for (start, end) in used {
        with(|frames| {
            frames.add(Extent {
                start,
                count: end - start,
            })
        });
    }
}

fn with<R>(f: impl FnOnce(&mut FrameAllocator<'static>) -> R) -> R {
    f(FRAMES
        .lock()
        .as_mut()
        .expect("frames are used after `init`"))
}

/// The frame below 1 MiB, once.
pub fn allocate_low_frame() -> Option<u64> {
    LOW_FRAME.lock().take()
}

/// Bytes that are free.
pub fn free_bytes() -> u64 {
    with(|frames| frames.free_count()) * PAGE_SIZE
}

/// A run of 1 to `most` frames for a program, with what they held before in them.
/// [`Error::OutOfMemory`] if only the kernel's reserve is left.
pub fn allocate_extent(most: u64) -> Result<Extent, Error> {
    with(|frames| {
        let available = frames.free_count().saturating_sub(KERNEL_RESERVE);
        match available {
            0 => None,
            available => frames.allocate_extent(most.min(available)),
        }
    })
    .ok_or(Error::OutOfMemory)
}

/// Exactly `count` frames that follow each other, all at addresses of at most so many bits, with
/// what they held before in them.
pub fn allocate_contiguous(count: u64, address_bits: u32) -> Result<Extent, Error> {
    let below = 1u64.checked_shl(address_bits).unwrap_or(u64::MAX) / PAGE_SIZE;
    with(|frames| {
        if frames.free_count().saturating_sub(KERNEL_RESERVE) < count {
            return None;
        }
        frames.allocate_run(count, 1, below)
    })
    .ok_or(Error::OutOfMemory)
}

/// A zeroed frame for a page table of a program. [`Error::OutOfMemory`] as above.
pub fn allocate_table() -> Result<PhysAddr, Error> {
    let extent = allocate_extent(1)?;
    zero(extent);
    Ok(PhysAddr::new(extent.start * PAGE_SIZE))
}

/// Contiguous frames for the kernel itself, out of its reserve if need be.
pub fn allocate_for_kernel(count: u64, align: u64) -> Option<Extent> {
    with(|frames| frames.allocate_run(count, align, u64::MAX))
}

/// Whether the kernel's reserve is whole, so that an operation which needs a little memory of
/// the kernel's own may begin.
pub fn has_reserve() -> bool {
    with(|frames| frames.free_count()) > KERNEL_RESERVE
}

/// Takes frames back.
///
/// # Panics
///
/// If one of them is free already: that is a bug of the kernel.
pub fn free(extent: Extent) {
    if let Err(error) = with(|frames| frames.free(extent)) {
        panic!("freeing frames {extent:?}: {error:?}");
    }
}

/// Fills frames with zeros. Not under the kernel lock if they are many.
pub fn zero(extent: Extent) {
    let start = direct(PhysAddr::new(extent.start * PAGE_SIZE)).as_mut_ptr::<u8>();
    // SAFETY: the caller has the frames from the allocator, so they are RAM in the direct map
    // that nobody else uses.
    unsafe { start.write_bytes(0, (extent.count * PAGE_SIZE) as usize) };
}

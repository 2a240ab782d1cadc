//! Kernel mappings outside the direct map: device registers and the kernel stacks.
//!
//! They lie in one top-level slot that all address spaces share. They are made at boot or when a
//! device is first used, and never taken back: a page that becomes present was not before, so there
//! is nothing to flush.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use spillway_abi::PAGE_SIZE;
use x86_64::{PhysAddr, structures::paging::PageTableFlags};

use super::paging;

/// Where these mappings begin: the slot behind the direct map.
pub const WINDOW: u64 = 0xffff_c000_0000_0000;

static NEXT: AtomicU64 = AtomicU64::new(WINDOW);

/// Room for `pages` pages with an unmapped one before and behind.
pub fn reserve(pages: u64) -> u64 {
    NEXT.fetch_add((pages + 1) * PAGE_SIZE, Ordering::Relaxed) + PAGE_SIZE
}

/// Maps device registers, uncached, for good. `None` if there is no memory for the tables.
pub fn map_device(physical: u64, bytes: u64) -> Option<NonNull<u8>> {
    let offset = physical % PAGE_SIZE;
    let pages = (offset + bytes).div_ceil(PAGE_SIZE);
    let start = reserve(pages);
    let flags = PageTableFlags::PRESENT
        | PageTableFlags::WRITABLE
        | PageTableFlags::NO_CACHE
        | PageTableFlags::WRITE_THROUGH
        | PageTableFlags::GLOBAL
        | paging::no_execute();
    for page in 0..pages {
        let frame = PhysAddr::new(physical - offset + page * PAGE_SIZE);
        paging::map_kernel(start + page * PAGE_SIZE, frame, flags)?;
    }
    NonNull::new((start + offset) as *mut u8)
}

//! The kernel's stacks: one per core with an unmapped page below, and one per core for each
//! exception that can strike anywhere.

use spillway_abi::PAGE_SIZE;
use x86_64::{PhysAddr, structures::paging::PageTableFlags};

use super::{device, frames, paging, phys_to_virt};
use crate::{
    arch::{self, Core, segments::EXCEPTION_STACKS},
    start,
};

/// Bytes of a core's kernel stack.
pub const KERNEL_STACK_SIZE: u64 = 32 << 10;
/// Bytes of an exception's stack. Aligned to its size: the entry code finds the stack's top, and
/// there the core's data, from any address in it.
pub const EXCEPTION_STACK_SIZE: u64 = 8 << 10;

/// A new kernel stack; returns its top.
///
/// # Panics
///
/// If there is no memory: this is part of starting a core.
pub fn kernel_stack() -> u64 {
    let pages = KERNEL_STACK_SIZE / PAGE_SIZE;
    let extent = frames::allocate_for_kernel(pages, 1).expect("no memory for a kernel stack");
    let start = device::reserve(pages);
    let flags = PageTableFlags::PRESENT
        | PageTableFlags::WRITABLE
        | PageTableFlags::GLOBAL
        | paging::no_execute();
    for page in 0..pages {
        let frame = PhysAddr::new((extent.start + page) * PAGE_SIZE);
        paging::map_kernel(start + page * PAGE_SIZE, frame, flags)
            .expect("no memory for a kernel stack's tables");
    }
    start + KERNEL_STACK_SIZE
}

/// Whether the eight bytes at an address are on a stack of this core.
pub fn is_stack(address: u64) -> bool {
    let top = arch::core().kernel_stack();
    let of_core = top
        .checked_sub(KERNEL_STACK_SIZE)
        .is_some_and(|start| start <= address && address < top);
    of_core || start::is_boot_stack(address)
}

/// The stacks for a core's exceptions: where each begins, with the core's address above.
///
/// # Panics
///
/// If there is no memory: this is part of starting a core.
pub fn exception_stacks(core: &'static Core) -> [u64; EXCEPTION_STACKS] {
    core::array::from_fn(|_| {
        let pages = EXCEPTION_STACK_SIZE / PAGE_SIZE;
        let extent =
            frames::allocate_for_kernel(pages, pages).expect("no memory for an exception's stack");
        let top = phys_to_virt((extent.start + pages) * PAGE_SIZE) as u64;
        // The two last words are the core's address and padding.
        let pointer = (top - 16) as *mut *const Core;
        // SAFETY: inside the frames that were just allocated, aligned, and nobody else's.
        unsafe { pointer.write(core) };
        top - 16
    })
}

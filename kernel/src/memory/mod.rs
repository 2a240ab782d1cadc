//! Physical memory, the kernel heap, address spaces.

pub mod account;
pub mod device;
pub mod frames;
pub mod heap;
pub mod paging;
pub mod space;
pub mod stacks;

pub use device::map_device;
pub use frames::allocate_low_frame;

use spillway_bootinfo::DIRECT_MAP;
use x86_64::{PhysAddr, VirtAddr};

/// Where a physical address of RAM or of an ACPI table appears in the kernel's direct map.
#[inline]
pub fn phys_to_virt(physical: u64) -> *mut u8 {
    (DIRECT_MAP + physical) as *mut u8
}

/// The direct map's address of a physical address.
#[inline]
pub fn direct(physical: PhysAddr) -> VirtAddr {
    VirtAddr::new_truncate(DIRECT_MAP + physical.as_u64())
}

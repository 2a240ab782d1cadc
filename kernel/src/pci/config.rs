//! Configuration space of one function, memory-mapped (PCI Express Base Specification 5.0, 7.2.2).

use core::ptr::NonNull;

use pci_types::{ConfigRegionAccess, PciAddress};
use spillway_kernel_core::pci::policy::CONFIG_SPACE;

/// The 4096 bytes of one function.
#[derive(Clone, Copy, Debug)]
pub struct ConfigSpace(NonNull<u8>);

// SAFETY: device registers, mapped for good; accesses are single volatile instructions, and the
// kernel lock orders those that belong together.
unsafe impl Send for ConfigSpace {}
// SAFETY: as above.
unsafe impl Sync for ConfigSpace {}

impl ConfigSpace {
    /// # Safety
    ///
    /// The pointer must lead to a function's configuration space, mapped uncached for good.
    pub unsafe fn new(start: NonNull<u8>) -> Self {
        Self(start)
    }

    fn at<T>(self, offset: u16) -> *mut T {
        let fits = usize::from(offset) + size_of::<T>() <= usize::from(CONFIG_SPACE);
        assert!(fits && usize::from(offset).is_multiple_of(size_of::<T>()));
        // SAFETY: inside the 4096 bytes.
        unsafe { self.0.as_ptr().add(offset.into()).cast() }
    }

    /// Reads an aligned value of 1, 2 or 4 bytes.
    pub fn read<T: Copy>(self, offset: u16) -> T {
        // SAFETY: aligned, inside, and configuration space can be read.
        unsafe { self.at::<T>(offset).read_volatile() }
    }

    /// Writes an aligned value of 1, 2 or 4 bytes.
    pub fn write<T: Copy>(self, offset: u16, value: T) {
        // SAFETY: aligned and inside. What a write does to the function is up to the callers, all
        // of which are in this module and the owner's mediated writes.
        unsafe { self.at::<T>(offset).write_volatile(value) }
    }
}

/// For `pci_types`: always the one function, whatever address it names.
impl ConfigRegionAccess for &ConfigSpace {
    unsafe fn read(&self, _: PciAddress, offset: u16) -> u32 {
        ConfigSpace::read(**self, offset)
    }

    unsafe fn write(&self, _: PciAddress, offset: u16, value: u32) {
        ConfigSpace::write(**self, offset, value);
    }
}

//! What the processor can do, as far as page tables are concerned.

use core::arch::x86_64::__cpuid;
use spillway_bootloader_core::page_tables::Features;

/// Asks the processor. The entry has already seen that leaf 0x80000001 exists.
pub fn detect() -> Features {
    // Intel SDM volume 2, CPUID: leaf 0x80000001, edx bits 20 (NX) and 26 (1 GiB pages).
    let edx = __cpuid(0x8000_0001).edx;
    Features {
        no_execute: edx & 1 << 20 != 0,
        gigabyte_pages: edx & 1 << 26 != 0,
    }
}

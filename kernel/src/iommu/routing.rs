//! Addresses that a request of a device may never bring to the IOMMU.
//!
//! A switch sends a request whose address lies in the window of one of its bridges to the device
//! there, not up to the IOMMU. So these addresses, and those of every BAR, are no I/O addresses.

use spillway_abi::Error;
use spillway_kernel_core::iommu::addresses::IoAddresses;

use crate::pci;

/// Reserves what devices of a segment answer to.
pub fn reserve(segment: u16, addresses: &mut IoAddresses) -> Result<(), Error> {
    let all = pci::functions().iter();
    for function in all.filter(|function| function.id.segment == segment) {
        for bar in function.bars.iter().flatten() {
            addresses.reserve(bar.start, bar.start.saturating_add(bar.size))?;
        }
        for window in function.windows().into_iter().flatten() {
            addresses.reserve(window.start, window.end)?;
        }
    }
    Ok(())
}

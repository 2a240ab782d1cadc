//! What stands between a function and the machine: an IOMMU, or trust.

use core::sync::atomic::{AtomicBool, Ordering};

use spillway_abi::Error;
use spillway_kernel_core::pci::FunctionId;

use super::{Memory, interrupt::direct_message};
use crate::pci::messages::Message;

/// `dma=trust` on the boot command line: without an IOMMU, functions may reach all memory.
static TRUST: AtomicBool = AtomicBool::new(false);

/// Sets whether functions are trusted where there is no IOMMU.
pub fn set_trust(trust: bool) {
    TRUST.store(trust, Ordering::Relaxed);
}

/// What a function may reach by DMA.
#[derive(Debug)]
pub enum Reach {
    /// Everything, by physical addresses.
    Trusted,
}

/// The way of a function's message to a core.
#[derive(Debug)]
pub enum Route {
    /// As the function sends it.
    Direct,
}

impl Reach {
    /// For a function. [`Error::NoIommu`] if it can be neither confined nor trusted.
    pub fn new(_: FunctionId) -> Result<Self, Error> {
        if TRUST.load(Ordering::Relaxed) {
            Ok(Self::Trusted)
        } else {
            Err(Error::NoIommu)
        }
    }

    /// Whether an IOMMU confines the function.
    pub fn is_confined(&self) -> bool {
        match self {
            Self::Trusted => false,
        }
    }

    /// An I/O address for a range of a memory. [`Error::OutOfRange`] if it cannot be below the
    /// limit or as aligned as asked; without an IOMMU also if the range is not contiguous.
    pub fn allocate(
        &mut self,
        memory: &Memory,
        offset: u64,
        length: u64,
        address_bits: u32,
        alignment: u64,
    ) -> Result<u64, Error> {
        match self {
            Self::Trusted => {
                let (start, bytes) = memory.run(offset, length).ok_or(Error::OutOfRange)?;
                let start = start.as_u64();
                let below = 1u128 << address_bits;
                let fits = u128::from(start) + u128::from(length) <= below;
                let right = bytes == length && fits && start.is_multiple_of(alignment);
                if right {
                    Ok(start)
                } else {
                    Err(Error::OutOfRange)
                }
            }
        }
    }

    /// Lets the function reach frames that follow each other at an I/O address.
    pub fn map(
        &mut self,
        _io: u64,
        _physical: u64,
        _bytes: u64,
        _direction: u32,
        _charge: impl FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self {
            Self::Trusted => Ok(()),
        }
    }

    /// Takes a range away; it is gone for good after [`Self::flush`].
    pub fn unmap(&mut self, _io: u64, _bytes: u64) {
        match self {
            Self::Trusted => {}
        }
    }

    /// Waits until the function can no longer use what was taken away.
    pub fn flush(&mut self) {
        match self {
            Self::Trusted => {}
        }
    }

    /// Gives an I/O address back.
    pub fn release(&mut self, _io: u64) {
        match self {
            Self::Trusted => {}
        }
    }

    /// Lets the function reach nothing any more.
    pub fn block(&mut self) {
        match self {
            Self::Trusted => {}
        }
    }

    /// Frees a bounded number of tables of a blocked function. Whether all are free.
    pub fn free_some(&mut self) -> bool {
        match self {
            Self::Trusted => true,
        }
    }
}

/// A way for a message from a function to a vector of a core.
pub fn route(_: FunctionId, vector: u8, apic_id: u32) -> Result<(Route, Message), Error> {
    if apic_id > 0xff {
        return Err(Error::BadArgument);
    }
    Ok((Route::Direct, direct_message(vector, apic_id)))
}

/// Closes the way again.
pub fn unroute(route: &Route) {
    match route {
        Route::Direct => {}
    }
}

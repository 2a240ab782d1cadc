//! What stands between a function and the machine: an IOMMU, or trust.

use core::sync::atomic::{AtomicBool, Ordering};

use spillway_abi::{
    Error,
    device::{PIN_FROM_DEVICE, PIN_TO_DEVICE},
};
use spillway_kernel_core::{iommu::Access, pci::FunctionId};

use super::{Memory, interrupt::direct_message};
use crate::{
    iommu::{self, Domain},
    pci::messages::Message,
};

/// `dma=trust` on the boot command line: without an IOMMU, functions may reach all memory.
static TRUST: AtomicBool = AtomicBool::new(false);

/// Sets whether functions are trusted where there is no IOMMU.
pub fn set_trust(trust: bool) {
    TRUST.store(trust, Ordering::Relaxed);
}

/// What a function may reach by DMA.
#[derive(Debug)]
pub enum Reach {
    /// What was mapped for it.
    Confined(Domain),
    /// Everything, by physical addresses.
    Trusted,
}

/// The way of a function's message to a core.
#[derive(Debug)]
pub enum Route {
    /// By this entry of the IOMMU.
    Remapped(FunctionId, u16),
    /// As the function sends it.
    Direct,
}

/// Tables freed per step.
const TABLES: u64 = 64;

impl Reach {
    /// For a function; `charge` is called before each table. [`Error::NoIommu`] if it can be
    /// neither confined nor trusted; those of [`Domain`].
    pub fn new(
        function: FunctionId,
        charge: impl FnMut() -> Result<(), Error>,
    ) -> Result<Self, Error> {
        if iommu::is_on() {
            let mut domain = Domain::new(function, charge)?;
            domain.attach(function)?;
            Ok(Self::Confined(domain))
        } else if TRUST.load(Ordering::Relaxed) {
            Ok(Self::Trusted)
        } else {
            Err(Error::NoIommu)
        }
    }

    /// Whether an IOMMU confines the function.
    pub fn is_confined(&self) -> bool {
        matches!(self, Self::Confined(_))
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
            Self::Confined(domain) => {
                let found = domain.addresses.allocate(length, alignment, address_bits);
                found.map_err(|error| match error {
                    Error::AddressInUse => Error::OutOfRange,
                    other => other,
                })
            }
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

    /// Lets the function reach frames that follow each other at an I/O address, as `direction`
    /// says; `charge` is called before each table.
    pub fn map(
        &mut self,
        io: u64,
        physical: u64,
        bytes: u64,
        direction: u32,
        charge: impl FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self {
            Self::Confined(domain) => {
                let access = Access {
                    read: direction & PIN_TO_DEVICE != 0,
                    write: direction & PIN_FROM_DEVICE != 0,
                };
                domain.map(io, physical, bytes, access, charge)
            }
            Self::Trusted => Ok(()),
        }
    }

    /// Takes a range away; it is gone for good after [`Self::flush`].
    pub fn unmap(&mut self, io: u64, bytes: u64) -> Result<(), Error> {
        match self {
            Self::Confined(domain) => domain.unmap(io, bytes),
            Self::Trusted => Ok(()),
        }
    }

    /// Waits until the function can no longer use what was taken away. An error means that the
    /// hardware does not answer, and that nobody may use that memory any more.
    pub fn flush(&mut self) -> Result<(), Error> {
        match self {
            Self::Confined(domain) => domain.flush(),
            Self::Trusted => Ok(()),
        }
    }

    /// Gives an I/O address back.
    pub fn release(&mut self, io: u64) {
        match self {
            Self::Confined(domain) => {
                domain.addresses.free(io);
            }
            Self::Trusted => {}
        }
    }

    /// Lets the function reach nothing any more. An error as for [`Self::flush`].
    pub fn block(&mut self) -> Result<(), Error> {
        match self {
            Self::Confined(domain) => domain.block_all(),
            Self::Trusted => Ok(()),
        }
    }

    /// Frees a bounded number of tables of a blocked function. Whether all are free.
    pub fn free_some(&mut self) -> bool {
        match self {
            Self::Confined(domain) => domain.free_some(TABLES),
            Self::Trusted => true,
        }
    }
}

/// A way for a message from a function to a vector of a core.
pub fn route(function: FunctionId, vector: u8, apic_id: u32) -> Result<(Route, Message), Error> {
    if iommu::is_on() {
        let (message, entry) = iommu::interrupt_allocate(function, vector, apic_id)?;
        return Ok((Route::Remapped(function, entry), message));
    }
    if apic_id > 0xff {
        return Err(Error::BadArgument);
    }
    Ok((Route::Direct, direct_message(vector, apic_id)))
}

/// Closes the way again. If the hardware does not answer, which the IOMMU tells the log, the entry
/// is never used again.
pub fn unroute(route: &Route) {
    if let Route::Remapped(function, entry) = route {
        let _ = iommu::interrupt_free(*function, *entry);
    }
}

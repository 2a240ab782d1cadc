//! What one function reaches by DMA.

use alloc::vec::Vec;
use core::mem;

use spillway_abi::Error;
use spillway_kernel_core::{
    iommu::{
        Access,
        addresses::IoAddresses,
        vtd::{entries::DomainId, second_level::SecondLevel},
    },
    pci::FunctionId,
};

use super::{shared::PageTables, unit::Unit, unit_of};
use crate::iommu::routing;

/// Tables that are freed at once when a domain is dropped that still has some.
const FREED_AT_ONCE: u64 = 64;

/// An I/O address space: page tables of its own, and the functions that go through them.
///
/// The page tables are reached through this value only, so whoever has it exclusively may change
/// them; the unit only reads them.
#[derive(Debug)]
pub struct Domain {
    unit: &'static Unit,
    id: DomainId,
    tables: SecondLevel,
    /// Those that are let through.
    functions: Vec<FunctionId>,
    /// Which I/O addresses are in use. What is mapped should be allocated here.
    pub addresses: IoAddresses,
    /// The unit was told to forget what it knows, and did not answer.
    is_stuck: bool,
}

impl Domain {
    /// A domain with nothing mapped, for functions like this one, none of which goes through it
    /// yet. `charge` is called before its first table.
    ///
    /// [`Error::NoIommu`] without an IOMMU; [`Error::NotFound`] if no unit looks after the
    /// function; [`Error::LimitReached`] if the unit has no number left; [`Error::TimedOut`] if it
    /// hangs; [`Error::OutOfMemory`]; errors of `charge`.
    pub fn new(
        function: FunctionId,
        charge: impl FnMut() -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let unit = unit_of(function)?;
        let mut addresses = IoAddresses::new(unit.capabilities.address_bits())?;
        routing::reserve(function.segment, &mut addresses)?;
        let id = unit.allocate_domain()?;
        let mut memory = PageTables {
            is_coherent: unit.capabilities.is_coherent(),
            charge,
        };
        let tables = SecondLevel::new(unit.capabilities.format(), &mut memory)
            .inspect_err(|_| unit.free_domain(id))?;
        Ok(Self {
            unit,
            id,
            tables,
            functions: Vec::new(),
            addresses,
            is_stuck: false,
        })
    }

    /// Lets a function through. [`Error::BadArgument`] if another unit looks after it;
    /// [`Error::Busy`] if it has a domain; [`Error::OutOfMemory`]; [`Error::TimedOut`], and it
    /// stays blocked; [`Error::Gone`] when tables were freed.
    pub fn attach(&mut self, function: FunctionId) -> Result<(), Error> {
        if !core::ptr::eq(unit_of(function)?, self.unit) {
            return Err(Error::BadArgument);
        }
        let root = self.tables.root().ok_or(Error::Gone)?;
        self.functions
            .try_reserve(1)
            .map_err(|_| Error::OutOfMemory)?;
        let attached = self.unit.attach(function, self.id, root);
        match attached {
            Ok(()) => self.functions.push(function),
            Err(Error::TimedOut) => self.is_stuck = true,
            Err(_) => {}
        }
        attached
    }

    /// Blocks a function and waits until none of its requests is on the way.
    ///
    /// [`Error::TimedOut`] if the hardware does not answer: the function is blocked as far as the
    /// tables go, but what it could reach must not be used for anything else, ever.
    pub fn block(&mut self, function: FunctionId) -> Result<(), Error> {
        let blocked = self.unit.block(function, self.id);
        self.is_stuck |= blocked.is_err();
        self.functions.retain(|&other| other != function);
        blocked
    }

    /// Blocks all functions, as [`block`](Self::block) does.
    pub fn block_all(&mut self) -> Result<(), Error> {
        while let Some(&function) = self.functions.last() {
            self.block(function)?;
        }
        if self.is_stuck {
            return Err(Error::TimedOut);
        }
        Ok(())
    }

    /// Maps memory that lies together, with large pages where both addresses allow, for the
    /// functions to read, to write, or both. `charge` is called before each new table. Takes time
    /// with the number of pages: the caller limits it.
    ///
    /// [`Error::BadArgument`] if an argument is not whole pages or neither access is asked for;
    /// [`Error::OutOfRange`] beyond the width of an address; [`Error::AddressInUse`] if something
    /// is mapped there; [`Error::OutOfMemory`]; [`Error::TimedOut`]; errors of `charge`. After an
    /// error some may be mapped; [`unmap`](Self::unmap) takes it away.
    pub fn map(
        &mut self,
        io_address: u64,
        physical: u64,
        bytes: u64,
        access: Access,
        charge: impl FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let capabilities = &self.unit.capabilities;
        let end = io_address.checked_add(bytes).ok_or(Error::OutOfRange)?;
        if end > 1 << capabilities.address_bits() {
            return Err(Error::OutOfRange);
        }
        let mut memory = PageTables {
            is_coherent: capabilities.is_coherent(),
            charge,
        };
        self.tables
            .map(&mut memory, io_address, physical, bytes, access)?;
        // Elsewhere absent entries are not remembered and writes arrive by themselves (section
        // 6.1 and 6.8).
        if capabilities.is_caching() || capabilities.needs_buffer_flush() {
            self.flush()?;
        }
        Ok(())
    }

    /// Unmaps what was mapped, in whole calls of [`map`](Self::map); what is not mapped is passed
    /// over. The functions may reach it until the next [`flush`](Self::flush).
    ///
    /// [`Error::BadArgument`] if the range is not whole pages or cuts a large page;
    /// [`Error::OutOfRange`] beyond the width of an address.
    pub fn unmap(&mut self, io_address: u64, bytes: u64) -> Result<(), Error> {
        let mut memory = self.memory();
        self.tables.unmap(&mut memory, io_address, bytes)
    }

    /// Waits until no function reaches what was unmapped, and no request that did is on the way.
    /// [`Error::TimedOut`] if the hardware does not answer: that memory must not be used for
    /// anything else, ever.
    pub fn flush(&mut self) -> Result<(), Error> {
        let flushed = self.unit.forget_translations(self.id);
        self.is_stuck |= flushed.is_err();
        Ok(flushed?)
    }

    /// Frees at most `most` tables, and the domain's number with the last. Says whether that is
    /// done. Nothing is freed, and it is never done, while functions are let through or after the
    /// hardware did not answer.
    pub fn free_some(&mut self, most: u64) -> bool {
        if self.tables.root().is_none() {
            return true;
        }
        if !self.functions.is_empty() || self.is_stuck {
            return false;
        }
        let mut memory = self.memory();
        self.tables.free_some(&mut memory, most);
        let is_done = self.tables.root().is_none();
        if is_done {
            self.unit.free_domain(self.id);
        }
        is_done
    }

    /// The page tables' memory where none is allocated.
    fn memory(&self) -> PageTables<impl FnMut() -> Result<(), Error> + use<>> {
        PageTables {
            is_coherent: self.unit.capabilities.is_coherent(),
            charge: || Err(Error::OutOfMemory),
        }
    }
}

impl Drop for Domain {
    /// Frees what is left. Whoever has had much mapped calls [`Domain::free_some`] first.
    fn drop(&mut self) {
        if self.tables.root().is_none() {
            return;
        }
        for function in mem::take(&mut self.functions) {
            self.is_stuck |= self.unit.block(function, self.id).is_err();
        }
        // The unit may still use the tables then: they are lost.
        if self.is_stuck {
            return;
        }
        while !self.free_some(FREED_AT_ONCE) {}
    }
}

//! The interrupt remapping table: who may interrupt which core how.

use spillway_abi::Error;
use spillway_kernel_core::{
    iommu::vtd::{capabilities::Capabilities, entries, invalidation},
    pci::FunctionId,
    slots::Slots,
};

use super::{
    registers::{INTERRUPT_TABLE, Registers, SET_INTERRUPT_TABLE, Stuck},
    shared::{FRAME_WORDS, Shared},
    unit::Unit,
};
use crate::{pci::messages::Message, platform::apic};

/// Entries of a unit's table: 2 to the power of [`SIZE`] plus 1.
const ENTRIES: u16 = 4096;
/// The same as the register has it (section 11.4.10).
const SIZE: u64 = ENTRIES.trailing_zeros() as u64 - 1;
/// Destinations have 32 bits (section 11.4.10, EIME).
const WIDE: u64 = 1 << 11;

/// The table, and which of its entries are in use.
#[derive(Debug)]
pub struct Interrupts {
    table: Shared,
    used: Slots,
    /// Whether destinations have 32 bits; else they have 8.
    is_wide: bool,
}

impl Interrupts {
    /// A table in which every entry is absent. `None` without memory.
    pub fn new(capabilities: &Capabilities) -> Option<Self> {
        let frames = u64::from(ENTRIES) * 2 / FRAME_WORDS as u64;
        Some(Self {
            table: Shared::allocate(frames, capabilities.is_coherent())?,
            used: Slots::new(ENTRIES).ok()?,
            is_wide: apic::is_x2apic() && capabilities.has_wide_destinations(),
        })
    }

    /// Makes the unit use it.
    pub fn install(&self, registers: &Registers) -> Result<(), Stuck> {
        let wide = if self.is_wide { WIDE } else { 0 };
        registers.write64(INTERRUPT_TABLE, self.table.physical() | wide | SIZE);
        registers.command(SET_INTERRUPT_TABLE, true)
    }
}

impl Unit {
    /// See [`crate::iommu::interrupt_allocate`].
    pub fn allocate_interrupt(
        &self,
        function: FunctionId,
        vector: u8,
        apic_id: u32,
    ) -> Result<(Message, u16), Error> {
        let mut state = self.state.lock();
        state.queue.check()?;
        let interrupts = &mut state.interrupts;
        if apic_id > 0xff && !interrupts.is_wide {
            return Err(Error::BadArgument);
        }
        let entry = interrupts.used.allocate().ok_or(Error::LimitReached)?;
        let content = entries::interrupt(function, vector, apic_id, interrupts.is_wide);
        interrupts.table.set(entry.into(), content);
        // A unit may remember that the entry was absent (section 6.1).
        let told = self.forget(&mut state, invalidation::interrupt(entry));
        if told.is_err() {
            state.interrupts.table.clear(entry.into());
        }
        told?;
        let (address, data) = entries::message(entry);
        Ok((Message { address, data }, entry))
    }

    /// See [`crate::iommu::interrupt_free`].
    pub fn free_interrupt(&self, entry: u16) -> Result<(), Error> {
        let mut state = self.state.lock();
        if !state.interrupts.used.is_used(entry) {
            return Err(Error::BadArgument);
        }
        state.interrupts.table.clear(entry.into());
        self.forget(&mut state, invalidation::interrupt(entry))?;
        state.interrupts.used.free(entry);
        Ok(())
    }
}

//! One remapping unit: brought up, and its functions let through or blocked.

use core::ops::Range;

use spillway_abi::Error;
use spillway_kernel_core::{
    iommu::vtd::{
        capabilities::Capabilities,
        dmar::UnitDescription,
        entries::{self, DomainId},
        invalidation::{self, Descriptor},
        members::Members,
    },
    pci::FunctionId,
    slots::Slots,
};

use super::{
    interrupts::Interrupts,
    queue::{Hang, Queue},
    registers::{
        CAPABILITY, EXTENDED_CAPABILITY, INTERRUPT_REMAPPING, ROOT_TABLE, Registers,
        SET_ROOT_TABLE, Stuck, TRANSLATION,
    },
    shared::Shared,
};
use crate::{iommu::reports, sync::Spin};

/// Domains of one unit, if it has numbers for as many.
const MAX_DOMAINS: u32 = 4096;

/// A remapping unit.
#[derive(Debug)]
pub struct Unit {
    /// The segment of its functions.
    pub segment: u16,
    /// The functions that it looks after.
    pub members: Members,
    /// What it can do.
    pub capabilities: Capabilities,
    pub(super) registers: Registers,
    pub(super) state: Spin<State>,
}

/// What the unit's lock protects.
#[derive(Debug)]
pub(super) struct State {
    pub queue: Queue,
    /// The root table: an entry for each bus.
    roots: Shared,
    domains: Slots,
    pub interrupts: Interrupts,
}

impl From<Stuck> for Error {
    fn from(_: Stuck) -> Self {
        Self::TimedOut
    }
}

impl Unit {
    /// Looks at a unit and makes its tables, with every function blocked. It is not switched on.
    pub fn new(description: &UnitDescription, members: Members) -> Result<Self, &'static str> {
        const NO_MEMORY: &str = "no memory for an IOMMU's tables";
        let map = |bytes| Registers::map(description.registers, bytes).ok_or(NO_MEMORY);
        let mut registers = map(4096)?;
        let capabilities = Capabilities::new(
            registers.read64(CAPABILITY),
            registers.read64(EXTENDED_CAPABILITY),
        );
        if let Some(missing) = capabilities.missing() {
            log::warn!(
                "the IOMMU at {:#x} lacks {missing}: none is used",
                description.registers
            );
            return Err("an IOMMU lacks what is needed");
        }
        if capabilities.register_bytes() > 4096 {
            registers = map(capabilities.register_bytes())?;
        }
        let is_coherent = capabilities.is_coherent();
        let mut domains =
            Slots::new(capabilities.domains().min(MAX_DOMAINS) as u16).map_err(|_| NO_MEMORY)?;
        // Number 0 belongs to entries that are not present (section 6.1).
        domains.allocate();
        let state = State {
            queue: Queue::new(is_coherent).ok_or(NO_MEMORY)?,
            roots: Shared::allocate(1, is_coherent).ok_or(NO_MEMORY)?,
            domains,
            interrupts: Interrupts::new(&capabilities).ok_or(NO_MEMORY)?,
        };
        log::info!(
            "IOMMU at {:#x}, segment {}: VT-d, {} bits, pages of 4 KiB{}, {} domains{}",
            description.registers,
            description.segment,
            capabilities.address_bits(),
            ["", ", 2 MiB", ", 2 MiB, 1 GiB"][usize::from(capabilities.format().largest) - 1],
            capabilities.domains().min(MAX_DOMAINS) - 1,
            if capabilities.is_caching() {
                ", caching"
            } else {
                ""
            },
        );
        Ok(Self {
            segment: description.segment,
            members,
            capabilities,
            registers,
            state: Spin::new(state),
        })
    }

    /// Switches the unit on: from here on its functions are blocked.
    pub fn start(&self) -> Result<(), &'static str> {
        self.try_start()
            .map_err(|Stuck| "an IOMMU does not do what it is told to")
    }

    fn try_start(&self) -> Result<(), Stuck> {
        let Self { registers, .. } = self;
        self.quiet_faults();
        registers.take_over()?;
        let mut state = self.state.lock();
        self.flush_write_buffer()?;
        registers.write64(ROOT_TABLE, state.roots.physical());
        registers.command(SET_ROOT_TABLE, true)?;
        state.interrupts.install(registers)?;
        state.queue.start(registers)?;
        state
            .queue
            .submit(registers, invalidation::all_contexts())?;
        let (reads, writes) = self.drains();
        let everything = invalidation::all_translations(reads, writes);
        state.queue.submit(registers, everything)?;
        state
            .queue
            .submit(registers, invalidation::all_interrupts())?;
        registers.command(TRANSLATION, true)?;
        registers.command(INTERRUPT_REMAPPING, true)?;
        if self.capabilities.has_protected_memory() {
            registers.unprotect_memory()?;
        }
        drop(state);
        self.report_faults();
        Ok(())
    }

    /// Switches the unit off, if it lets itself be.
    pub fn stop(&self) {
        for bit in [INTERRUPT_REMAPPING, TRANSLATION] {
            if self.registers.command(bit, false).is_err() {
                log::warn!("an IOMMU cannot be switched off");
            }
        }
    }

    fn drains(&self) -> (bool, bool) {
        let Self { capabilities, .. } = self;
        (capabilities.drains_reads(), capabilities.drains_writes())
    }

    fn flush_write_buffer(&self) -> Result<(), Stuck> {
        if self.capabilities.needs_buffer_flush() {
            self.registers.flush_write_buffer()?;
        }
        Ok(())
    }

    /// Has the unit forget something, when all writes of tables have reached it. After one failure
    /// all later calls fail at once.
    pub(super) fn forget(&self, state: &mut State, what: Descriptor) -> Result<(), Stuck> {
        state.queue.check()?;
        let done = self
            .flush_write_buffer()
            .and_then(|()| state.queue.submit(&self.registers, what));
        if done.is_err() {
            state.queue.give_up(&self.registers);
            reports::soon();
        }
        done
    }

    /// How the unit hangs, if it does and nobody was told.
    pub fn take_hang(&self) -> Option<Hang> {
        let mut state = self.state.lock();
        let hang = state.queue.hang.as_mut()?;
        (!core::mem::replace(&mut hang.is_told, true)).then_some(*hang)
    }

    /// Where its registers are in physical memory.
    pub fn physical(&self) -> Range<u64> {
        self.registers.physical.clone()
    }

    /// Whether some of its registers are in a range of physical addresses.
    pub fn has_registers_in(&self, range: &Range<u64>) -> bool {
        let own = &self.registers.physical;
        own.start < range.end && range.start < own.end
    }

    /// Has the unit forget all translations of a domain and waits until no request uses one.
    pub(super) fn forget_translations(&self, domain: DomainId) -> Result<(), Stuck> {
        self.forget_translations_with(&mut self.state.lock(), domain)
    }

    fn forget_translations_with(&self, state: &mut State, domain: DomainId) -> Result<(), Stuck> {
        let (reads, writes) = self.drains();
        self.forget(state, invalidation::translations(domain, reads, writes))
    }

    /// A number for a domain. [`Error::LimitReached`]; [`Error::TimedOut`] if the unit hangs, which
    /// would let nothing through to it.
    pub(super) fn allocate_domain(&self) -> Result<DomainId, Error> {
        let mut state = self.state.lock();
        state.queue.check()?;
        let number = state.domains.allocate();
        number.map(DomainId).ok_or(Error::LimitReached)
    }

    /// Gives the number of a domain back, of which the unit remembers nothing.
    pub(super) fn free_domain(&self, domain: DomainId) {
        self.state.lock().domains.free(domain.0);
    }

    /// Lets a function through to the page tables of a domain. [`Error::Busy`] if it has a domain;
    /// [`Error::OutOfMemory`]; [`Error::TimedOut`], and the function is blocked.
    pub(super) fn attach(
        &self,
        function: FunctionId,
        domain: DomainId,
        page_table: u64,
    ) -> Result<(), Error> {
        let mut state = self.state.lock();
        let contexts = self.contexts(&state, function.bus)?;
        let slot = slot(function);
        if contexts.has(slot) {
            return Err(Error::Busy);
        }
        let levels = self.capabilities.format().levels;
        contexts.set(slot, entries::context(page_table, levels, domain));
        // A unit that remembers absent entries has this one under number 0 (section 6.1).
        let absent = invalidation::context(DomainId(0), function.requester());
        let done = self
            .forget(&mut state, absent)
            .and_then(|()| self.forget_translations_with(&mut state, domain));
        if done.is_err() {
            contexts.clear(slot);
        }
        Ok(done?)
    }

    /// Blocks a function, if it has this domain, and waits until it is. [`Error::TimedOut`]: it
    /// is blocked in the tables, but the unit may remember otherwise.
    pub(super) fn block(&self, function: FunctionId, domain: DomainId) -> Result<(), Error> {
        let mut state = self.state.lock();
        let Some(contexts) = self.existing_contexts(&state, function.bus) else {
            return Ok(());
        };
        let slot = slot(function);
        let is_attached =
            contexts.has(slot) && entries::context_domain(contexts.read(2 * slot + 1)) == domain;
        if is_attached {
            contexts.clear(slot);
            let context = invalidation::context(domain, function.requester());
            self.forget(&mut state, context)?;
            self.forget_translations_with(&mut state, domain)?;
        }
        Ok(())
    }

    fn existing_contexts(&self, state: &State, bus: u8) -> Option<Shared> {
        let root = state.roots.read(2 * usize::from(bus));
        // SAFETY: the root table has only tables that `contexts` made; they are never freed.
        entries::is_present(root).then(|| unsafe {
            Shared::table(entries::table(root), self.capabilities.is_coherent())
        })
    }

    /// The context table of a bus, made when first needed.
    fn contexts(&self, state: &State, bus: u8) -> Result<Shared, Error> {
        if let Some(contexts) = self.existing_contexts(state, bus) {
            return Ok(contexts);
        }
        let contexts = Shared::allocate(1, self.capabilities.is_coherent());
        let contexts = contexts.ok_or(Error::OutOfMemory)?;
        state
            .roots
            .set(bus.into(), entries::root(contexts.physical()));
        Ok(contexts)
    }
}

/// The place of a function in the context table of its bus.
fn slot(function: FunctionId) -> usize {
    usize::from(function.requester() & 0xff)
}

//! A program's address space: its page tables and what is mapped where.

use core::{
    ptr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use alloc::sync::Arc;
use spillway_abi::{Error, counters::Counter, layout};
use spillway_kernel_core::regions::RegionMap;
use x86_64::PhysAddr;

use super::{account::Account, paging};
use crate::{
    arch::{Core, core},
    kernel::Kernel,
    object::Memory,
    sync::Locked,
};

/// What a mapping costs of the kernel's own memory, in bytes; charged to the process.
pub const MAPPING_COST: u64 = 64;

/// What a mapping shows.
#[derive(Debug)]
pub struct Mapping {
    /// Keeps the pages until every core has forgotten them.
    pub memory: Arc<Memory>,
    /// A map or unmap of it is not finished; it can be neither used nor taken away.
    pub busy: bool,
}

impl Mapping {
    /// Of a memory's pages, `busy` until they are all mapped.
    pub fn new(memory: Arc<Memory>, busy: bool) -> Self {
        Self { memory, busy }
    }
}

/// An address space.
#[derive(Debug)]
pub struct AddressSpace {
    root: PhysAddr,
    /// The top table has been freed.
    freed: AtomicBool,
    /// A bit for each core that has it loaded, or may be about to.
    active: AtomicU64,
    /// What is mapped.
    pub regions: Locked<RegionMap<Mapping>>,
}

impl AddressSpace {
    /// An empty one; its top table is charged. [`Error::LimitReached`], [`Error::OutOfMemory`].
    pub fn new(account: &Account) -> Result<Self, Error> {
        account.charge_table()?;
        let root = paging::new_root()?;
        Ok(Self {
            root,
            freed: AtomicBool::new(false),
            active: AtomicU64::new(0),
            regions: Locked::new(RegionMap::new()),
        })
    }

    /// The cores that have it loaded.
    pub fn cores(&self) -> u64 {
        self.active.load(Ordering::SeqCst)
    }

    /// Frees the top table, once: after everything below it, when no core has it loaded.
    pub fn free_root(&self) {
        if !self.freed.swap(true, Ordering::Relaxed) {
            paging::free_table(self.root);
        }
    }

    /// The top table.
    pub fn root(&self) -> PhysAddr {
        self.root
    }

    /// Loads it on this core. False if it was.
    #[inline(always)]
    pub fn enter(&self, core: &Core) -> bool {
        let before = core.space.get();
        if ptr::eq(before, self) {
            return false;
        }
        let bit = core.bit.get();
        // The bit is set before the tables are used, so whoever changes them sees this core.
        self.active.fetch_or(bit, Ordering::SeqCst);
        paging::load(self.root);
        core.space.set(self);
        core.count_here(Counter::AddressSpaceSwitches, 1);
        // SAFETY: a space stays alive while a core's bit in it is set: its end waits for that.
        if let Some(before) = unsafe { before.as_ref() } {
            before.active.fetch_and(!bit, Ordering::SeqCst);
        }
        true
    }

    /// Takes a mapping out whose pages are not mapped any more.
    pub fn release(&self, kernel: &mut Kernel, account: &Arc<Account>, start: u64) -> Option<u64> {
        let region = self.regions.get_mut(kernel).take(start)?;
        region.value.memory.let_go(kernel, account);
        account.release(MAPPING_COST);
        Some(region.end())
    }

    /// Finds room, or checks the address that was asked for, and enters the mapping as busy.
    /// Its cost is charged. Returns where it begins.
    pub fn reserve(
        &self,
        kernel: &mut Kernel,
        account: &Arc<Account>,
        address: u64,
        length: u64,
        mapping: Mapping,
    ) -> Result<u64, Error> {
        let regions = self.regions.get_mut(kernel);
        let start = match address {
            0 => find_room(regions, length).ok_or(Error::AddressInUse)?,
            chosen => chosen,
        };
        let end = start.checked_add(length).ok_or(Error::BadArgument)?;
        if start < layout::USER_START || end > layout::MAP_END {
            return Err(Error::BadArgument);
        }
        let memory = mapping.memory.clone();
        memory.hold(kernel, account)?;
        account
            .charge(MAPPING_COST)
            .inspect_err(|_| memory.let_go(kernel, account))?;
        let inserted = self.regions.get_mut(kernel).insert(start, length, mapping);
        if inserted.is_err() {
            memory.let_go(kernel, account);
            account.release(MAPPING_COST);
        }
        inserted.map(|()| start)
    }
}

/// A free range; at a multiple of a large page if it is long enough to use one.
fn find_room(regions: &RegionMap<Mapping>, length: u64) -> Option<u64> {
    let start = regions.find_free(length, layout::MAP_START, layout::MAP_END)?;
    if length < paging::LARGE_PAGE || start.is_multiple_of(paging::LARGE_PAGE) {
        return Some(start);
    }
    let roomy = regions.find_free(
        length + paging::LARGE_PAGE,
        layout::MAP_START,
        layout::MAP_END,
    )?;
    Some(roomy.next_multiple_of(paging::LARGE_PAGE))
}

/// Leaves whatever address space of a program this core has loaded.
pub fn leave() {
    let core = core();
    let before = core.space.replace(ptr::null());
    paging::load(paging::kernel_root());
    // SAFETY: as in `enter`.
    if let Some(before) = unsafe { before.as_ref() } {
        before.active.fetch_and(!core.bit.get(), Ordering::SeqCst);
    }
}

impl Drop for AddressSpace {
    /// For a process that was never given out; any other was taken apart before.
    fn drop(&mut self) {
        self.free_root();
    }
}

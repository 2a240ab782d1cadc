//! What a granted function may reach by DMA: pins of memory.

use alloc::{sync::Arc, vec::Vec};
use spillway_abi::{Error, PAGE_SIZE};

use super::{Grant, Memory, reach::Reach};
use crate::{kernel::Kernel, memory::account::Account, sync::Locked};

/// The most pins of one function.
const MAX_PINS: usize = 1000;
/// What a pin costs of the kernel's own memory, in bytes; charged to the owner.
pub const PIN_COST: u64 = 128;

/// The I/O address space of one function.
#[derive(Debug)]
pub struct DmaSpace {
    /// Whose it is.
    pub grant: Arc<Grant>,
    /// What the kernel lock protects.
    pub state: Locked<DmaState>,
}

/// The part of a DmaSpace that the kernel lock protects.
#[derive(Debug)]
pub struct DmaState {
    /// How the function is confined.
    pub reach: Reach,
    /// What the owner was charged for the tables of that.
    tables: u64,
    /// What it may reach. Until a pin has left this list its memory is in quarantine: the pin
    /// holds it.
    pub pins: Vec<Arc<Pin>>,
}

/// A range of memory that a function may reach.
#[derive(Debug)]
pub struct Pin {
    /// For which function.
    pub space: Arc<DmaSpace>,
    /// Where, for the function.
    pub io_address: u64,
    /// Bytes.
    pub length: u64,
    /// Keeps the pages, until the function can no longer reach them.
    pub memory: Locked<Option<Arc<Memory>>>,
}

impl DmaSpace {
    /// The one DmaSpace of a grant, made when first asked for. [`Error::NoIommu`].
    pub fn of(kernel: &mut Kernel, grant: &Arc<Grant>) -> Result<Arc<Self>, Error> {
        grant.check(kernel)?;
        if let Some(space) = &grant.state.get(kernel).dma {
            return Ok(space.clone());
        }
        let account = &grant.owner.account;
        let mut tables = 0;
        let reach = Reach::new(grant.function.id, || charge_table(account, &mut tables))
            .inspect_err(|_| account.release(tables))?;
        let state = Locked::new(DmaState {
            reach,
            tables,
            pins: Vec::new(),
        });
        let space = Arc::new(Self {
            grant: grant.clone(),
            state,
        });
        grant.state.get_mut(kernel).dma = Some(space.clone());
        Ok(space)
    }

    /// Lets the function reach frames that follow each other at an I/O address. Errors of
    /// [`Reach::map`].
    pub fn map(
        &self,
        kernel: &mut Kernel,
        io: u64,
        physical: u64,
        bytes: u64,
        direction: u32,
    ) -> Result<(), Error> {
        let DmaState { reach, tables, .. } = self.state.get_mut(kernel);
        let account = &self.grant.owner.account;
        let charge = || charge_table(account, tables);
        reach.map(io, physical, bytes, direction, charge)
    }

    /// Frees a bounded number of tables of a blocked function. Whether all are free; then the owner
    /// no longer pays for them.
    pub fn free_tables(&self, kernel: &mut Kernel) -> bool {
        let DmaState { reach, tables, .. } = self.state.get_mut(kernel);
        let is_done = reach.free_some();
        if is_done {
            self.grant.owner.account.release(core::mem::take(tables));
        }
        is_done
    }

    /// Bytes pinned.
    pub fn pinned(&self, kernel: &Kernel) -> u64 {
        self.state
            .get(kernel)
            .pins
            .iter()
            .map(|pin| pin.length)
            .sum()
    }

    /// Makes room for a pin. [`Error::LimitReached`], [`Error::OutOfMemory`].
    pub fn reserve(&self, kernel: &mut Kernel) -> Result<(), Error> {
        let pins = &mut self.state.get_mut(kernel).pins;
        if pins.len() >= MAX_PINS {
            return Err(Error::LimitReached);
        }
        pins.try_reserve(1).map_err(|_| Error::OutOfMemory)
    }

    /// Takes a pin off the list, if it is still there, and lets go of its memory.
    pub fn forget(&self, kernel: &mut Kernel, pin: &Arc<Pin>) {
        let pins = &mut self.state.get_mut(kernel).pins;
        if let Some(index) = pins.iter().position(|other| Arc::ptr_eq(other, pin)) {
            pins.swap_remove(index);
            self.let_go(kernel, pin);
        }
    }

    /// Takes any pin off the list and lets go of its memory. False if there is none.
    pub fn forget_any(&self, kernel: &mut Kernel) -> bool {
        let Some(pin) = self.state.get_mut(kernel).pins.pop() else {
            return false;
        };
        self.let_go(kernel, &pin);
        true
    }

    fn let_go(&self, kernel: &mut Kernel, pin: &Pin) {
        let account = &self.grant.owner.account;
        if let Some(memory) = pin.memory.get_mut(kernel).take() {
            memory.let_go(kernel, account);
        }
        account.release(PIN_COST);
    }
}

/// Charges for a table, and remembers it.
fn charge_table(account: &Account, tables: &mut u64) -> Result<(), Error> {
    account.charge(PAGE_SIZE)?;
    *tables += PAGE_SIZE;
    Ok(())
}

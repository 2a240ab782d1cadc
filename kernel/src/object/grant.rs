//! A PCI function in the hands of a process.

use alloc::{sync::Arc, vec::Vec};
use spillway_abi::{Error, device::Caching};
use x86_64::PhysAddr;

use super::{DmaSpace, Interrupt, Memory, Process};
use crate::{
    iommu,
    kernel::Kernel,
    pci::{self, Function, State, function::BARS},
    sync::Locked,
};

/// The grant of one function to one process; ends for good with its revocation
/// ([`crate::sched::work::Revoke`]).
#[derive(Debug)]
pub struct Grant {
    /// What was granted.
    pub function: &'static Function,
    /// To whom.
    pub owner: Arc<Process>,
    /// What the kernel lock protects.
    pub state: Locked<GrantState>,
}

/// The part of a grant that the kernel lock protects.
#[derive(Debug, Default)]
pub struct GrantState {
    /// It is being taken back, or is over: nothing new comes from it.
    pub revoked: bool,
    /// The Memory of each BAR that was asked for.
    pub bars: [Option<Arc<Memory>>; BARS],
    /// The vectors that were asked for.
    pub interrupts: Vec<Arc<Interrupt>>,
    /// What the function may reach.
    pub dma: Option<Arc<DmaSpace>>,
    /// The revocation began a reset: until this time, in nanoseconds, the function must be left
    /// alone.
    pub settles_at: Option<u64>,
}

impl Grant {
    /// Gives a function to a process. [`Error::Busy`] if it or another of its group belongs to
    /// somebody else, or is on its way back; [`Error::Refused`] for bridges, and as for
    /// [`iommu::check_grant`];
    /// [`Error::DeviceFailed`] if it could not be reset after its last owner.
    pub fn new(
        kernel: &mut Kernel,
        function: &'static Function,
        owner: &Arc<Process>,
    ) -> Result<Arc<Self>, Error> {
        owner.check_alive()?;
        iommu::check_grant(function.id)?;
        match function.state.get(kernel) {
            State::Free => {}
            State::Owned(_) | State::Revoking => return Err(Error::Busy),
            State::Blocked => return Err(Error::DeviceFailed),
            State::Bridge => return Err(Error::Refused),
        }
        pci::check_group(kernel, function, owner.id)?;
        let grants = &mut owner.state.get_mut(kernel).grants;
        grants.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        let grant = Arc::new(Self {
            function,
            owner: owner.clone(),
            state: Locked::new(GrantState::default()),
        });
        owner.state.get_mut(kernel).grants.push(grant.clone());
        *function.state.get_mut(kernel) = State::Owned(owner.id);
        function.decode_memory();
        Ok(grant)
    }

    /// [`Error::Gone`] if it has been revoked.
    pub fn check(&self, kernel: &Kernel) -> Result<(), Error> {
        if self.state.get(kernel).revoked {
            Err(Error::Gone)
        } else {
            Ok(())
        }
    }

    /// Whether it has been taken back completely.
    pub fn is_over(&self, kernel: &Kernel) -> bool {
        let grants = &self.owner.state.get(kernel).grants;
        !grants.iter().any(|other| core::ptr::eq(&**other, self))
    }

    /// The registers of a BAR. [`Error::NotFound`], [`Error::Refused`] as for
    /// [`Function::bar_pages`]; [`Error::Busy`] if it was asked for with another caching.
    pub fn bar(
        &self,
        kernel: &mut Kernel,
        index: u64,
        caching: Caching,
    ) -> Result<Arc<Memory>, Error> {
        self.check(kernel)?;
        let index = usize::try_from(index).ok().filter(|&index| index < BARS);
        let index = index.ok_or(Error::NotFound)?;
        let pages = self.function.bar_pages(index)?;
        if let Some(memory) = &self.state.get(kernel).bars[index] {
            let same = memory.caching() == Some(caching);
            return if same {
                Ok(memory.clone())
            } else {
                Err(Error::Busy)
            };
        }
        let protected = self.function.messages.protected(pages);
        let start = PhysAddr::new(pages.start);
        let memory = Arc::new(Memory::registers(start, pages.size, caching, protected));
        self.state.get_mut(kernel).bars[index] = Some(memory.clone());
        Ok(memory)
    }

    /// Lets the function master the bus, or not. [`Error::Refused`] without a DmaSpace: then
    /// nothing says what it may reach.
    pub fn set_bus_master(&self, kernel: &Kernel, on: bool) -> Result<(), Error> {
        self.check(kernel)?;
        if on && self.state.get(kernel).dma.is_none() {
            return Err(Error::Refused);
        }
        self.function.set_bus_master(on);
        Ok(())
    }
}

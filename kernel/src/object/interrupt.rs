//! Interrupts of granted functions.
//!
//! They are edges: the kernel counts them, and whoever waits gets the count. A vector is masked
//! only when one comes while the last is untaken, so a storm costs one interrupt more than is
//! waited for; waiting unmasks it again.

use alloc::{sync::Arc, vec::Vec};
use spillway_abi::{Error, counters::Counter, limits::MAX_CORES};
use spillway_kernel_core::queue::List;

use super::{Grant, thread::Wait};
use crate::{
    arch::{core, of},
    kernel::Kernel,
    object::reach,
    pci::messages::Message,
    platform::vectors,
    sched,
    sync::Locked,
};

/// The most interrupts that one function can have.
const MAX_PER_FUNCTION: usize = 64;

/// One vector of a function, bound to a core.
#[derive(Debug)]
pub struct Interrupt {
    /// Whose it is.
    pub grant: Arc<Grant>,
    /// Which of the function's vectors.
    index: u16,
    /// The core and its vector.
    core: usize,
    vector: u8,
    /// Where the message goes, and what it is.
    route: reach::Route,
    message: Message,
    /// What the kernel lock protects.
    pub state: Locked<InterruptState>,
}

/// The part of an interrupt that the kernel lock protects.
#[derive(Debug, Default)]
pub struct InterruptState {
    /// How many came that nobody has taken.
    count: u64,
    masked: bool,
    /// The function was taken back.
    dead: bool,
    /// Who waits.
    pub waiters: List,
}

/// The vectors of each core that devices have.
#[derive(Debug, Default)]
pub struct Vectors(Vec<Option<Arc<Interrupt>>>);

/// Device vectors of a core.
const PER_CORE: usize = (vectors::LAST_DEVICE - vectors::FIRST_DEVICE) as usize + 1;

impl Vectors {
    /// No vector is in use.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    fn place(core: usize, vector: u8) -> Option<usize> {
        (vectors::FIRST_DEVICE..=vectors::LAST_DEVICE)
            .contains(&vector)
            .then(|| core * PER_CORE + (vector - vectors::FIRST_DEVICE) as usize)
    }

    /// A free vector of a core.
    fn find(&mut self, core: usize) -> Result<u8, Error> {
        let wanted = (core + 1) * PER_CORE;
        if self.0.len() < wanted {
            self.0
                .try_reserve(wanted - self.0.len())
                .map_err(|_| Error::OutOfMemory)?;
            self.0.resize(wanted, None);
        }
        let of_core = &self.0[core * PER_CORE..wanted];
        let free = of_core
            .iter()
            .position(Option::is_none)
            .ok_or(Error::LimitReached)?;
        Ok(vectors::FIRST_DEVICE + free as u8)
    }
}

impl Interrupt {
    /// Binds a vector of a function to a core. [`Error::BadArgument`] if there is no such vector
    /// or core, [`Error::Busy`] if it is bound already, [`Error::LimitReached`].
    pub fn new(
        kernel: &mut Kernel,
        grant: &Arc<Grant>,
        index: u64,
        core: u64,
    ) -> Result<Arc<Self>, Error> {
        grant.check(kernel)?;
        let index = u16::try_from(index).map_err(|_| Error::BadArgument)?;
        let core = usize::try_from(core).map_err(|_| Error::BadArgument)?;
        let allowed = grant.owner.affinity & kernel.sched.online();
        let exists = index < grant.function.messages.vectors();
        if !exists || core >= MAX_CORES || allowed & 1 << core == 0 {
            return Err(Error::BadArgument);
        }
        let interrupts = &mut grant.state.get_mut(kernel).interrupts;
        if interrupts.iter().any(|other| other.index == index) {
            return Err(Error::Busy);
        }
        if interrupts.len() == MAX_PER_FUNCTION {
            return Err(Error::LimitReached);
        }
        interrupts.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        let vector = kernel.interrupts.find(core)?;
        let apic_id = of(core).apic_id.load(core::sync::atomic::Ordering::Relaxed);
        let (route, message) = reach::route(grant.function.id, vector, apic_id)?;
        if !grant.function.program_message(index, message) {
            reach::unroute(&route);
            return Err(Error::DeviceFailed);
        }
        let interrupt = Arc::new(Self {
            grant: grant.clone(),
            index,
            core,
            vector,
            route,
            message,
            state: Locked::new(InterruptState::default()),
        });
        if let Some(place) = Vectors::place(core, vector) {
            kernel.interrupts.0[place] = Some(interrupt.clone());
        }
        grant
            .state
            .get_mut(kernel)
            .interrupts
            .push(interrupt.clone());
        grant.function.mask_message(index, false);
        Ok(interrupt)
    }

    /// Takes what has come, if anything has; and lets more come. [`Error::Gone`] after the
    /// revocation.
    pub fn take(&self, kernel: &mut Kernel) -> Result<Option<u64>, Error> {
        let state = self.state.get_mut(kernel);
        if state.dead {
            return Err(Error::Gone);
        }
        if core::mem::take(&mut state.masked) {
            self.grant.function.mask_message(self.index, false);
        }
        let count = core::mem::take(&mut state.count);
        Ok((count > 0).then_some(count))
    }

    /// Sets what the function sends once more, after a reset.
    pub fn program_again(&self, kernel: &Kernel) {
        let function = self.grant.function;
        if function.program_message(self.index, self.message) {
            function.mask_message(self.index, self.state.get(kernel).masked);
        }
    }

    /// Unbinds it: no message comes any more, and who waits is told. Once: afterwards the vector and
    /// the way to it are somebody else's.
    pub fn kill(self: &Arc<Self>, kernel: &mut Kernel) {
        if core::mem::replace(&mut self.state.get_mut(kernel).dead, true) {
            return;
        }
        self.grant.function.mask_message(self.index, true);
        reach::unroute(&self.route);
        if let Some(place) = Vectors::place(self.core, self.vector)
            && let Some(slot) = kernel.interrupts.0.get_mut(place)
        {
            *slot = None;
        }
        let wait = Wait::Interrupt(self.clone());
        while sched::wake_first(kernel, &wait, Err(Error::Gone)) {}
        let index = self.index;
        let interrupts = &mut self.grant.state.get_mut(kernel).interrupts;
        interrupts.retain(|other| other.index != index);
    }
}

/// A device interrupted this core.
pub fn arrived(kernel: &mut Kernel, vector: u8) {
    let place = Vectors::place(core().index.get(), vector);
    let found = place.and_then(|place| kernel.interrupts.0.get(place)?.clone());
    let Some(interrupt) = found else {
        core().count_here(Counter::SpuriousInterrupts, 1);
        return;
    };
    let state = interrupt.state.get_mut(kernel);
    state.count += 1;
    let (count, untaken) = (state.count, state.count > 1);
    if sched::wake_first(kernel, &Wait::Interrupt(interrupt.clone()), Ok(count)) {
        interrupt.state.get_mut(kernel).count = 0;
    } else if untaken {
        interrupt.state.get_mut(kernel).masked = true;
        interrupt.grant.function.mask_message(interrupt.index, true);
    }
}

/// A message as a function sends it when nothing stands between it and the core: physical
/// destination, fixed delivery, edge (Intel SDM vol. 3, 11.11).
pub fn direct_message(vector: u8, apic_id: u32) -> Message {
    Message {
        address: 0xfee0_0000 | u64::from(apic_id & 0xff) << 12,
        data: vector.into(),
    }
}

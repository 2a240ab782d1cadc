//! Events: a wake-up between two parties.

use alloc::sync::Arc;
use spillway_abi::Error;
use spillway_kernel_core::queue::List;

use super::{Thread, thread::Wait};
use crate::{kernel::Kernel, memory::account::Account, sched, sync::Locked};

/// What an event costs of the kernel's own memory, in bytes; charged to its creator.
pub const EVENT_COST: u64 = 128;

/// Counts signals until somebody takes them.
#[derive(Debug)]
pub struct Event {
    /// Who pays.
    account: Arc<Account>,
    /// What the kernel lock protects.
    pub state: Locked<EventState>,
}

/// The part of an event that the kernel lock protects.
#[derive(Debug, Default)]
pub struct EventState {
    /// Signals that nobody has taken.
    count: u64,
    /// Who waits.
    pub waiters: List,
    /// The one who waits, if nobody is on the list: a thread that handed the core over to another,
    /// without a deadline.
    pub turn: Option<Arc<Thread>>,
}

impl Drop for Event {
    fn drop(&mut self) {
        self.account.release(EVENT_COST);
    }
}

impl Event {
    /// An event that was not signalled. [`Error::LimitReached`].
    pub fn new(account: &Arc<Account>) -> Result<Arc<Self>, Error> {
        account.charge(EVENT_COST)?;
        Ok(Arc::new(Self {
            account: account.clone(),
            state: Locked::default(),
        }))
    }

    /// Wakes the one who has waited longest, or is remembered for the next who waits.
    pub fn signal(self: &Arc<Self>, kernel: &mut Kernel) {
        if !sched::wake_first(kernel, &Wait::Event(self.clone()), Ok(1)) {
            let state = self.state.get_mut(kernel);
            state.count = state.count.saturating_add(1);
        }
    }

    /// As [`Self::signal`]; a thread that waited is not made ready, but returned: it is on no list.
    pub fn signal_for_switch(self: &Arc<Self>, kernel: &mut Kernel) -> Option<Arc<Thread>> {
        self.list_turn(kernel);
        let front = self.state.get(kernel).waiters.front();
        let Some(thread) = front.and_then(|slot| kernel.sched.find(slot)) else {
            self.signal(kernel);
            return None;
        };
        let wait = Wait::Event(self.clone());
        sched::edit_waiters(kernel, &wait, |list, links| list.remove(links, thread.slot));
        sched::unblock(kernel, &thread);
        thread.set_result(kernel, Ok(1));
        Some(thread)
    }

    /// Puts a thread that waits for its turn on the list.
    pub fn list_turn(&self, kernel: &mut Kernel) {
        let (state, links) = self.state.get_with_links(kernel);
        if let Some(thread) = state.turn.take() {
            state.waiters.push_front(links, thread.slot);
        }
    }

    /// Takes a thread that alone is on the list off it, to wait for its turn.
    pub fn unlist_turn(&self, kernel: &mut Kernel, thread: &Arc<Thread>) {
        let (state, links) = self.state.get_with_links(kernel);
        state.waiters.remove(links, thread.slot);
        state.turn = Some(thread.clone());
    }

    /// Whether whoever waits from here on waits alone, and for a signal that is still to come.
    #[inline(always)]
    pub fn is_unused(&self, kernel: &Kernel) -> bool {
        let state = self.state.get(kernel);
        state.count == 0 && state.turn.is_none() && state.waiters.is_empty()
    }

    /// Takes all signals, if there are any.
    pub fn take(&self, kernel: &mut Kernel) -> Option<u64> {
        let count = core::mem::take(&mut self.state.get_mut(kernel).count);
        (count > 0).then_some(count)
    }
}

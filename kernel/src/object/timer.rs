//! Timers: wake-ups by the clock.

use alloc::sync::Arc;
use spillway_abi::{
    Error,
    object::{MIN_TIMER_PERIOD, TimerMeta},
};
use spillway_kernel_core::queue::List;

use super::{Process, thread::Wait};
use crate::{
    arch::core,
    ipc::requests::{self, Request},
    kernel::Kernel,
    platform::clock,
    sched,
    sync::Locked,
};

/// What a timer costs of the kernel's own memory, in bytes; charged to its creator.
pub const TIMER_COST: u64 = 256;

/// Counts how often its time has come until somebody takes that.
#[derive(Debug)]
pub struct Timer {
    /// Who pays for its place among the requests.
    owner: Arc<Process>,
    /// Its place among the requests, by which its deadline is known.
    slot: u16,
    /// What the kernel lock protects.
    pub state: Locked<TimerState>,
}

/// The part of a timer that the kernel lock protects.
#[derive(Debug, Default)]
pub struct TimerState {
    /// Nanoseconds; 0 if it is not set.
    deadline: u64,
    /// Nanoseconds; 0 for once only.
    period: u64,
    /// The core whose clock is set for it.
    home: usize,
    /// How often it fired that nobody has taken.
    count: u64,
    /// Handles to it.
    pub handles: u32,
    /// Who waits.
    pub waiters: List,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.owner.account.release(TIMER_COST);
    }
}

impl Timer {
    /// A timer that is not set. [`Error::LimitReached`], [`Error::OutOfMemory`].
    pub fn new(kernel: &mut Kernel, owner: &Arc<Process>) -> Result<Arc<Self>, Error> {
        let slots = requests::reserve(kernel, &owner.account, 1)?;
        if let Err(error) = owner.account.charge(TIMER_COST) {
            requests::release(kernel, &owner.account, &slots);
            return Err(error);
        }
        let slot = slots[0];
        let timer = Arc::new(Self {
            owner: owner.clone(),
            slot,
            state: Locked::default(),
        });
        requests::set(kernel, slot, Request::Timer(timer.clone()));
        Ok(timer)
    }

    /// Takes what has come, if anything has.
    pub fn take(&self, kernel: &mut Kernel) -> Option<u64> {
        let count = core::mem::take(&mut self.state.get_mut(kernel).count);
        (count > 0).then_some(count)
    }

    /// One of its values.
    pub fn get(&self, kernel: &Kernel, key: TimerMeta) -> u64 {
        let state = self.state.get(kernel);
        match key {
            TimerMeta::Deadline => state.deadline,
            TimerMeta::Period => state.period,
        }
    }

    /// Sets when it fires. [`Error::BadArgument`] for a period that is too short.
    pub fn set(&self, kernel: &mut Kernel, key: TimerMeta, value: u64) -> Result<(), Error> {
        match key {
            TimerMeta::Period if value != 0 && value < MIN_TIMER_PERIOD => {
                return Err(Error::BadArgument);
            }
            TimerMeta::Period => self.state.get_mut(kernel).period = value,
            TimerMeta::Deadline => {
                self.disarm(kernel);
                self.state.get_mut(kernel).count = 0;
                self.arm(kernel, value);
            }
        }
        Ok(())
    }

    fn arm(&self, kernel: &mut Kernel, deadline: u64) {
        let home = core().index.get();
        let state = self.state.get_mut(kernel);
        (state.deadline, state.home) = (deadline, home);
        if deadline != 0 {
            sched::set_deadline(kernel, home, self.slot, clock::tsc_at(deadline));
        }
    }

    fn disarm(&self, kernel: &mut Kernel) {
        let home = self.state.get(kernel).home;
        sched::remove_deadline(kernel, home, self.slot);
        self.state.get_mut(kernel).deadline = 0;
    }

    /// Its time has come.
    pub fn fire(self: &Arc<Self>, kernel: &mut Kernel) {
        let state = self.state.get_mut(kernel);
        let (before, period) = (state.deadline, state.period);
        let next = match period {
            0 => 0,
            // What was missed meanwhile counts as one.
            _ => before.saturating_add(period).max(clock::now_ns()),
        };
        self.arm(kernel, next);
        if !sched::wake_first(kernel, &Wait::Timer(self.clone()), Ok(1)) {
            let state = self.state.get_mut(kernel);
            state.count = state.count.saturating_add(1);
        }
    }

    /// Nobody has a handle to it any more.
    pub fn end(self: &Arc<Self>, kernel: &mut Kernel) {
        self.disarm(kernel);
        while sched::wake_first(kernel, &Wait::Timer(self.clone()), Err(Error::Gone)) {}
        requests::set(kernel, self.slot, Request::Free);
        requests::release(kernel, &self.owner.account, &[self.slot]);
    }
}

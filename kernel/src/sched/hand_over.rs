//! Straight from a thread that begins to wait to one that waits, on the same core, without the run
//! queue: what the fast paths of `do_io`, `Serve` and `SignalAndWait` have in common.
//!
//! Nothing is counted up and down for such a switch: the core's reference to the running thread goes to
//! where the thread is found when it is its turn again, and the reference that is there goes to the
//! core.

use alloc::sync::Arc;
use core::mem;

use spillway_abi::counters::Counter;

use super::{switch, wait};
use crate::{
    arch::{Core, go_on},
    kernel::Kernel,
    object::{
        Thread,
        thread::{Phase, ThreadState, Wait},
    },
};

/// Whether this core can go straight to a thread that waits, was on this core last and has no work
/// left, to run at a priority, as [`super::can_switch_to`]. Its process is not ending: it would not
/// wait.
#[inline(always)]
pub fn can_hand_over(kernel: &Kernel, core: &Core, state: &ThreadState, priority: u8) -> bool {
    let me = core.index();
    !core.must_reschedule()
        && state.home == me
        && state.affinity & core.bit.get() != 0
        && !kernel.sched.cores[me].run.has_above(priority)
}

/// Makes a thread the running one, for the rest of the time slice, in place of one that is in a system
/// call and waits from here on ([`waits_for`]). Returns the core's reference to that, and what the other waited for,
/// from which it was taken off: what is to be done about them is the caller's matter.
#[inline(always)]
pub fn hand_over(
    kernel: &mut Kernel,
    core: &Core,
    before: &Thread,
    thread: Arc<Thread>,
) -> (Arc<Thread>, Phase) {
    let state = thread.state.get_mut(kernel);
    let waited = mem::replace(&mut state.phase, Phase::Running);
    let priority = state.priority;
    if state.timed {
        wait::forget_deadline(kernel, &thread);
    }
    kernel.sched.cores[core.index()].running = Some(priority);
    // SAFETY: it is this core's running thread, and in a system call.
    unsafe { go_on::leave(before.context_pointer()) };
    let process = &*thread.process;
    process.count(Counter::WakeUps, 1);
    core.count_here(Counter::WakeUps, 1);
    switch::load(core, process, thread.fs_base);
    // SAFETY: `before` is running.
    let before = unsafe { core.exchange_current(thread) };
    switch::account_calls(core, &before);
    (before, waited)
}

/// Says what a thread waits for that was handed over from.
#[inline(always)]
pub fn waits_for(state: &mut ThreadState, wait: Wait) {
    let before = mem::replace(&mut state.phase, Phase::Waiting(wait));
    debug_assert!(matches!(before, Phase::Running));
    // There is nothing in it to be dropped, which the compiler does not know.
    mem::forget(before);
}

/// Puts something where nothing is, which the compiler does not know.
#[inline(always)]
pub fn put<T>(place: &mut Option<T>, value: T) {
    debug_assert!(place.is_none());
    mem::forget(place.replace(value));
}

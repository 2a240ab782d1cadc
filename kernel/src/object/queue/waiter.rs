//! The thread that waits for completions of a queue.

use alloc::sync::Arc;

use spillway_abi::Error;

use super::IoQueue;
use crate::{
    arch::{core, go_on},
    ipc::batch::Enter,
    kernel::{Guard, Kernel},
    object::{
        Thread,
        thread::{Phase, Wait},
    },
    sched::{self, work::Work},
};

/// A thread that waits in `Enter`.
#[derive(Debug)]
pub(super) struct Waiter {
    thread: Arc<Thread>,
    /// Completions for which it waits still.
    missing: u32,
    /// What it does when there is something to be copied, or an entry can go on.
    enter: (u32, u64),
    /// It has something to do with any completion.
    works: bool,
}

impl IoQueue {
    /// Shows the program what was put into the completion ring, so many. Whether the one who waits has
    /// what it waits for: then [`Self::wake`] comes next, or [`Self::switch_to_waiter`].
    #[inline]
    #[must_use = "nobody else wakes the one who waits"]
    pub fn publish(&self, kernel: &mut Kernel, count: u32) -> bool {
        let state = self.state.get_mut(kernel);
        state.completed.publish();
        let Some(waiter) = &mut state.waiter else {
            return false;
        };
        waiter.missing = waiter.missing.saturating_sub(count);
        if waiter.missing > 0 && waiter.works {
            self.wake_to_work(kernel);
            return false;
        }
        waiter.missing == 0
    }

    /// Wakes the one who waits, if there is one, with what it waited for.
    pub fn wake(&self, kernel: &mut Kernel) {
        let available = self.available(kernel).map(u64::from);
        self.end_wait(kernel, available);
    }

    /// Lets the running thread, which is in `Enter`, wait for a queue with which it is registered, and
    /// goes straight to the one who waits here and has what it waits for. Returns if that cannot be done;
    /// nothing has changed then.
    #[inline]
    pub fn switch_to_waiter(
        self: Arc<Self>,
        mut guard: Guard,
        thread: &Thread,
        waits: Wait,
        deadline: u64,
    ) -> (Guard, Arc<Self>, Wait) {
        let kernel = &mut *guard;
        let core = core();
        let available = self.available(kernel);
        let waiter = self.state.get(kernel).waiter.as_ref();
        let is_there = |waiter: &&Waiter| {
            let state = waiter.thread.state.get(kernel);
            // One that waits for room in a window, too, has work.
            state.work.is_none() && sched::can_hand_over(kernel, core, state, state.priority)
        };
        let (Some(_), Ok(available)) = (waiter.filter(is_there), available) else {
            return (guard, self, waits);
        };
        let Some(waiter) = self.state.get_mut(kernel).waiter.take() else {
            return (guard, self, waits);
        };
        let context = waiter.thread.context_pointer();
        let (before, waited) = sched::hand_over(kernel, core, thread, waiter.thread);
        sched::waits_for(thread.state.get_mut(kernel), waits);
        sched::set_time_out(kernel, &before, deadline);
        drop((before, waited, self));
        drop(guard);
        // SAFETY: the one who waited is this core's running thread, its address space is loaded, and it
        // left by a system call, `Enter`, which returns what is available.
        unsafe { go_on::with_value(context, available.into()) }
    }

    /// Remembers who waits for `minimum` completions, of which `missing` are missing. `works` if it
    /// must look at its entries again with any completion. [`Error::Busy`] if somebody waits.
    pub fn set_waiter(
        &self,
        kernel: &mut Kernel,
        thread: &Arc<Thread>,
        missing: u32,
        (minimum, deadline): (u32, u64),
        works: bool,
    ) -> Result<(), Error> {
        let waiter = &mut self.state.get_mut(kernel).waiter;
        if waiter.is_some() {
            return Err(Error::Busy);
        }
        *waiter = Some(Waiter {
            thread: thread.clone(),
            missing,
            enter: (minimum, deadline),
            works,
        });
        Ok(())
    }

    /// The one who waited does so no longer.
    pub fn clear_waiter(&self, kernel: &mut Kernel) {
        self.state.get_mut(kernel).waiter = None;
    }

    /// Ends the wait of the one who waits, if there is one, with a result. One who also waits for room
    /// in a window looks again instead, and finds the same.
    pub(super) fn end_wait(&self, kernel: &mut Kernel, result: Result<u64, Error>) {
        if let Some(waiter) = self.take_waiter(kernel) {
            waiter.thread.set_result(kernel, result);
            sched::make_ready(kernel, &waiter.thread);
        }
    }

    /// Has the one who waits, if there is one, look again.
    pub(super) fn wake_to_work(&self, kernel: &mut Kernel) {
        let Some(Waiter { thread, enter, .. }) = self.take_waiter(kernel) else {
            return;
        };
        if let Some(queue) = thread.waited_queue(kernel) {
            let (minimum, deadline) = enter;
            let enter = Enter::new(queue, minimum, deadline);
            thread.state.get_mut(kernel).work = Some(Work::Enter(enter));
        }
        sched::make_ready(kernel, &thread);
    }

    /// The one who waits, who is on no list any more and is to be made ready.
    fn take_waiter(&self, kernel: &mut Kernel) -> Option<Waiter> {
        let waiter = self.state.get_mut(kernel).waiter.take()?;
        let thread = &waiter.thread;
        if let Phase::Waiting(wait @ Wait::Window(..)) = &thread.state.get(kernel).phase {
            let wait = wait.clone();
            sched::edit_waiters(kernel, &wait, |list, links| list.remove(links, thread.slot));
        }
        sched::unblock(kernel, thread);
        Some(waiter)
    }
}

//! The thread that waits for completions of a queue.

use alloc::sync::Arc;

use spillway_abi::Error;

use super::IoQueue;
use crate::{
    ipc::batch::Enter,
    kernel::Kernel,
    object::{
        Thread,
        thread::{Phase, Wait},
    },
    sched::{self, work::Work},
};

/// A thread that waits in `Enter`.
#[derive(Debug)]
pub(super) struct Waiter {
    slot: u16,
    /// Completions for which it waits still.
    missing: u32,
    /// What it does when there is something to be copied, or an entry can go on.
    enter: (u32, u64),
    /// It has something to do with any completion.
    works: bool,
}

impl IoQueue {
    /// Shows the program what was put into the completion ring, so many. The one who waits is returned
    /// if that is what it waits for: it is on no list any more, and is to run.
    #[inline]
    pub fn publish(&self, kernel: &mut Kernel, count: u32) -> Option<Arc<Thread>> {
        let state = self.state.get_mut(kernel);
        state.completed.publish();
        let waiter = state.waiter.as_mut()?;
        waiter.missing = waiter.missing.saturating_sub(count);
        if waiter.missing == 0 {
            let available = self.available(kernel).map(u64::from);
            self.tell_waiter(kernel, available)
        } else if waiter.works {
            self.wake_to_work(kernel)
        } else {
            None
        }
    }

    /// Remembers who waits for `minimum` completions, of which `missing` are missing. `works` if it
    /// must look at its entries again with any completion. [`Error::Busy`] if somebody waits.
    pub fn set_waiter(
        &self,
        kernel: &mut Kernel,
        slot: u16,
        missing: u32,
        (minimum, deadline): (u32, u64),
        works: bool,
    ) -> Result<(), Error> {
        let waiter = &mut self.state.get_mut(kernel).waiter;
        if waiter.is_some() {
            return Err(Error::Busy);
        }
        *waiter = Some(Waiter {
            slot,
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

    /// Ends the wait of the one who waits, with a result, and makes it ready.
    pub(super) fn end_wait(&self, kernel: &mut Kernel, result: Result<u64, Error>) {
        if let Some(thread) = self.tell_waiter(kernel, result) {
            sched::make_ready(kernel, &thread);
        }
    }

    /// Ends the wait of the one who waits, with a result. One who also waits for room in a window
    /// looks again instead, and finds the same.
    fn tell_waiter(&self, kernel: &mut Kernel, result: Result<u64, Error>) -> Option<Arc<Thread>> {
        let (thread, _) = self.take_waiter(kernel)?;
        thread.set_result(kernel, result);
        Some(thread)
    }

    /// Has the one who waits look again.
    fn wake_to_work(&self, kernel: &mut Kernel) -> Option<Arc<Thread>> {
        let (thread, waiter) = self.take_waiter(kernel)?;
        if let Some(queue) = thread.waited_queue(kernel) {
            let (minimum, deadline) = waiter.enter;
            let enter = Enter::new(queue, minimum, deadline);
            thread.state.get_mut(kernel).work = Some(Work::Enter(enter));
        }
        Some(thread)
    }

    /// Has the one who waits, if there is one, copy what was answered.
    pub(super) fn wake_to_copy(&self, kernel: &mut Kernel) {
        if let Some(thread) = self.wake_to_work(kernel) {
            sched::make_ready(kernel, &thread);
        }
    }

    /// The one who waits, who is on no list any more and is to be made ready.
    fn take_waiter(&self, kernel: &mut Kernel) -> Option<(Arc<Thread>, Waiter)> {
        let waiter = self.state.get_mut(kernel).waiter.take()?;
        let thread = kernel.sched.find(waiter.slot)?;
        if let Phase::Waiting(wait @ Wait::Window(..)) = &thread.state.get(kernel).phase {
            let wait = wait.clone();
            sched::edit_waiters(kernel, &wait, |list, links| list.remove(links, waiter.slot));
        }
        sched::unblock(kernel, &thread);
        Some((thread, waiter))
    }
}

//! Waiting and waking.

use core::mem;

use spillway_abi::{Error, ExitStatus, call::NO_DEADLINE, counters::Counter};
use spillway_kernel_core::queue::{Links, List};

use super::{Scheduler, enqueue, make_ready};
use crate::{
    arch::{core, entry},
    ipc::{self, requests},
    kernel::Kernel,
    object::{
        Thread,
        thread::{Phase, Wait},
    },
    platform::clock,
};

/// Lets the running thread wait. The caller goes to [`super::schedule`] afterwards, with the same
/// guard.
///
/// If the process is ending the thread does not wait: the scheduler ends it.
pub fn wait(kernel: &mut Kernel, thread: &Thread, wait: Wait, deadline: u64) {
    entry::leave_by_call();
    let state = thread.state.get(kernel);
    if thread.process.is_ending() {
        enqueue(kernel, thread, core().index.get(), true);
    } else if state.stop && !state.deaf {
        thread.set_result(kernel, Err(Error::Interrupted));
        enqueue(kernel, thread, core().index.get(), true);
    } else {
        sleep(kernel, thread, wait, deadline);
    }
}

/// Lets a thread wait that is, or will be, on the list of what it waits for.
#[inline]
pub fn wait_listed(kernel: &mut Kernel, thread: &Thread, wait: Wait, deadline: u64) {
    let state = thread.state.get_mut(kernel);
    state.home = core().index.get();
    state.phase = Phase::Waiting(wait);
    set_time_out(kernel, thread, deadline);
}

/// Sets until when a thread waits that did so on this core.
#[inline]
pub fn set_time_out(kernel: &mut Kernel, thread: &Thread, deadline: u64) {
    let home = core().index.get();
    let state = thread.state.get_mut(kernel);
    state.timed = deadline != NO_DEADLINE;
    if state.timed {
        // Whoever runs next need not set the clock.
        set_deadline_ns(kernel, home, thread.slot, deadline);
    }
}

/// Sets a deadline of a slot, in ticks, on this core, and its clock for it.
pub fn set_deadline(kernel: &mut Kernel, home: usize, slot: u16, ticks: u64) {
    kernel.sched.cores[home].deadlines.insert(slot, ticks);
    super::set_timer(kernel);
}

/// The same in nanoseconds.
pub fn set_deadline_ns(kernel: &mut Kernel, home: usize, slot: u16, deadline: u64) {
    set_deadline(kernel, home, slot, clock::tsc_at(deadline));
}

/// A thread does not wait any more, and had a deadline.
#[cold]
pub fn forget_deadline(kernel: &mut Kernel, thread: &Thread) {
    let state = thread.state.get_mut(kernel);
    state.timed = false;
    let home = state.home;
    remove_deadline(kernel, home, thread.slot);
}

/// Takes a deadline back, if it was set.
pub fn remove_deadline(kernel: &mut Kernel, home: usize, slot: u16) {
    kernel.sched.cores[home].deadlines.remove(slot);
}

/// Puts a thread, which is on no list, to sleep until it is woken or the deadline comes.
pub(super) fn sleep(kernel: &mut Kernel, thread: &Thread, wait: Wait, deadline: u64) {
    let slot = thread.slot;
    if let Wait::Futex(address) = wait {
        let Scheduler { waits, links, .. } = &mut kernel.sched;
        waits.insert(links, slot, (thread.process.id, address));
    } else {
        edit_waiters(kernel, &wait, |list, links| list.push_back(links, slot));
    }
    wait_listed(kernel, thread, wait, deadline);
}

/// Changes the list of those who wait for an object, if the object has one. The list is taken out
/// and put back: it and the links are both behind the lock.
pub fn edit_waiters(kernel: &mut Kernel, wait: &Wait, f: impl FnOnce(&mut List, &mut Links)) {
    if let Wait::Event(event) = wait {
        event.list_turn(kernel);
    }
    let Some(list) = wait.waiters(kernel) else {
        return;
    };
    let mut list = mem::take(list);
    f(&mut list, &mut kernel.sched.links);
    if let Some(place) = wait.waiters(kernel) {
        *place = list;
    }
}

/// Whether a deadline has come.
pub fn has_passed(deadline: u64) -> bool {
    deadline != NO_DEADLINE && deadline <= clock::now_ns()
}

/// Takes a thread that waits off its list and makes it ready, its call returning `result`.
pub(super) fn end_wait(kernel: &mut Kernel, thread: &Thread, result: Result<u64, Error>) {
    let Phase::Waiting(wait) = &thread.state.get(kernel).phase else {
        return;
    };
    let wait = wait.clone();
    match &wait {
        Wait::Futex(_) => {
            let Scheduler { waits, links, .. } = &mut kernel.sched;
            waits.remove(links, thread.slot);
        }
        Wait::Answer => {
            if let Some(asked) = ipc::take_asked(kernel, thread) {
                ipc::withdraw(kernel, thread.slot, asked);
            }
        }
        Wait::Serve(service) => {
            if let Some(service) = thread.process.service(kernel, *service) {
                ipc::remove_server(kernel, &service, thread.slot);
            }
        }
        Wait::Queue(queue) => queue.clear_waiter(kernel),
        Wait::Window(_, Some(queue)) => {
            queue.clear_waiter(kernel);
            edit_waiters(kernel, &wait, |list, links| list.remove(links, thread.slot));
        }
        _ => edit_waiters(kernel, &wait, |list, links| list.remove(links, thread.slot)),
    }
    wake(kernel, thread, result);
}

/// Makes a thread ready that has been taken off what it waited on.
fn wake(kernel: &mut Kernel, thread: &Thread, result: Result<u64, Error>) {
    unblock(kernel, thread);
    thread.set_result(kernel, result);
    make_ready(kernel, thread);
}

/// Ends the wait of a thread that has been taken off what it waited on. Its result, and making it
/// ready, is the caller's.
#[inline]
pub fn unblock(kernel: &mut Kernel, thread: &Thread) {
    if thread.state.get(kernel).timed {
        forget_deadline(kernel, thread);
    }
    thread.process.count(Counter::WakeUps, 1);
    core().count_here(Counter::WakeUps, 1);
}

/// Wakes at most `most` threads of a process that wait on a word; returns how many.
pub fn wake_futex(kernel: &mut Kernel, process: u64, address: u64, most: u32) -> u32 {
    let mut list = List::new();
    let Scheduler { waits, links, .. } = &mut kernel.sched;
    let count = waits.wake_with(links, (process, address), most, |links, slot| {
        list.push_back(links, slot);
    });
    while let Some(slot) = list.pop_front(&mut kernel.sched.links) {
        let thread = kernel.sched.thread(slot);
        wake(kernel, &thread, Ok(0));
    }
    count
}

/// Wakes the one who has waited longest for an object. Whether there was one.
pub fn wake_first(kernel: &mut Kernel, wait: &Wait, result: Result<u64, Error>) -> bool {
    let mut first = None;
    edit_waiters(kernel, wait, |list, links| first = list.pop_front(links));
    let Some(slot) = first else {
        return false;
    };
    wake_slot(kernel, slot, result);
    true
}

/// Tells a waiter that has been taken off its list: a thread, or a request of a queue.
fn wake_slot(kernel: &mut Kernel, slot: u16, result: Result<u64, Error>) {
    if slot >= requests::FIRST {
        return ipc::end::complete_wait(kernel, slot, result);
    }
    let thread = kernel.sched.thread(slot);
    wake(kernel, &thread, result);
}

/// Wakes everybody on a list of waiters.
pub(super) fn wake_all(kernel: &mut Kernel, mut list: List, status: ExitStatus) {
    while let Some(slot) = list.pop_front(&mut kernel.sched.links) {
        wake_slot(kernel, slot, Ok(status.to_raw()));
    }
}

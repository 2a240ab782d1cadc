//! Who runs where.
//!
//! Each core has a queue of ready threads by priority. The kernel is an event kernel: a thread
//! that is not running is nothing but its saved context, and the scheduler runs on the core's own
//! stack. So whatever a handler holds must be let go before it comes here: [`schedule`] never
//! returns. See `docs/scheduling.md`.

mod choose;
mod hand_over;
mod idle;
mod switch;
mod wait;
pub mod work;

use alloc::{sync::Arc, vec::Vec};
use spillway_abi::{
    Error, ExitStatus,
    limits::{MAX_CORES, MAX_THREADS},
};
use spillway_kernel_core::{
    deadlines::Deadlines,
    queue::{Links, List, RunQueue},
    slots::Slots,
    waits::WaitTable,
};

pub use hand_over::{can_hand_over, hand_over, put, waits_for};
pub use idle::set_poll as set_idle_poll;
pub use switch::{
    account_calls, can_switch_to, reschedule_after_call, reschedule_after_trap, resume_after_call,
    schedule, set_timer, switch_to,
};
pub use wait::{
    edit_waiters, has_passed, remove_deadline, set_deadline, set_deadline_ns, set_time_out,
    unblock, wait, wait_listed, wake_first, wake_futex,
};
use wait::{end_wait, wake_all};

use crate::{
    arch::{core, entry, of},
    ipc::{Asked, direct::Handed, requests::WAITERS},
    kernel::Kernel,
    object::{
        Process, Thread,
        thread::{Phase, THREAD_COST, ThreadState, Wait},
    },
    platform::{apic, vectors},
    time_page,
};
use work::{Teardown, Work};

/// What the kernel lock protects of scheduling.
#[derive(Debug)]
pub struct Scheduler {
    /// Run queues and waits: a thread, or a request, is in at most one of them.
    links: Links,
    /// The threads of each process.
    siblings: Links,
    slots: Slots,
    threads: Vec<Option<Arc<Thread>>>,
    waits: WaitTable,
    cores: [Queue; MAX_CORES],
    /// A bit per core that takes part.
    online: u64,
    /// A bit per core that sleeps or is about to.
    idle: u64,
    /// Processes that nobody can reach and that never had a thread.
    orphans: Option<Arc<Process>>,
}

/// One core's threads.
#[derive(Debug)]
struct Queue {
    run: RunQueue,
    deadlines: Deadlines,
    /// The priority of the running thread; `None` in the scheduler.
    running: Option<u8>,
}

impl Scheduler {
    /// Without room for threads, for the static.
    pub const fn empty() -> Self {
        Self {
            links: Links::empty(),
            siblings: Links::empty(),
            slots: Slots::empty(),
            threads: Vec::new(),
            waits: WaitTable::empty(),
            cores: [const {
                Queue {
                    run: RunQueue::new(),
                    deadlines: Deadlines::empty(),
                    running: None,
                }
            }; MAX_CORES],
            online: 0,
            idle: 0,
            orphans: None,
        }
    }

    /// Makes room for all threads that there can be. Once, at boot.
    pub fn init(&mut self) -> Result<(), Error> {
        self.links = Links::new(WAITERS)?;
        self.siblings = Links::new(MAX_THREADS)?;
        self.slots = Slots::new(MAX_THREADS as u16)?;
        self.waits = WaitTable::new(MAX_THREADS)?;
        self.threads = Vec::new();
        self.threads
            .try_reserve_exact(MAX_THREADS)
            .map_err(|_| Error::OutOfMemory)?;
        self.threads.resize(MAX_THREADS, None);
        Ok(())
    }

    /// Lets a core take part.
    pub fn add_core(&mut self, index: usize) -> Result<(), Error> {
        self.cores[index].deadlines = Deadlines::new(WAITERS)?;
        self.online |= 1 << index;
        Ok(())
    }

    /// A bit per core that takes part.
    pub fn online(&self) -> u64 {
        self.online
    }

    /// The thread in a slot that is in use.
    fn thread(&self, slot: u16) -> Arc<Thread> {
        self.threads[slot as usize]
            .clone()
            .expect("a queued slot has a thread")
    }

    /// The sibling behind a thread in its process's list.
    pub fn next_sibling(&self, list: &List, slot: u16) -> Option<u16> {
        list.next(&self.siblings, slot)
    }

    /// The waiter behind another on a list.
    pub fn next_in(&self, list: &List, slot: u16) -> Option<u16> {
        list.next(&self.links, slot)
    }

    /// The neighbours on lists of waiters.
    pub fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    /// The thread in a slot, if there is one.
    #[inline]
    pub fn find(&self, slot: u16) -> Option<Arc<Thread>> {
        self.threads.get(usize::from(slot))?.clone()
    }

    /// The thread in a slot, if there is one, to be looked at.
    #[inline]
    pub fn peek(&self, slot: u16) -> Option<&Thread> {
        self.threads.get(usize::from(slot))?.as_deref()
    }

    /// The threads from a slot on.
    pub fn threads_from(&self, slot: u16) -> impl Iterator<Item = (u16, &Arc<Thread>)> {
        let rest = self.threads.iter().zip(0u16..).skip(slot.into());
        rest.filter_map(|(thread, slot)| Some((slot, thread.as_ref()?)))
    }
}

/// The state of the thread in a slot, if there is one.
#[inline(always)]
pub fn state_at(kernel: &mut Kernel, slot: u16) -> Option<&mut ThreadState> {
    let thread: *const Thread = kernel.sched.peek(slot)?;
    // SAFETY: the table keeps the thread, and stays as it is while the result borrows the kernel.
    Some(unsafe { &*thread }.state.get_mut(kernel))
}

/// Enters a new thread, made by `make` from its slot. [`make_ready`] or [`withdraw`] comes next.
///
/// [`Error::LimitReached`] if the process or the system has as many as it may.
pub fn admit(
    kernel: &mut Kernel,
    process: &Arc<Process>,
    make: impl FnOnce(&mut Kernel, u16) -> Thread,
) -> Result<Arc<Thread>, Error> {
    process.check_alive()?;
    if process.state.get(kernel).thread_count >= process.limits.threads {
        return Err(Error::LimitReached);
    }
    process.account.charge(THREAD_COST)?;
    let Some(slot) = kernel.sched.slots.allocate() else {
        process.account.release(THREAD_COST);
        return Err(Error::LimitReached);
    };
    let thread = Arc::new(make(kernel, slot));
    kernel.sched.threads[slot as usize] = Some(thread.clone());
    // The list is put back after the detour: it and the links are both behind the lock.
    let mut list = core::mem::take(&mut process.state.get_mut(kernel).threads);
    list.push_back(&mut kernel.sched.siblings, slot);
    let state = process.state.get_mut(kernel);
    state.threads = list;
    state.thread_count += 1;
    Ok(thread)
}

/// Takes back a thread that was admitted and never made ready.
pub fn withdraw(kernel: &mut Kernel, thread: &Arc<Thread>) {
    forget(kernel, thread, ExitStatus::Exited(0));
}

/// Changes a thread's own priority, wherever it is. If it runs at that of a thread that it serves, it
/// goes on so.
pub fn set_priority(kernel: &mut Kernel, thread: &Thread, priority: u8) {
    let state = thread.state.get_mut(kernel);
    let before = core::mem::replace(&mut state.own_priority, priority);
    if state.priority == before {
        use_priority(kernel, thread, priority);
    }
}

/// Lets a thread run at its own priority again, if it ran at that of one that it served.
pub fn restore_priority(kernel: &mut Kernel, thread: &Thread) {
    let state = thread.state.get(kernel);
    if state.priority != state.own_priority {
        let own = state.own_priority;
        use_priority(kernel, thread, own);
    }
}

/// Asks a thread to stop, or takes that back. Its waits end with `Interrupted`, but for that of an
/// answer to a request that named registered memory.
pub fn set_stop(kernel: &mut Kernel, thread: &Arc<Thread>, stop: bool) {
    let state = thread.state.get_mut(kernel);
    state.stop = stop;
    state.hasty = stop || thread.process.is_ending();
    let can_end = match &state.phase {
        Phase::Waiting(Wait::Answer) => {
            let is_held = |asked: &Asked| !asked.is_waiting() && asked.is_registered();
            let is_direct = |handed: &Handed| handed.what.registration() != 0;
            !state.asked.as_ref().is_some_and(is_held)
                && !state.handed.as_ref().is_some_and(is_direct)
        }
        Phase::Waiting(Wait::Futex(_)) => !state.deaf,
        Phase::Waiting(Wait::Time) => false,
        Phase::Waiting(_) => true,
        _ => false,
    };
    if stop && can_end {
        end_wait(kernel, thread, Err(Error::Interrupted));
    }
}

/// Changes the priority at which a thread runs, wherever it is.
pub fn use_priority(kernel: &mut Kernel, thread: &Thread, priority: u8) {
    let state = thread.state.get_mut(kernel);
    let (home, before) = (
        state.home,
        core::mem::replace(&mut state.priority, priority),
    );
    match state.phase {
        Phase::Ready => {
            let Scheduler { links, cores, .. } = &mut kernel.sched;
            cores[home].run.remove(links, thread.slot, before);
            time_page::set_runnable(home, cores[home].run.len());
            make_ready(kernel, thread);
        }
        Phase::Running => {
            kernel.sched.cores[home].running = Some(priority);
            look_again(home);
        }
        Phase::Working | Phase::Waiting(_) | Phase::Ended(_) => {}
    }
}

/// Changes the cores on which a thread may run; it leaves the one it is on if it must.
pub fn set_affinity(kernel: &mut Kernel, thread: &Thread, affinity: u64) {
    let state = thread.state.get_mut(kernel);
    state.affinity = affinity;
    let (home, priority) = (state.home, state.priority);
    match state.phase {
        Phase::Ready => {
            let Scheduler { links, cores, .. } = &mut kernel.sched;
            cores[home].run.remove(links, thread.slot, priority);
            time_page::set_runnable(home, cores[home].run.len());
            make_ready(kernel, thread);
        }
        Phase::Running => look_again(home),
        Phase::Working | Phase::Waiting(_) | Phase::Ended(_) => {}
    }
}

/// Makes a core think again about which thread it runs.
fn look_again(index: usize) {
    if index == core().index.get() {
        core().set_reschedule(true);
    } else {
        send_reschedule(index);
    }
}

/// Puts a thread, which is on no list, into a run queue.
pub fn make_ready(kernel: &mut Kernel, thread: &Thread) {
    let index = choose::core_for(kernel, thread);
    enqueue(kernel, thread, index, false);
    choose::notify(kernel, index, thread.state.get(kernel).priority);
}

/// Puts a thread into a core's queue: behind those of its priority, or before them.
fn enqueue(kernel: &mut Kernel, thread: &Thread, index: usize, front: bool) {
    let state = thread.state.get_mut(kernel);
    state.phase = Phase::Ready;
    state.home = index;
    let priority = state.priority;
    let Scheduler { links, cores, .. } = &mut kernel.sched;
    let queue = &mut cores[index].run;
    if front {
        queue.push_front(links, thread.slot, priority);
    } else {
        queue.push(links, thread.slot, priority);
    }
    time_page::set_runnable(index, queue.len());
}

/// Queues a thread that leaves this core for a moment: here, or elsewhere if it may not come back.
fn requeue(kernel: &mut Kernel, thread: &Thread, front: bool) {
    let index = core().index.get();
    if thread.state.get(kernel).affinity & 1 << index != 0 {
        enqueue(kernel, thread, index, front);
    } else {
        make_ready(kernel, thread);
    }
}

/// Makes a thread come into the scheduler, wherever it is, so that it notices that its process
/// is ending.
pub fn interrupt_thread(kernel: &mut Kernel, slot: u16) {
    let thread = kernel.sched.thread(slot);
    let state = thread.state.get_mut(kernel);
    state.hasty = true;
    match state.phase {
        Phase::Waiting(_) => end_wait(kernel, &thread, Err(Error::Interrupted)),
        Phase::Running => look_again(state.home),
        Phase::Ready | Phase::Working | Phase::Ended(_) => {}
    }
}

fn send_reschedule(index: usize) {
    let apic_id = of(index)
        .apic_id
        .load(core::sync::atomic::Ordering::Relaxed);
    apic::send(apic_id, vectors::RESCHEDULE);
}

/// Ends a thread that is not in any list. The last one of a process stays to take it apart.
pub fn end_thread(kernel: &mut Kernel, thread: &Arc<Thread>, status: ExitStatus) {
    let process = &thread.process;
    let is_last = process.state.get(kernel).thread_count == 1;
    if is_last {
        process.begin_end(kernel, status);
        let state = thread.state.get_mut(kernel);
        state.work = Some(Work::Teardown(Teardown::own(process.clone())));
        let home = state.home;
        enqueue(kernel, thread, home, false);
    } else {
        forget(kernel, thread, status);
    }
}

/// Takes a thread out of the tables and tells whoever waits for its end.
fn forget(kernel: &mut Kernel, thread: &Arc<Thread>, status: ExitStatus) {
    let process = &thread.process;
    let state = thread.state.get_mut(kernel);
    state.phase = Phase::Ended(status);
    let waiters = core::mem::take(&mut state.waiters);
    wake_all(kernel, waiters, status);
    let mut list = core::mem::take(&mut process.state.get_mut(kernel).threads);
    list.remove(&mut kernel.sched.siblings, thread.slot);
    let state = process.state.get_mut(kernel);
    state.threads = list;
    state.thread_count -= 1;
    kernel.sched.threads[thread.slot as usize] = None;
    kernel.sched.slots.free(thread.slot);
}

/// The status with which a thread ended, if it has.
pub fn thread_status(kernel: &Kernel, thread: &Thread) -> Option<ExitStatus> {
    match thread.state.get(kernel).phase {
        Phase::Ended(status) => Some(status),
        _ => None,
    }
}

/// Lets the running thread go behind the others of its priority, if there are any. Whether it
/// must go to the scheduler.
pub fn yield_now(kernel: &mut Kernel, thread: &Thread) -> bool {
    let index = core().index.get();
    let priority = thread.state.get(kernel).priority;
    if !kernel.sched.cores[index].run.has_at(priority) {
        return false;
    }
    entry::leave_by_call();
    thread.set_result(kernel, Ok(0));
    requeue(kernel, thread, false);
    true
}

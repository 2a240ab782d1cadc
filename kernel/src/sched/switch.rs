//! From one thread to the next.

use core::ops::DerefMut;

use alloc::sync::Arc;

use spillway_abi::{Error, ExitStatus, counters::Counter, limits::TIME_SLICE};
use spillway_kernel_core::slice::{self, Decision};
use spin::Once;

use super::{Scheduler, choose, end_thread, end_wait, enqueue, idle, work};
use crate::{
    arch::{Core, core, cpu, entry, halt},
    ipc::{self, requests},
    kernel::{self, Guard, Kernel},
    object::{Process, Thread, thread::Phase},
    platform::{apic, clock},
    time_page,
};

/// Finds the next thread for this core and goes on with its program.
///
/// The thread that ran, if any, must have been put where it belongs (a queue, a wait, the end).
pub fn schedule(mut guard: Guard) -> ! {
    let core = core();
    core.set_reschedule(false);
    if let Some(before) = core.take_current() {
        account_calls(core, &before);
    }
    let me = core.index.get();
    guard.sched.cores[me].running = None;
    loop {
        expire(&mut guard);
        let Some(slot) = next(&mut guard, me) else {
            set_timer(&mut guard);
            guard = idle::wait_for_interrupt(guard);
            continue;
        };
        let thread = guard.sched.thread(slot);
        let state = thread.state.get_mut(&mut guard);
        state.home = me;
        let must_finish = state
            .work
            .as_ref()
            .is_some_and(|work| work.must_finish(&thread));
        if thread.process.is_ending() && !must_finish {
            // All that it had is back before it counts as ended: who waits for the process then
            // finds nothing missing.
            if let Some(mut unfinished) = state.work.take() {
                state.phase = Phase::Working;
                unfinished.abandon(&mut guard, &thread);
                lock_api::MutexGuard::unlocked(&mut guard, || drop(unfinished));
            }
            let status = thread.process.state.get(&guard).status;
            end_thread(&mut guard, &thread, status.unwrap_or(ExitStatus::Killed(0)));
            continue;
        }
        if state.work.is_some() {
            state.phase = Phase::Working;
            guard = work::go_on(guard, thread);
            // A long operation must not keep this core's interrupts waiting.
            lock_api::MutexGuard::unlocked(&mut guard, halt::interrupt_window);
            continue;
        }
        run(guard, thread);
    }
}

/// The most important ready thread, of this core or else of another.
fn next(kernel: &mut Kernel, me: usize) -> Option<u16> {
    let Scheduler { links, cores, .. } = &mut kernel.sched;
    let queue = &mut cores[me].run;
    if let Some((slot, _)) = queue.pop_highest(links) {
        time_page::set_runnable(me, queue.len());
        return Some(slot);
    }
    choose::steal(kernel, me)
}

/// Whether this core can go straight to a thread, which is on no list: it may run here, has
/// nothing else to do first, and nobody more important is ready.
#[inline]
pub fn can_switch_to(kernel: &Kernel, thread: &Thread) -> bool {
    let core = core();
    let state = thread.state.get(kernel);
    !core.must_reschedule()
        && state.affinity & core.bit.get() != 0
        && state.work.is_none()
        && !kernel.sched.cores[core.index()]
            .run
            .has_above(state.priority)
        && !thread.process.is_ending()
}

/// Goes straight from the running thread, which is in a system call and has been put where it belongs,
/// to another, which goes on with the rest of the time slice.
#[inline]
pub fn switch_to(mut guard: Guard, thread: Arc<Thread>) -> ! {
    let core = core();
    let kernel = &mut *guard;
    let state = thread.state.get_mut(kernel);
    state.home = core.index();
    state.phase = Phase::Running;
    kernel.sched.cores[core.index()].running = Some(state.priority);
    load(core, &thread.process, thread.fs_base);
    let context = thread.context_pointer();
    // SAFETY: system calls are made by threads.
    let before = unsafe { core.exchange_current(thread) };
    account_calls(core, &before);
    drop(before);
    drop(guard);
    // SAFETY: as in `resume`.
    unsafe { entry::resume(context) }
}

/// Goes on with a thread's program, for a time slice.
fn run(mut guard: Guard, thread: Arc<Thread>) -> ! {
    let state = thread.state.get_mut(&mut guard);
    let slice = match core::mem::take(&mut state.slice_left) {
        0 => slice_ticks(),
        left => left,
    };
    core().slice_end.set(clock::now_tsc() + slice);
    resume(guard, thread)
}

/// Goes on with a thread's program.
fn resume(mut guard: Guard, thread: Arc<Thread>) -> ! {
    let core = core();
    let kernel = guard.deref_mut();
    let state = thread.state.get_mut(kernel);
    state.phase = Phase::Running;
    let priority = state.priority;
    kernel.sched.cores[core.index.get()].running = Some(priority);
    load(core, &thread.process, thread.fs_base);
    let context = thread.context_pointer();
    core.set_current(thread);
    core.set_reschedule(false);
    set_timer(kernel);
    drop(guard);
    // SAFETY: the thread is this core's running one, was in no other core's hands since it was
    // taken out of a queue under the lock, and its address space is loaded.
    unsafe { entry::resume(context) }
}

/// Lets the processor see what a thread of a process sees, but for its registers.
#[inline(always)]
pub(super) fn load(core: &Core, process: &Process, fs_base: u64) {
    if process.space.enter(core) {
        process.count(Counter::AddressSpaceSwitches, 1);
    }
    // A program can change its `fs` by loading a segment, so what it left does not count.
    cpu::set_fs_base(fs_base);
    if cpu::flushes_branches() {
        cpu::flush_branch_predictor();
    }
    core.count_here(Counter::ThreadSwitches, 1);
    process.count(Counter::ThreadSwitches, 1);
}

/// Ticks in a time slice; converted once.
fn slice_ticks() -> u64 {
    static TICKS: Once<u64> = Once::new();
    *TICKS.call_once(|| clock::ticks(TIME_SLICE))
}

/// Sets the clock for what this core must not miss. Never later than it is set already: an
/// interrupt that comes too early only looks again.
pub fn set_timer(kernel: &mut Kernel) {
    let core = core();
    let queue = &kernel.sched.cores[core.index.get()];
    let has_equal = queue
        .running
        .is_some_and(|running| queue.run.has_at(running));
    let wanted = slice::next_tick(has_equal, core.slice_end.get(), queue.deadlines.next());
    if let Some(when) = wanted
        && when < core.timer_at.get()
    {
        core.timer_at.set(when);
        apic::set_timer(when);
    }
}

/// Ends the waits whose deadline has come.
fn expire(kernel: &mut Kernel) {
    let me = core().index.get();
    if kernel.sched.cores[me].deadlines.is_empty() {
        return;
    }
    let now = clock::now_tsc();
    while let Some(slot) = kernel.sched.cores[me].deadlines.pop_due(now) {
        if slot >= requests::FIRST {
            ipc::end::expired(kernel, slot);
            continue;
        }
        let thread = kernel.sched.thread(slot);
        end_wait(kernel, &thread, Err(Error::TimedOut));
    }
}

/// The running thread was interrupted and may have to make room. Returns if it may go on.
pub fn reschedule_after_trap() {
    if let Some(guard) = make_room() {
        schedule(guard);
    }
}

/// The same at the end of a system call, whose result has been kept in the context.
pub extern "C" fn reschedule_after_call() -> ! {
    if let Some(guard) = make_room() {
        schedule(guard);
    }
    let context = core().with_current(|thread| thread.context_pointer());
    // SAFETY: the running thread's own context, with its address space still loaded.
    unsafe { entry::resume(context) }
}

/// The running thread, which is in a system call, goes on with what stands in its saved state.
pub fn resume_after_call() -> ! {
    if core().must_reschedule() {
        reschedule_after_call();
    }
    let context = core().with_current(|thread| thread.context_pointer());
    // SAFETY: the running thread's own context, with its address space still loaded.
    unsafe { entry::resume(context) }
}

/// Puts the running thread back into a queue if another must run; then the guard is for
/// [`schedule`].
fn make_room() -> Option<Guard> {
    let core = core();
    core.set_reschedule(false);
    let mut guard = kernel::lock();
    expire(&mut guard);
    let leaves = core.with_current(|thread| {
        let index = core.index.get();
        let priority = thread.state.get(&guard).priority;
        let highest = guard.sched.cores[index].run.highest();
        let (now, slice_end) = (clock::now_tsc(), core.slice_end.get());
        let may_stay = thread.state.get(&guard).affinity & 1 << index != 0;
        if thread.process.is_ending() {
            enqueue(&mut guard, thread, index, true);
        } else if !may_stay {
            super::make_ready(&mut guard, thread);
        } else if highest > Some(priority) && choose::has_idle(&guard, thread) {
            // It need not wait for the higher one: another core is free.
            super::make_ready(&mut guard, thread);
        } else {
            match slice::decide(priority, highest, slice_end, now) {
                Decision::Preempt if now < slice_end => {
                    thread.state.get_mut(&mut guard).slice_left = slice_end - now;
                    enqueue(&mut guard, thread, index, true);
                }
                Decision::Preempt | Decision::Rotate => {
                    enqueue(&mut guard, thread, index, false);
                }
                Decision::Continue => {
                    set_timer(&mut guard);
                    return false;
                }
            }
        }
        true
    });
    core.set_reschedule(false);
    leaves.then_some(guard)
}

/// Counts the system calls since the last switch for the process that made them.
#[inline]
pub fn account_calls(core: &Core, thread: &Thread) {
    let now = core.system_calls();
    let since = now - core.system_calls_counted.replace(now);
    thread.process.count(Counter::SystemCalls, since);
}

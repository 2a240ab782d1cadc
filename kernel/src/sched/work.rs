//! Long operations, in steps.
//!
//! The kernel is not preemptible, so nothing may take long. An operation whose size a program
//! chooses is a [`Work`]: the system call does the first step at once, and most operations are
//! done then. If not, the rest is left in the thread, which is queued like any other; when its
//! turn comes the scheduler does the next step instead of going on with the program. Interrupts
//! are let in between steps.

mod create;
mod map;
mod pin;
mod reset;
mod revoke;
mod teardown;

use alloc::sync::Arc;

pub use create::CreateMemory;
pub use map::{MapPages, UnmapPages};
pub use pin::{PinPages, UnpinPages};
pub use reset::ResetFunction;
pub use revoke::Revoke;
use spillway_abi::{Error, ExitStatus, counters::Counter};
pub use teardown::{Teardown, close, take_orphan};

use super::{can_switch_to, forget, make_ready, requeue, wait::sleep};
use crate::{
    arch::{core, entry},
    ipc::{Call, CopyOut, batch::Enter, end::EndService},
    kernel::{Guard, Kernel},
    object::{Process, Thread, thread::Wait},
    syscall::Outcome,
};

/// A long operation.
#[derive(Debug)]
pub enum Work {
    /// Makes a Memory.
    Create(CreateMemory),
    /// Maps pages.
    Map(MapPages),
    /// Unmaps them.
    Unmap(UnmapPages),
    /// Takes a process apart.
    Teardown(Teardown),
    /// Lets a function reach memory.
    Pin(PinPages),
    /// Takes memory from a function.
    Unpin(UnpinPages),
    /// Puts a function into its initial state.
    Reset(ResetFunction),
    /// Takes a function from its owner.
    Revoke(Revoke),
    /// Brings data to a server and asks it.
    Call(Call),
    /// Takes the data of an answer.
    CopyOut(CopyOut),
    /// Takes entries of a queue.
    Enter(Enter),
    /// Lets those who asked a service know that it has ended.
    EndService(EndService),
}

/// What a step came to.
#[derive(Debug)]
pub enum Progress {
    /// The operation is over.
    Done(Result<u64, Error>),
    /// There is more to do.
    More(Work),
    /// There is more to do, but not before this time, in nanoseconds.
    Sleep(Work, u64),
    /// There is more to do when something has happened, or at this time, in nanoseconds.
    Wait(Work, Wait, u64),
    /// The operation is over for now: the thread has been put where it waits for the result. This
    /// thread, which is on no list, is to run.
    Asked(Option<Arc<Thread>>),
}

impl Work {
    /// Whether it must be finished although the thread's process is ending, because it left
    /// something of another process, or of a device, half changed.
    pub fn must_finish(&self, thread: &Thread) -> bool {
        let is_other = |process: &Arc<Process>| !Arc::ptr_eq(process, &thread.process);
        match self {
            Self::Create(_) | Self::Reset(_) => false,
            Self::Call(_) | Self::CopyOut(_) => false,
            Self::Enter(work) => work.must_finish(thread),
            Self::EndService(work) => is_other(work.server()),
            Self::Map(work) => is_other(work.process()),
            Self::Unmap(work) => is_other(work.process()),
            // The teardown takes the owner's functions back from the beginning, and all pins.
            Self::Pin(_) | Self::Unpin(_) | Self::Revoke(_) => false,
            Self::Teardown(_) => true,
        }
    }

    /// Whether the thread's own memory is touched.
    fn needs_space(&self) -> bool {
        matches!(self, Self::Call(_) | Self::CopyOut(_) | Self::Enter(_))
    }

    /// Gives back what it holds: nobody goes on with it.
    pub fn abandon(&mut self, kernel: &mut Kernel, thread: &Thread) {
        match self {
            Self::Call(work) => work.abandon(kernel, thread),
            Self::CopyOut(work) => work.abandon(kernel),
            Self::Enter(work) => work.abandon(kernel, thread),
            _ => {}
        }
    }

    /// Does a bounded part. May let go of the lock and take it again.
    pub fn step(self, guard: &mut Guard, thread: &Arc<Thread>) -> Progress {
        match self {
            Self::Create(work) => work.step(guard, thread),
            Self::Map(work) => work.step(guard),
            Self::Unmap(work) => work.step(guard),
            Self::Teardown(work) => work.step(guard),
            Self::Pin(work) => work.step(guard, thread),
            Self::Unpin(work) => work.step(guard),
            Self::Reset(work) => work.step(guard),
            Self::Revoke(work) => work.step(guard),
            Self::Call(work) => work.step(guard, thread),
            Self::CopyOut(work) => Progress::Done(work.run(guard)),
            Self::Enter(work) => work.step(guard, thread),
            Self::EndService(work) => work.step(guard),
        }
    }
}

/// Begins an operation in a system call.
pub fn begin(mut guard: Guard, thread: &Arc<Thread>, work: Work) -> Outcome {
    match work.step(&mut guard, thread) {
        Progress::Done(result) => Outcome::Done(result),
        Progress::More(rest) => {
            entry::leave_by_call();
            thread.state.get_mut(&mut guard).work = Some(rest);
            requeue(&mut guard, thread, false);
            Outcome::Switch(guard)
        }
        Progress::Sleep(rest, until) => {
            entry::leave_by_call();
            thread.state.get_mut(&mut guard).work = Some(rest);
            sleep(&mut guard, thread, Wait::Time, until);
            Outcome::Switch(guard)
        }
        Progress::Wait(rest, wait, until) => {
            entry::leave_by_call();
            wait_for(&mut guard, thread, rest, wait, until);
            Outcome::Switch(guard)
        }
        Progress::Asked(next) => {
            entry::leave_by_call();
            match next {
                Some(next) if can_switch_to(&guard, &next) => {
                    return Outcome::SwitchTo(guard, next);
                }
                Some(next) => make_ready(&mut guard, &next),
                None => {}
            }
            Outcome::Switch(guard)
        }
    }
}

/// Lets a thread wait in the middle of an operation. If its process is ending it does not: nobody
/// would wake it any more, and the scheduler ends it.
fn wait_for(kernel: &mut Kernel, thread: &Thread, rest: Work, wait: Wait, until: u64) {
    thread.state.get_mut(kernel).work = Some(rest);
    if thread.process.is_ending() {
        requeue(kernel, thread, true);
    } else {
        sleep(kernel, thread, wait, until);
    }
}

/// Does the next step for a thread that the scheduler took out of a queue.
pub fn go_on(mut guard: Guard, thread: Arc<Thread>) -> Guard {
    let Some(work) = thread.state.get_mut(&mut guard).work.take() else {
        return guard;
    };
    let ends_thread = matches!(&work, Work::Teardown(teardown) if teardown.is_own());
    let progress = if work.needs_space() {
        in_its_space(&mut guard, &thread, work)
    } else {
        work.step(&mut guard, &thread)
    };
    match progress {
        Progress::More(rest) => {
            thread.state.get_mut(&mut guard).work = Some(rest);
            requeue(&mut guard, &thread, false);
        }
        Progress::Sleep(rest, until) => {
            thread.state.get_mut(&mut guard).work = Some(rest);
            sleep(&mut guard, &thread, Wait::Time, until);
        }
        Progress::Wait(rest, wait, until) => wait_for(&mut guard, &thread, rest, wait, until),
        Progress::Asked(next) => {
            if let Some(next) = next {
                make_ready(&mut guard, &next);
            }
        }
        Progress::Done(_) if ends_thread => {
            let process = thread.process.clone();
            let status = process.state.get(&guard).status;
            forget(&mut guard, &thread, status.unwrap_or(ExitStatus::Killed(0)));
            // The thread's memory is back before anybody is told.
            drop(thread);
            teardown::announce(&mut guard, &process);
        }
        Progress::Done(result) => {
            thread.set_result(&mut guard, result);
            requeue(&mut guard, &thread, true);
        }
    }
    guard
}

/// Does a step that touches the thread's own memory.
fn in_its_space(guard: &mut Guard, thread: &Arc<Thread>, work: Work) -> Progress {
    if thread.process.space.enter(core()) {
        thread.process.count(Counter::AddressSpaceSwitches, 1);
    }
    core().set_current(thread.clone());
    let progress = work.step(guard, thread);
    drop(core().take_current());
    progress
}

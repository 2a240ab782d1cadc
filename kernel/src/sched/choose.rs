//! On which core a thread goes on.

use super::{Scheduler, send_reschedule, switch};
use crate::{
    arch::{core, shootdown::bits},
    kernel::Kernel,
    object::Thread,
};

/// The core for a thread that becomes ready: the one where it ran last if that is free or runs
/// something less important, else one that sleeps, else again the one where it ran last.
pub fn core_for(kernel: &Kernel, thread: &Thread) -> usize {
    let state = thread.state.get(kernel);
    let Scheduler {
        online,
        idle,
        cores,
        ..
    } = &kernel.sched;
    let allowed = state.affinity & online;
    let home = match allowed & 1 << state.home {
        0 => allowed.trailing_zeros() as usize,
        _ => state.home,
    };
    let home_queue = &cores[home];
    let takes_it = home_queue
        .running
        .is_none_or(|running| running < state.priority)
        && home_queue
            .run
            .highest()
            .is_none_or(|highest| highest < state.priority);
    if takes_it {
        return home;
    }
    match allowed & idle {
        0 => home,
        sleeping => sleeping.trailing_zeros() as usize,
    }
}

/// Whether a core on which the thread may run sleeps.
pub fn has_idle(kernel: &Kernel, thread: &Thread) -> bool {
    thread.state.get(kernel).affinity & kernel.sched.idle != 0
}

/// Tells a core that a thread of this priority is in its queue.
pub fn notify(kernel: &mut Kernel, index: usize, priority: u8) {
    let queue = &kernel.sched.cores[index];
    let matters = queue.running.is_none_or(|running| running <= priority);
    if index == core().index.get() {
        match queue.running {
            Some(running) if running < priority => core().set_reschedule(true),
            // Only the clock may have to be set, for the end of the slice.
            Some(running) if running == priority => switch::set_timer(kernel),
            _ => {}
        }
    } else if matters {
        // It is taken: the next thread goes to another.
        kernel.sched.idle &= !(1 << index);
        send_reschedule(index);
    }
}

/// The most important ready thread of the other cores that may run on this one, taken out of its
/// queue.
pub fn steal(kernel: &mut Kernel, me: usize) -> Option<u16> {
    let mut best: Option<(usize, u16, u8)> = None;
    for index in bits(kernel.sched.online & !(1 << me)) {
        let Scheduler {
            links,
            cores,
            threads,
            ..
        } = &kernel.sched;
        let found = cores[index].run.find(links, |slot| {
            let thread = threads[slot as usize].as_ref();
            thread.is_some_and(|thread| thread.state.get(kernel).affinity & 1 << me != 0)
        });
        if let Some((slot, priority)) = found
            && best.is_none_or(|(_, _, highest)| highest < priority)
        {
            best = Some((index, slot, priority));
        }
    }
    let (index, slot, priority) = best?;
    let Scheduler { links, cores, .. } = &mut kernel.sched;
    cores[index].run.remove(links, slot, priority);
    crate::time_page::set_runnable(index, cores[index].run.len());
    Some(slot)
}

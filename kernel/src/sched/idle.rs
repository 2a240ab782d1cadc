//! A core without work.

use core::sync::atomic::{AtomicBool, Ordering};

use spillway_abi::counters::Counter;

use crate::{
    arch::{core, halt},
    kernel::{self, Guard},
};

/// Set by `idle=poll`: spin instead of sleeping, so that the time-stamp counter does not jump
/// where it counts instructions.
static POLL: AtomicBool = AtomicBool::new(false);

/// Chooses between sleeping and spinning.
pub fn set_poll(poll: bool) {
    POLL.store(poll, Ordering::Relaxed);
}

/// Waits, without the lock, until an interrupt has been handled; returns with the lock.
pub fn wait_for_interrupt(mut guard: Guard) -> Guard {
    let core = core();
    let bit = 1 << core.index.get();
    guard.sched.idle |= bit;
    drop(guard);
    core.count_here(Counter::Idles, 1);
    if POLL.load(Ordering::Relaxed) {
        halt::interrupt_window();
        core::hint::spin_loop();
    } else {
        halt::sleep();
    }
    let mut guard = kernel::lock();
    guard.sched.idle &= !bit;
    guard
}

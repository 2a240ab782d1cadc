//! How a side that sleeps is woken: once, and never too late.
//!
//! Each side has a flag on its own line that says "I sleep until you have done something". To
//! sleep, a side raises its flag, **looks again**, and sleeps only if there is still nothing to do.
//! The other side publishes its index, and **then** looks at the flag; if it is up, it takes it
//! down and sends a wake-up.
//!
//! ```text
//!   the one that goes to sleep            the one that publishes
//!     1  flag = 1                           a  index = …
//!     2  fence                              b  fence
//!     3  nothing new in index? sleep        c  flag up? take it down, send a wake-up
//! ```
//!
//! # The race
//!
//! Without the fences both may miss each other: the processor holds the store of 1 and of a back,
//! lets 3 and c read the old values, and the sleeper sleeps beside an entry that nobody will
//! wake it for. This is the one reordering that x86 has. With both fences, one comes first in their
//! single order. If it is 2, then c sees the flag, and a wake-up is sent. If it is b, then 3 sees
//! the index, and nobody sleeps. Both may happen: the sleeper that finds something takes its flag
//! down itself, and who gets a 1 back from the swap decides whether a wake-up is on its way.
//!
//! # What a hostile side can do
//!
//! It can keep its flag up, and then each `must_wake` says yes: a wake-up per batch, which was the
//! price of a sleeper anyway. It can take our flag down and send nothing, which is the same as
//! never publishing anything: a deadline, or the news that the process has died, ends that sleep.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU32, Ordering, fence};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering, fence};

/// Raises the flag. What is read afterwards is not older than what a side published that did
/// not see the flag.
#[inline]
pub(crate) fn raise(flag: &AtomicU32) {
    flag.store(1, Ordering::Relaxed);
    fence(Ordering::SeqCst);
}

/// Takes the own flag down. Whether the other side was first, so that a wake-up was sent or is
/// about to be.
#[inline]
pub(crate) fn lower(flag: &AtomicU32) -> bool {
    flag.swap(0, Ordering::Relaxed) == 0
}

/// Takes the flag of the other side down, after something was published for it. Whether it was
/// up, so that the caller has to send a wake-up.
#[inline]
pub(crate) fn take(flag: &AtomicU32) -> bool {
    fence(Ordering::SeqCst);
    flag.load(Ordering::Relaxed) != 0 && flag.swap(0, Ordering::Relaxed) != 0
}

//! How cores ask each other to forget translations.
//!
//! Each core has a [`Mailbox`]. A core that took a page away writes the page table, takes a ticket
//! at the mailbox of every core that may have the translation, and sends the interrupt. Whoever
//! owns the mailbox flushes and publishes the highest ticket that it had seen *before* it flushed.
//! One flush answers every request that came before it, whoever sent it. No lock is involved, so
//! a core answers while it waits for the kernel lock, or for the answer to a request of its own:
//! two cores that ask each other cannot deadlock, as long as every loop that waits also answers.
//!
//! # Orderings
//!
//! What must hold: when a requester sees its ticket done, the flush happened after the requester's
//! write to the page table.
//!
//! 1. The write comes before `requested.fetch_add` in the requester, which is a Release.
//! 2. `answer` loads `requested` with Acquire. If it reads this ticket or a later one, it reads from
//!    the release sequence that this `fetch_add` is part of (there are only read-modify-writes
//!    after it), so the write happens before the flush.
//! 3. `done.store` is a Release after the flush, `is_done` an Acquire: what the flush did, happened
//!    before the requester reuses the frame.
//!
//! On x86 the `lock xadd` of the request is also a full barrier, so the processor's page walker
//! sees the write, too. Tickets are 64 bits and never wrap.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU64, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};

/// The requests to one core. Has a cache line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Mailbox {
    /// The last ticket that was handed out.
    requested: AtomicU64,
    /// The last ticket that was answered; written by the owner only.
    done: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Mailbox>() == 64);

impl Default for Mailbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Mailbox {
    /// A mailbox without requests.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self {
            requested: AtomicU64::new(0),
            done: AtomicU64::new(0),
        }
    }

    /// A mailbox without requests.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self {
            requested: AtomicU64::new(0),
            done: AtomicU64::new(0),
        }
    }

    /// Asks the owner to flush; any core may. The page table must have been written before. The
    /// ticket is for [`is_done`](Self::is_done) of the same mailbox.
    #[inline]
    #[must_use]
    pub fn request(&self) -> u64 {
        self.requested.fetch_add(1, Ordering::Release) + 1
    }

    /// Whether the owner has flushed since the request with this ticket. Whoever waits for it must
    /// answer its own mailbox meanwhile.
    #[inline]
    pub fn is_done(&self, ticket: u64) -> bool {
        self.done.load(Ordering::Acquire) >= ticket
    }

    /// Whether somebody waits for the owner to flush. For the owner; costs two loads.
    #[inline]
    pub fn is_pending(&self) -> bool {
        self.requested.load(Ordering::Relaxed) != self.done.load(Ordering::Relaxed)
    }

    /// Flushes, if somebody asked for it. Only the core that owns the mailbox may call this, and not
    /// from within `flush`. A request that comes during the flush is left for the next call.
    #[inline]
    pub fn answer(&self, flush: impl FnOnce()) {
        let requested = self.requested.load(Ordering::Acquire);
        if requested != self.done.load(Ordering::Relaxed) {
            flush();
            self.done.store(requested, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests;

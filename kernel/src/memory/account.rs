//! Who pays for memory.

use core::sync::atomic::{AtomicU64, Ordering};

use spillway_abi::Error;

impl PartialEq for Account {
    /// Accounts are the same if they are one.
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self, other)
    }
}

/// What a process has of memory and may have, in bytes. Outlives the process while somebody else
/// holds memory that is charged to it.
#[derive(Debug)]
pub struct Account {
    used: AtomicU64,
    limit: u64,
}

impl Account {
    /// An account with nothing charged.
    pub const fn new(limit: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            limit,
        }
    }

    /// Charges bytes. [`Error::LimitReached`], and nothing charged, if that would be too much.
    pub fn charge(&self, bytes: u64) -> Result<(), Error> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|&sum| sum <= self.limit)
            })
            .map(|_| ())
            .map_err(|_| Error::LimitReached)
    }

    /// Takes over a charge from somebody who let go, whatever the limit says: the process can
    /// have no more until it lets go, too.
    pub fn take_over(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives back what was charged.
    pub fn release(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes);
    }

    /// Bytes charged.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that can be charged at most.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

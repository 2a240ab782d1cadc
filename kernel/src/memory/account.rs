//! Who pays for memory and processes.
//!
//! Accounts are a tree like the processes: what is charged to one is charged to all above it, so
//! no process gets more than its creator had by making others, and what moves within a family
//! changes nothing above it.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use spillway_abi::{
    Error, PAGE_SIZE,
    limits::{Limits, MAX_PROCESS_DEPTH},
};

/// What a process and its descendants have, and may have. Outlives the process while somebody else
/// holds memory that is charged to it.
#[derive(Debug)]
pub struct Account {
    /// Bytes of memory.
    used: AtomicU64,
    limit: u64,
    /// Those of them that are page tables, which are given back all at once.
    tables: AtomicU64,
    /// Descendants that are not wholly gone.
    processes: AtomicU32,
    process_limit: u32,
    /// Requests that queues, and timers, can have under way.
    requests: AtomicU32,
    request_limit: u32,
    parent: Option<Arc<Account>>,
    depth: u32,
}

impl PartialEq for Account {
    /// Accounts are the same if they are one.
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self, other)
    }
}

impl Account {
    /// An account with nothing charged. [`Error::LimitReached`] if it would be too far down.
    pub fn new(limits: &Limits, parent: Option<Arc<Account>>) -> Result<Self, Error> {
        let depth = parent.as_ref().map_or(0, |parent| parent.depth + 1);
        if depth > MAX_PROCESS_DEPTH {
            return Err(Error::LimitReached);
        }
        Ok(Self {
            used: AtomicU64::new(0),
            limit: limits.memory,
            tables: AtomicU64::new(0),
            processes: AtomicU32::new(0),
            process_limit: limits.processes,
            requests: AtomicU32::new(0),
            request_limit: limits.requests,
            parent,
            depth,
        })
    }

    /// This account and all above it.
    fn line(&self) -> impl Iterator<Item = &Self> {
        core::iter::successors(Some(self), |account| account.parent.as_deref())
    }

    /// Charges bytes. [`Error::LimitReached`], and nothing charged, if that would be too much here
    /// or anywhere above.
    pub fn charge(&self, bytes: u64) -> Result<(), Error> {
        for (above, account) in self.line().enumerate() {
            let room = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= account.limit);
            if account
                .used
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
                .is_err()
            {
                self.line()
                    .take(above)
                    .for_each(|account| account.subtract(bytes));
                return Err(Error::LimitReached);
            }
        }
        Ok(())
    }

    /// Charges a page table.
    pub fn charge_table(&self) -> Result<(), Error> {
        self.charge(PAGE_SIZE)?;
        self.tables.fetch_add(PAGE_SIZE, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back all page tables.
    pub fn release_tables(&self) {
        self.release(self.tables.swap(0, Ordering::Relaxed));
    }

    /// Takes over a charge from somebody who let go, whatever the limit says: the process can
    /// have no more until it lets go, too.
    pub fn take_over(&self, bytes: u64) {
        self.line().for_each(|account| {
            account.used.fetch_add(bytes, Ordering::Relaxed);
        });
    }

    /// Gives back what was charged.
    pub fn release(&self, bytes: u64) {
        self.line().for_each(|account| account.subtract(bytes));
    }

    fn subtract(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes);
    }

    /// Charges a new child. [`Error::LimitReached`], and nothing charged, as for memory.
    pub fn add_process(&self) -> Result<(), Error> {
        for (above, account) in self.line().enumerate() {
            let room = |count: u32| (count < account.process_limit).then(|| count + 1);
            if account
                .processes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
                .is_err()
            {
                self.line().take(above).for_each(Self::subtract_process);
                return Err(Error::LimitReached);
            }
        }
        Ok(())
    }

    /// Charges places for requests. [`Error::LimitReached`], and nothing charged, as for memory.
    pub fn add_requests(&self, more: u32) -> Result<(), Error> {
        for (above, account) in self.line().enumerate() {
            let room = |count: u32| {
                let sum = count.checked_add(more);
                sum.filter(|&sum| sum <= account.request_limit)
            };
            if account
                .requests
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
                .is_err()
            {
                self.line().take(above).for_each(|account| {
                    account.requests.fetch_sub(more, Ordering::Relaxed);
                });
                return Err(Error::LimitReached);
            }
        }
        Ok(())
    }

    /// Gives places for requests back.
    pub fn remove_requests(&self, count: u32) {
        self.line().for_each(|account| {
            account.requests.fetch_sub(count, Ordering::Relaxed);
        });
    }

    /// A child is wholly gone.
    pub fn remove_process(&self) {
        self.line().for_each(Self::subtract_process);
    }

    fn subtract_process(&self) {
        self.processes.fetch_sub(1, Ordering::Relaxed);
    }

    /// Bytes charged.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that can be charged at most.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Descendants that are not wholly gone.
    pub fn processes(&self) -> u32 {
        self.processes.load(Ordering::Relaxed)
    }
}

impl Drop for Account {
    /// What was left charged when the last who knew it went, as after a failure, is nobody's.
    fn drop(&mut self) {
        if let Some(parent) = &self.parent {
            parent.release(*self.used.get_mut());
        }
    }
}

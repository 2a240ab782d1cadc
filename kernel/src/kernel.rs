//! What the kernel lock protects.

use lock_api::MutexGuard;

use crate::{
    ipc::requests::Requests,
    object::interrupt::Vectors,
    sched::Scheduler,
    sync::{RawSpin, Spin},
};

/// Everything that needs the kernel lock and lies in no object. There is exactly one; a borrow of
/// it is the proof of holding the lock ([`crate::sync::Locked`]).
#[derive(Debug)]
pub struct Kernel {
    /// Who runs, who is ready, who waits.
    pub sched: Scheduler,
    /// Which vectors of which core belong to devices.
    pub interrupts: Vectors,
    /// What waits without a thread.
    pub requests: Requests,
    /// For thread and process numbers that are never used twice.
    next_id: u64,
}

static KERNEL: Spin<Kernel> = Spin::new(Kernel {
    sched: Scheduler::empty(),
    interrupts: Vectors::new(),
    requests: Requests::empty(),
    next_id: 1,
});

/// The kernel lock, held.
pub type Guard = MutexGuard<'static, RawSpin, Kernel>;

/// Takes the kernel lock.
#[inline]
pub fn lock() -> Guard {
    KERNEL.lock()
}

impl Kernel {
    /// A number that no thread or process has had.
    pub fn new_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

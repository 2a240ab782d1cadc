//! Mutex, condition variable, semaphore and one-time cell on the kernel's futex. The algorithms
//! are in `spillway-sync`, where every interleaving of them is tested.

mod condvar;
mod mutex;
mod once;
mod semaphore;

pub use condvar::Condvar;
pub use mutex::{Mutex, MutexGuard, RawMutex};
pub use once::OnceLock;
pub use semaphore::Semaphore;

use core::sync::atomic::{AtomicU32, Ordering};

use spillway_abi::Error;
use spillway_sync::{Waited, Word};

use crate::{syscall, time::Deadline};

/// An atomic word with the kernel's futex behind it.
#[derive(Debug)]
struct Futex(AtomicU32);

impl Futex {
    const fn new(value: u32) -> Self {
        Self(AtomicU32::new(value))
    }
}

impl Word for Futex {
    type Deadline = Deadline;

    #[inline]
    fn load(&self, order: Ordering) -> u32 {
        self.0.load(order)
    }

    #[inline]
    fn swap(&self, value: u32, order: Ordering) -> u32 {
        self.0.swap(value, order)
    }

    #[inline]
    fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.0.fetch_add(value, order)
    }

    #[inline]
    fn exchange(&self, current: u32, new: u32) -> bool {
        self.0
            .compare_exchange(current, new, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    fn wait(&self, expected: u32, deadline: Deadline) -> Waited {
        match syscall::futex_wait(self.0.as_ptr(), expected, deadline.raw()) {
            Err(Error::TimedOut) => Waited::TimedOut,
            _ => Waited::LookAgain,
        }
    }

    fn wake(&self, count: u32) {
        // The word is mapped and aligned, so nothing can be refused.
        let _ = syscall::futex_wake(self.0.as_ptr(), count);
    }
}

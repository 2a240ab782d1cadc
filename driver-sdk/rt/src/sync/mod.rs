//! Mutex, condition variable, semaphore, one-time cell and channel on the kernel's futex. The
//! algorithms are in `spillway-sync`, where every interleaving of them is tested.
//!
//! A request to stop ([`crate::thread::JoinHandle::ask_to_stop`]) ends a wait only where the result
//! can say so: [`Condvar::wait_or_stop`] and the [`channel`]. Whoever waits for a lock gets it.

mod channel;
mod condvar;
mod mutex;
mod once;
mod semaphore;

pub use channel::{ChannelError, Receiver, SendError, Sender, channel};
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

/// How long a thread waits, and whether a request to stop ends that.
#[derive(Clone, Copy, Debug)]
struct Patience {
    deadline: Deadline,
    stoppable: bool,
}

impl From<Deadline> for Patience {
    /// A request to stop does not end the wait.
    fn from(deadline: Deadline) -> Self {
        Self {
            deadline,
            stoppable: false,
        }
    }
}

impl Word for Futex {
    type Deadline = Patience;

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

    fn wait(&self, expected: u32, patience: Patience) -> Waited {
        let deadline = patience.deadline.raw();
        let waited = if patience.stoppable {
            syscall::futex_wait(self.0.as_ptr(), expected, deadline)
        } else {
            syscall::futex_wait_regardless(self.0.as_ptr(), expected, deadline)
        };
        match waited {
            Err(Error::TimedOut) => Waited::TimedOut,
            Err(Error::Interrupted) => Waited::Interrupted,
            _ => Waited::LookAgain,
        }
    }

    fn wake(&self, count: u32) {
        // The word is mapped and aligned, so nothing can be refused.
        let _ = syscall::futex_wake(self.0.as_ptr(), count);
    }
}

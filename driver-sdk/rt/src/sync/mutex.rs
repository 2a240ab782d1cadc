//! The mutex, in the form that `lock_api` knows.

use core::time::Duration;

use spillway_sync::mutex;

use super::Futex;
use crate::time::{Deadline, Instant};

/// A lock in one word. Who waits for it sleeps. It is not fair, and not for recursion.
#[derive(Debug)]
pub struct RawMutex(Futex);

// SAFETY: the algorithm lets one thread at a time in; `spillway-sync` tests it.
unsafe impl lock_api::RawMutex for RawMutex {
    const INIT: Self = Self(Futex::new(mutex::FREE));

    type GuardMarker = lock_api::GuardSend;

    #[inline]
    fn lock(&self) {
        mutex::lock(&self.0, Deadline::NEVER.into());
    }

    #[inline]
    fn try_lock(&self) -> bool {
        mutex::try_lock(&self.0)
    }

    #[inline]
    unsafe fn unlock(&self) {
        mutex::unlock(&self.0);
    }

    fn is_locked(&self) -> bool {
        mutex::is_locked(&self.0)
    }
}

// SAFETY: as above; a time-out does not take the lock.
unsafe impl lock_api::RawMutexTimed for RawMutex {
    type Duration = Duration;
    type Instant = Instant;

    fn try_lock_for(&self, timeout: Duration) -> bool {
        mutex::lock(&self.0, Deadline::after(timeout).into())
    }

    fn try_lock_until(&self, timeout: Instant) -> bool {
        mutex::lock(&self.0, Deadline::at(timeout).into())
    }
}

/// Data that one thread at a time may touch.
pub type Mutex<T> = lock_api::Mutex<RawMutex, T>;
/// The proof that this thread holds the [`Mutex`].
pub type MutexGuard<'a, T> = lock_api::MutexGuard<'a, RawMutex, T>;

//! The condition variable.

use lock_api::RawMutex as _;
use spillway_abi::Error;
use spillway_sync::{Waited, condvar};

use super::{Futex, MutexGuard, Patience};
use crate::time::Deadline;

/// Lets threads wait for a condition on data under a [`super::Mutex`].
#[derive(Debug)]
pub struct Condvar(Futex);

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl Condvar {
    /// One that nobody waits for.
    pub const fn new() -> Self {
        Self(Futex::new(0))
    }

    /// Lets go of the mutex, waits for a notification, and takes the mutex again. May return
    /// without a notification: look at the condition in a loop, or use [`Self::wait_while`].
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        self.wait_until(guard, Deadline::NEVER);
    }

    /// The same with a deadline; returns whether it came before a notification.
    pub fn wait_until<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, deadline: Deadline) -> bool {
        self.sleep(guard, deadline.into()) == Waited::TimedOut
    }

    /// The same, but a request to stop ends the wait, too. With the mutex taken again in any case.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Interrupted`].
    pub fn wait_or_stop<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let patience = Patience {
            deadline,
            stoppable: true,
        };
        match self.sleep(guard, patience) {
            Waited::LookAgain => Ok(()),
            Waited::TimedOut => Err(Error::TimedOut),
            Waited::Interrupted => Err(Error::Interrupted),
        }
    }

    fn sleep<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, patience: Patience) -> Waited {
        // SAFETY: the guard is borrowed mutably, so nobody uses the data between the two calls.
        let mutex = unsafe { MutexGuard::mutex(guard).raw() };
        let unlock = || {
            // SAFETY: the guard proves that this thread holds the lock, and it holds it again
            // before the guard can be used.
            unsafe { mutex.unlock() };
        };
        condvar::wait(&self.0, patience, unlock, || mutex.lock())
    }

    /// Waits while the condition says so.
    pub fn wait_while<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) {
        while condition(guard) {
            self.wait(guard);
        }
    }

    /// Wakes one thread that waits, if there is one.
    pub fn notify_one(&self) {
        condvar::notify(&self.0, 1);
    }

    /// Wakes all threads that wait.
    pub fn notify_all(&self) {
        condvar::notify(&self.0, u32::MAX);
    }
}

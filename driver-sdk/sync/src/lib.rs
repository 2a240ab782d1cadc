//! Mutex, condition variable and semaphore as pure algorithms on a [`Word`]: an atomic number on
//! which threads can sleep. The run time brings the real word; the tests bring a modelled one and
//! try every interleaving.
//!
//! Two things are never relied on: that a sleeper is woken only for a reason (every wait is in a
//! loop or documented to return early), and that a wake finds a sleeper.
#![no_std]
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

/// An atomic 32-bit number with a futex: a queue of threads that sleep while it has some value.
pub trait Word {
    /// When to give up waiting.
    type Deadline: Copy;

    /// Reads it.
    fn load(&self, order: Ordering) -> u32;
    /// Replaces it; returns what it was.
    fn swap(&self, value: u32, order: Ordering) -> u32;
    /// Adds with wrap-around; returns what it was.
    fn fetch_add(&self, value: u32, order: Ordering) -> u32;
    /// Replaces `current` by `new`; returns whether it did. Acquires if it did.
    fn exchange(&self, current: u32, new: u32) -> bool;
    /// Sleeps while the value is `expected`, until woken or the deadline comes; may return early.
    /// The comparison and the going to sleep are one step for [`Self::wake`].
    fn wait(&self, expected: u32, deadline: Self::Deadline) -> Waited;
    /// Wakes at most `count` sleepers.
    fn wake(&self, count: u32);
}

/// Why [`Word::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Woken, or the value was another one: look again.
    LookAgain,
    /// The deadline came.
    TimedOut,
    /// The thread was asked to stop. Only a wait that says it may end so does.
    Interrupted,
}

/// A mutual exclusion lock in one word: free, held, or held with sleepers.
///
/// The third state saves the system call of an unlock that nobody waits for. A thread that has
/// slept takes the lock in the third state, because it cannot know whether others still sleep.
pub mod mutex {
    use super::{Ordering, Waited, Word};

    /// The value of a new lock.
    pub const FREE: u32 = 0;
    const HELD: u32 = 1;
    const CONTENDED: u32 = 2;

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(word: &impl Word) -> bool {
        word.exchange(FREE, HELD)
    }

    /// Takes the lock, waiting for it; returns whether it did before the deadline.
    #[inline]
    pub fn lock<W: Word>(word: &W, deadline: W::Deadline) -> bool {
        try_lock(word) || lock_contended(word, deadline)
    }

    #[cold]
    fn lock_contended<W: Word>(word: &W, deadline: W::Deadline) -> bool {
        while word.swap(CONTENDED, Ordering::Acquire) != FREE {
            // After a time-out the state stays contended: the next unlock wakes nobody, no harm.
            if word.wait(CONTENDED, deadline) != Waited::LookAgain {
                return false;
            }
        }
        true
    }

    /// Gives the lock back. Only who holds it may do that.
    #[inline]
    pub fn unlock(word: &impl Word) {
        if word.swap(FREE, Ordering::Release) == CONTENDED {
            word.wake(1);
        }
    }

    /// Whether somebody holds it at this moment.
    pub fn is_locked(word: &impl Word) -> bool {
        word.load(Ordering::Relaxed) != FREE
    }
}

/// A condition variable: the word counts notifications, so that one between the unlock and the
/// going to sleep is seen as a changed value.
pub mod condvar {
    use super::{Ordering, Waited, Word};

    /// Unlocks, sleeps until notified or the deadline comes, and locks again. May return early:
    /// the caller looks at its condition in a loop.
    pub fn wait<W: Word>(
        word: &W,
        deadline: W::Deadline,
        unlock: impl FnOnce(),
        lock: impl FnOnce(),
    ) -> Waited {
        // Read under the lock: a notification that follows a change of the condition comes later.
        let seen = word.load(Ordering::Relaxed);
        unlock();
        let waited = word.wait(seen, deadline);
        lock();
        waited
    }

    /// Wakes at most `count` threads that wait now.
    pub fn notify(word: &impl Word, count: u32) {
        word.fetch_add(1, Ordering::Relaxed);
        word.wake(count);
    }
}

/// A counting semaphore: the word is the number of permits.
pub mod semaphore {
    use super::{Ordering, Waited, Word};

    /// Takes a permit if there is one.
    pub fn try_acquire(word: &impl Word) -> bool {
        let mut permits = word.load(Ordering::Relaxed);
        while permits > 0 {
            if word.exchange(permits, permits - 1) {
                return true;
            }
            permits = word.load(Ordering::Relaxed);
        }
        false
    }

    /// Takes a permit, waiting for one; returns whether it did before the deadline.
    pub fn acquire<W: Word>(word: &W, deadline: W::Deadline) -> bool {
        loop {
            if try_acquire(word) {
                return true;
            }
            if word.wait(0, deadline) != Waited::LookAgain {
                return try_acquire(word);
            }
        }
    }

    /// Adds permits. The total must stay below 2³².
    pub fn release(word: &impl Word, permits: u32) {
        word.fetch_add(permits, Ordering::Release);
        word.wake(permits);
    }
}

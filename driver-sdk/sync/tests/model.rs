//! Every interleaving of a few threads on a modelled futex.
//!
//! The model: a futex is a list of sleepers under a lock, and the comparison happens under that
//! lock. A deadline is either never or already past, which is all that an interleaving can tell.
#![allow(missing_docs, reason = "a test has no readers of its interface")]

use std::sync::atomic::Ordering;

use loom::{
    cell::UnsafeCell,
    sync::{Arc, Condvar, Mutex, atomic::AtomicU32},
    thread,
};
use spillway_sync::{Waited, Word, condvar, mutex, semaphore};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Deadline {
    Never,
    Past,
}

#[derive(Default)]
struct Sleepers {
    asleep: u32,
    woken: u32,
}

struct Model {
    value: AtomicU32,
    sleepers: Mutex<Sleepers>,
    wake_up: Condvar,
}

impl Model {
    fn new(value: u32) -> Self {
        Self {
            value: AtomicU32::new(value),
            sleepers: Mutex::new(Sleepers::default()),
            wake_up: Condvar::new(),
        }
    }
}

impl Word for Model {
    type Deadline = Deadline;

    fn load(&self, order: Ordering) -> u32 {
        self.value.load(order)
    }

    fn swap(&self, value: u32, order: Ordering) -> u32 {
        self.value.swap(value, order)
    }

    fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.value.fetch_add(value, order)
    }

    fn exchange(&self, current: u32, new: u32) -> bool {
        self.value
            .compare_exchange(current, new, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    fn wait(&self, expected: u32, deadline: Deadline) -> Waited {
        let mut sleepers = self.sleepers.lock().unwrap();
        if self.value.load(Ordering::SeqCst) != expected {
            return Waited::LookAgain;
        }
        if deadline == Deadline::Past {
            return Waited::TimedOut;
        }
        sleepers.asleep += 1;
        while sleepers.woken == 0 {
            sleepers = self.wake_up.wait(sleepers).unwrap();
        }
        sleepers.woken -= 1;
        Waited::LookAgain
    }

    fn wake(&self, count: u32) {
        let mut sleepers = self.sleepers.lock().unwrap();
        let count = count.min(sleepers.asleep);
        sleepers.asleep -= count;
        sleepers.woken += count;
        self.wake_up.notify_all();
    }
}

struct Guarded {
    lock: Model,
    data: UnsafeCell<u32>,
}

// SAFETY: `data` is only touched under `lock`, which is what the model checks.
unsafe impl Sync for Guarded {}
// SAFETY: as above.
unsafe impl Send for Guarded {}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            lock: Model::new(mutex::FREE),
            data: UnsafeCell::new(0),
        })
    }

    fn increment(&self) {
        // SAFETY: the callers hold the lock; loom reports it if two are here at once.
        self.data.with_mut(|data| unsafe { *data += 1 });
    }
}

#[test]
fn a_mutex_excludes_and_nobody_sleeps_for_ever() {
    loom::model(|| {
        let shared = Guarded::new();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    assert!(mutex::lock(&shared.lock, Deadline::Never));
                    shared.increment();
                    mutex::unlock(&shared.lock);
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert!(mutex::try_lock(&shared.lock));
        // SAFETY: the lock is held.
        shared.data.with(|data| assert_eq!(unsafe { *data }, 2));
    });
}

#[test]
fn a_time_out_neither_takes_nor_breaks_the_mutex() {
    loom::model(|| {
        let shared = Guarded::new();
        let other = shared.clone();
        let thread = thread::spawn(move || {
            if mutex::lock(&other.lock, Deadline::Past) {
                other.increment();
                mutex::unlock(&other.lock);
            }
        });
        assert!(mutex::lock(&shared.lock, Deadline::Never));
        shared.increment();
        mutex::unlock(&shared.lock);
        thread.join().unwrap();
        assert!(!mutex::is_locked(&shared.lock));
    });
}

#[test]
fn a_notification_is_not_lost() {
    loom::model(|| {
        let shared = Guarded::new();
        let condition = Arc::new(Model::new(0));
        let (their_shared, their_condition) = (shared.clone(), condition.clone());
        let thread = thread::spawn(move || {
            mutex::lock(&their_shared.lock, Deadline::Never);
            their_shared.increment();
            mutex::unlock(&their_shared.lock);
            condvar::notify(&*their_condition, 1);
        });
        mutex::lock(&shared.lock, Deadline::Never);
        // SAFETY: the lock is held.
        while shared.data.with(|data| unsafe { *data }) == 0 {
            condvar::wait(
                &*condition,
                Deadline::Never,
                || mutex::unlock(&shared.lock),
                || assert!(mutex::lock(&shared.lock, Deadline::Never)),
            );
        }
        mutex::unlock(&shared.lock);
        thread.join().unwrap();
    });
}

#[test]
fn a_semaphore_hands_out_each_permit_once() {
    loom::model(|| {
        let permits = Arc::new(Model::new(1));
        let theirs = permits.clone();
        let thread = thread::spawn(move || {
            assert!(semaphore::acquire(&*theirs, Deadline::Never));
            semaphore::release(&*theirs, 1);
        });
        assert!(semaphore::acquire(&*permits, Deadline::Never));
        semaphore::release(&*permits, 1);
        thread.join().unwrap();
        assert!(semaphore::try_acquire(&*permits));
        assert!(!semaphore::acquire(&*permits, Deadline::Past));
    });
}

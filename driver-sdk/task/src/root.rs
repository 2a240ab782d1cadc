//! How the executor learns that a task can go on, also while it sleeps.

use alloc::{sync::Arc, task::Wake};
use core::sync::atomic::{AtomicBool, Ordering};

/// What the wakers of all tasks lead to.
pub struct Root<A> {
    /// Some task can go on.
    ready: AtomicBool,
    /// The executor is about to wait in its queue.
    sleeps: AtomicBool,
    alarm: A,
}

impl<A> Root<A> {
    pub fn new(alarm: A) -> Arc<Self> {
        Arc::new(Self {
            ready: AtomicBool::new(true),
            sleeps: AtomicBool::new(false),
            alarm,
        })
    }
}

/// The executor's side.
pub trait Ready {
    /// Whether some task can go on; asks anew from here.
    fn take(&self) -> bool;
    /// Whether the executor may wait: then whoever wakes a task rings the alarm.
    fn may_sleep(&self) -> bool;
    /// The wait is over.
    fn awake(&self);
}

impl<A: Fn() + Send + Sync + 'static> Ready for Root<A> {
    fn take(&self) -> bool {
        self.ready.swap(false, Ordering::Acquire)
    }

    fn may_sleep(&self) -> bool {
        self.sleeps.store(true, Ordering::SeqCst);
        // Either this sees what a waker wrote, or the waker sees that the executor sleeps.
        let may = !self.ready.load(Ordering::SeqCst);
        if !may {
            self.awake();
        }
        may
    }

    fn awake(&self) {
        self.sleeps.store(false, Ordering::Relaxed);
    }
}

impl<A: Fn() + Send + Sync + 'static> Wake for Root<A> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.store(true, Ordering::SeqCst);
        if self.sleeps.swap(false, Ordering::SeqCst) {
            (self.alarm)();
        }
    }
}

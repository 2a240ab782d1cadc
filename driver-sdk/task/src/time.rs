//! Waiting for a moment.

use alloc::{collections::BTreeMap, rc::Rc};
use core::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::{Queue, inner::Inner};

/// Who waits for a moment, the earliest first.
#[derive(Default)]
pub struct Timers {
    waiting: BTreeMap<(u64, u64), Waker>,
    next: u64,
}

impl Timers {
    /// When the earliest comes; `u64::MAX` if none does.
    pub fn earliest(&self) -> u64 {
        self.waiting
            .first_key_value()
            .map_or(u64::MAX, |((moment, _), _)| *moment)
    }

    /// Wakes all whose moment has come.
    pub fn fire(&mut self, now: u64) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                return;
            }
            entry.remove().wake();
        }
    }
}

/// Ends when its moment has come. From [`crate::Handle::sleep_until`].
#[must_use = "a future does nothing until it is awaited"]
pub struct Sleep<Q: Queue> {
    inner: Rc<Inner<Q>>,
    moment: u64,
    /// Its number among the timers, once it is there.
    number: Option<u64>,
}

impl<Q: Queue> Sleep<Q> {
    pub(crate) const fn new(inner: Rc<Inner<Q>>, moment: u64) -> Self {
        Self {
            inner,
            moment,
            number: None,
        }
    }
}

impl<Q: Queue> Future for Sleep<Q> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let inner = self.inner.clone();
        if inner.queue.borrow().now() >= self.moment {
            return Poll::Ready(());
        }
        let mut timers = inner.timers.borrow_mut();
        let number = *self.number.get_or_insert_with(|| {
            timers.next += 1;
            timers.next
        });
        let waker = context.waker().clone();
        timers.waiting.insert((self.moment, number), waker);
        Poll::Pending
    }
}

impl<Q: Queue> Drop for Sleep<Q> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let mut timers = self.inner.timers.borrow_mut();
            timers.waiting.remove(&(self.moment, number));
        }
    }
}

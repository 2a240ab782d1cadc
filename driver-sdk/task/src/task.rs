//! A future of its own, and the right to its result.

use alloc::{boxed::Box, rc::Rc};
use core::{
    cell::RefCell,
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// A future that the executor owns.
pub(crate) type Spawned = Pin<Box<dyn Future<Output = ()>>>;

/// The result of a task that was spawned, as a future. Dropping it lets the task run on.
#[derive(Debug)]
pub struct Task<T>(Rc<RefCell<Outcome<T>>>);

#[derive(Debug)]
struct Outcome<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// The two ends of a task.
pub(crate) fn split<T: 'static>(future: impl Future<Output = T> + 'static) -> (Spawned, Task<T>) {
    let outcome = Rc::new(RefCell::new(Outcome {
        value: None,
        waker: None,
    }));
    let theirs = outcome.clone();
    let spawned = Box::pin(async move {
        let value = future.await;
        let mut outcome = theirs.borrow_mut();
        outcome.value = Some(value);
        let waker = outcome.waker.take();
        drop(outcome);
        if let Some(waker) = waker {
            waker.wake();
        }
    });
    (spawned, Task(outcome))
}

impl<T> Task<T> {
    /// Whether it has ended, and the result was not taken.
    pub fn is_finished(&self) -> bool {
        self.0.borrow().value.is_some()
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut outcome = self.0.borrow_mut();
        match outcome.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                outcome.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

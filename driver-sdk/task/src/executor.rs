//! The executor and the handles to it.

use alloc::{rc::Rc, sync::Arc};
use core::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll, Waker},
};

use futures_util::{
    StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};

use crate::{
    Operation, Queue, Rejected, Sleep, Task,
    inner::{Inner, wake_all},
    root::{Ready, Root},
    task::{self, Spawned},
};

/// Nanoseconds for which an executor that is dropped waits for what is under way.
pub const DEFAULT_PATIENCE: u64 = 1_000_000_000;

/// How often tasks run before what they submitted is handed over, although some can still go on.
const ROUNDS: u32 = 64;

/// Runs tasks on one thread, and waits for them in a queue.
pub struct Executor<Q: Queue> {
    inner: Rc<Inner<Q>>,
    tasks: FuturesUnordered<Spawned>,
    ready: Arc<dyn Ready>,
    waker: Waker,
    patience: u64,
}

impl<Q: Queue> Executor<Q> {
    /// Without tasks.
    pub fn new(queue: Q) -> Self {
        let root = Root::new(queue.alarm());
        Self {
            inner: Inner::new(queue),
            tasks: FuturesUnordered::new(),
            waker: root.clone().into(),
            ready: root,
            patience: DEFAULT_PATIENCE,
        }
    }

    /// Nanoseconds for which it waits, when it is dropped, for what is under way.
    pub const fn set_patience(&mut self, nanoseconds: u64) {
        self.patience = nanoseconds;
    }

    /// A handle, for tasks to submit, sleep and spawn.
    pub fn handle(&self) -> Handle<Q> {
        Handle(self.inner.clone())
    }

    /// Runs this future, and meanwhile all tasks, until it has ended. Tasks that have not stay, and
    /// go on with the next call.
    ///
    /// # Errors
    ///
    /// Why the queue cannot go on.
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output, Q::Error> {
        let mut future = pin!(future);
        let waker = self.waker.clone();
        let mut context = Context::from_waker(&waker);
        let mut rounds = 0;
        loop {
            self.ready.take();
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return Ok(value);
            }
            self.run_tasks(&mut context);
            self.inner.deliver()?;
            rounds += 1;
            self.wait(&mut rounds)?;
        }
    }

    /// Polls every task that can go on, and those that they spawn.
    fn run_tasks(&mut self, context: &mut Context<'_>) {
        loop {
            self.tasks.extend(self.inner.spawned.take());
            while let Poll::Ready(Some(())) = self.tasks.poll_next_unpin(context) {}
            if self.inner.spawned.borrow().is_empty() {
                return;
            }
        }
    }

    /// Waits in the queue if nobody can go on. If somebody always can, the queue is entered now and
    /// then all the same.
    fn wait(&self, rounds: &mut u32) -> Result<(), Q::Error> {
        let inner = &self.inner;
        let crowded = !inner.crowd.borrow().is_empty();
        if crowded && inner.moved.take() {
            // What is handed over leaves room, also if it is not done for long.
            inner.queue.borrow_mut().enter(0, 0)?;
            wake_all(&inner.crowd);
        } else if self.ready.may_sleep() {
            let deadline = inner.timers.borrow().earliest();
            let entered = inner.queue.borrow_mut().enter(1, deadline);
            self.ready.awake();
            entered?;
        } else if *rounds >= ROUNDS {
            inner.queue.borrow_mut().enter(0, 0)?;
        } else {
            return Ok(());
        }
        *rounds = 0;
        let now = inner.queue.borrow().now();
        inner.timers.borrow_mut().fire(now);
        inner.deliver()
    }
}

impl<Q: Queue> Drop for Executor<Q> {
    fn drop(&mut self) {
        let inner = &self.inner;
        inner.open.set(false);
        self.tasks.clear();
        inner.spawned.take();
        inner.messages.take();
        let now = inner.queue.borrow().now();
        if inner.drain(now.saturating_add(self.patience)) > 0 {
            inner.slots.borrow_mut().leak();
        }
    }
}

/// A way to the executor for its own tasks. After the executor's end nothing can be submitted.
pub struct Handle<Q: Queue>(Rc<Inner<Q>>);

impl<Q: Queue> Clone for Handle<Q> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Q: Queue> Handle<Q>
where
    Q::Completion: 'static,
{
    /// Submits a request now. Its buffers are kept until its completion.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the buffers, if the queue has no room.
    pub fn start<B: 'static>(
        &self,
        submission: &Q::Submission,
        buffers: B,
    ) -> Result<Operation<Q, B>, Rejected<B>> {
        self.0.start(submission, buffers)
    }

    /// Submits a request as soon as there is room, and waits for its completion.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if the executor is gone.
    pub async fn run<B: 'static>(
        &self,
        submission: &Q::Submission,
        buffers: B,
    ) -> Result<(Q::Completion, B), Rejected<B>> {
        let mut kept = buffers;
        loop {
            match self.0.start(submission, kept) {
                Ok(operation) => return Ok(operation.await),
                Err(Rejected(buffers)) if !self.0.open.get() => return Err(Rejected(buffers)),
                Err(Rejected(buffers)) => kept = buffers,
            }
            self.room().await;
        }
    }

    /// Waits until a request has completed: then there may be room for another.
    async fn room(&self) {
        let mut waited = false;
        poll_fn(|context| {
            if core::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            self.0.crowd.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Runs a future beside the others.
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        let (spawned, task) = task::split(future);
        if self.0.open.get() {
            self.0.spawned.borrow_mut().push(spawned);
        }
        task
    }

    /// Ends at this moment.
    pub fn sleep_until(&self, moment: u64) -> Sleep<Q> {
        Sleep::new(self.0.clone(), moment)
    }

    /// Waits for a future until this moment.
    ///
    /// # Errors
    ///
    /// The future as it is, if the moment came first.
    pub async fn within<F: Future + Unpin>(&self, moment: u64, future: F) -> Result<F::Output, F> {
        match select(future, self.sleep_until(moment)).await {
            Either::Left((value, _)) => Ok(value),
            Either::Right(((), future)) => Err(future),
        }
    }

    /// The next message, in the order in which they came.
    pub async fn message(&self) -> Q::Message {
        poll_fn(|context| {
            if let Some(message) = self.0.messages.borrow_mut().pop_front() {
                return Poll::Ready(message);
            }
            self.0.listeners.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The time.
    pub fn now(&self) -> u64 {
        self.0.queue.borrow().now()
    }

    /// Requests under way.
    pub fn under_way(&self) -> usize {
        self.0.slots.borrow().len()
    }

    /// Uses the queue itself, for what needs no request. The work must not use the executor.
    pub fn with_queue<R>(&self, work: impl FnOnce(&mut Q) -> R) -> R {
        work(&mut self.0.queue.borrow_mut())
    }
}

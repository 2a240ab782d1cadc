//! One request as a future.

use alloc::rc::Rc;
use core::{
    cell::RefCell,
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::{Queue, inner::Inner, slots::Finish};

/// A request that was not taken, because the queue is full or its executor is gone: the buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected<B>(pub B);

impl<B> fmt::Display for Rejected<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue has no room, or its executor is gone")
    }
}

impl<B: fmt::Debug> core::error::Error for Rejected<B> {}

/// A request and its buffers, from the submission to the completion, and longer if its future is.
pub(crate) struct Request<C, B> {
    state: RefCell<State<C, B>>,
}

struct State<C, B> {
    /// Until the future takes them along with the completion.
    buffers: Option<B>,
    completion: Option<C>,
    waker: Option<Waker>,
}

impl<C, B> Request<C, B> {
    pub const fn new(buffers: B) -> Self {
        Self {
            state: RefCell::new(State {
                buffers: Some(buffers),
                completion: None,
                waker: None,
            }),
        }
    }
}

impl<C, B> Finish<C> for Request<C, B> {
    fn finish(&self, completion: C) {
        let mut state = self.state.borrow_mut();
        state.completion = Some(completion);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A request that was submitted. As a future it ends with the completion and the buffers. Dropping
/// it cancels nothing: the buffers are freed when the completion has come.
#[must_use = "without it, nobody learns what came of the request"]
pub struct Operation<Q: Queue, B> {
    inner: Rc<Inner<Q>>,
    request: Rc<Request<Q::Completion, B>>,
    user_data: u64,
}

impl<Q: Queue, B> Operation<Q, B> {
    pub(crate) const fn new(
        inner: Rc<Inner<Q>>,
        request: Rc<Request<Q::Completion, B>>,
        user_data: u64,
    ) -> Self {
        Self {
            inner,
            request,
            user_data,
        }
    }

    /// Asks for the request to be given back soon. It still ends with its completion, which says
    /// whether the request was done or cancelled.
    pub fn cancel(&self) {
        if !self.is_done() {
            self.inner.queue.borrow_mut().cancel(self.user_data);
        }
    }

    /// Whether the completion has come.
    pub fn is_done(&self) -> bool {
        self.request.state.borrow().completion.is_some()
    }
}

impl<Q: Queue, B> Future for Operation<Q, B> {
    type Output = (Q::Completion, B);

    /// # Panics
    ///
    /// If it is polled again after its end.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.request.state.borrow_mut();
        let Some(completion) = state.completion.take() else {
            assert!(state.buffers.is_some(), "polled after its end");
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        match state.buffers.take() {
            Some(buffers) => Poll::Ready((completion, buffers)),
            None => unreachable!("buffers and completion are taken together"),
        }
    }
}

impl<Q: Queue, B> fmt::Debug for Operation<Q, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operation({:#x})", self.user_data)
    }
}

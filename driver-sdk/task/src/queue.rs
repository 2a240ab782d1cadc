//! What the executor needs of a completion queue.

/// There is no room in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What comes out of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Popped<C, M> {
    /// The request of this user data is done.
    Completion(u64, C),
    /// Something that nobody submitted.
    Message(M),
}

/// What a queue has next, if anything.
pub type Next<Q> = Option<Popped<<Q as Queue>::Completion, <Q as Queue>::Message>>;

/// A completion queue. Times are nanoseconds on a clock that never goes back; `u64::MAX` never
/// comes.
///
/// # What the implementer promises
///
/// Each request that [`Self::submit`] took has one completion, once; afterwards nothing touches its
/// buffers. The executor ignores completions with a user data that it did not give; those from
/// [`RESERVED`](Self::RESERVED) on it never gives.
///
/// # What the executor promises
///
/// The buffers of a request stay until its completion was popped, or for good.
pub trait Queue {
    /// A request, without its buffers.
    type Submission;
    /// What comes of a request.
    type Completion;
    /// What comes without a request.
    type Message;
    /// Why the queue cannot go on.
    type Error;

    /// User data that the executor does not use: from here on.
    const RESERVED: u64 = u64::MAX << 32;

    /// Puts in a request, to be handed over by [`Self::enter`].
    ///
    /// # Errors
    ///
    /// [`Full`].
    fn submit(&mut self, user_data: u64, submission: &Self::Submission) -> Result<(), Full>;

    /// Hands over what was put in, and waits until `minimum` completions or messages can be popped,
    /// the deadline has come, or [`Self::alarm`] rang.
    ///
    /// # Errors
    ///
    /// The executor gives up, and its caller gets the error. That the deadline came is none.
    fn enter(&mut self, minimum: u32, deadline: u64) -> Result<(), Self::Error>;

    /// The next thing that has come, without waiting.
    ///
    /// # Errors
    ///
    /// As for [`Self::enter`].
    fn pop(&mut self) -> Result<Next<Self>, Self::Error>
    where
        Self: Sized;

    /// Asks for the request of this user data to be given back soon. It still has its completion.
    fn cancel(&mut self, user_data: u64);

    /// The time.
    fn now(&self) -> u64;

    /// What ends a wait in [`Self::enter`] from another thread.
    fn alarm(&self) -> impl Fn() + Send + Sync + 'static;
}

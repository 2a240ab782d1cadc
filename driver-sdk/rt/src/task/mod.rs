//! Tasks on one thread that wait for requests: an executor whose reactor is the IoQueue.
//!
//! ```ignore
//! let mut executor = Executor::new(32)?;
//! let handle = executor.handle();
//! let table = object::<Remote>("table").ok_or(Error::NotFound)?;
//! let read = executor.block_on(async {
//!     let request = Request::read(&*table, 0, vec![0; 512]);
//!     let operation = handle.start(request)?;
//!     match handle.within(Deadline::after(Duration::from_millis(5)), operation).await {
//!         Ok((completion, buffer)) => Ok((outcome(&completion), buffer)),
//!         Err(late) => {
//!             // The buffer comes back with the completion, cancelled or not; never earlier.
//!             late.cancel();
//!             let (completion, buffer) = late.await;
//!             Ok((outcome(&completion), buffer))
//!         }
//!     }
//! })?;
//! ```
//!
//! What it promises about buffers, cancellation and time is in [`spillway_task`], where it is
//! tested.

mod driver;
mod request;

pub use driver::Driver;
pub use request::{Request, opened, outcome};
pub use spillway_task::{Either, Rejected, Sleep, Task, join, join_all, select};

use core::time::Duration;

use spillway_abi::{Error, queue::Completion, service::Message};

use crate::{
    object::OwnedHandle,
    serve::{Answer, Server},
    time::Deadline,
};

/// A request of an executor, as a future that ends with its completion and its buffers.
pub type Operation<B> = spillway_task::Operation<Driver, B>;

/// Runs tasks on one thread, and waits for them in an IoQueue.
pub struct Executor(spillway_task::Executor<Driver>);

impl core::fmt::Debug for Executor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Executor")
    }
}

impl Executor {
    /// With a queue for so many requests under way, a power of two.
    ///
    /// # Errors
    ///
    /// See [`crate::object::IoQueue::new`].
    pub fn new(requests: u32) -> Result<Self, Error> {
        Driver::new(requests).map(|driver| Self(spillway_task::Executor::new(driver)))
    }

    /// How long it waits, when it is dropped, for what it cancels then. What has not come back is
    /// leaked with its buffers.
    pub const fn set_patience(&mut self, patience: Duration) {
        let nanoseconds = patience.as_nanos();
        let most = u64::MAX as u128;
        self.0.set_patience(if nanoseconds < most {
            nanoseconds as u64
        } else {
            u64::MAX
        });
    }

    /// A handle for tasks.
    pub fn handle(&self) -> Handle {
        Handle(self.0.handle())
    }

    /// Runs this future, and meanwhile all tasks, until it has ended. Tasks that have not stay, and
    /// go on with the next call.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] if the thread was asked to stop, [`Error::Corrupt`] if somebody wrote
    /// to the queue's rings.
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output, Error> {
        self.0.block_on(future)
    }
}

/// A way to the executor for its tasks. After the executor's end nothing can be submitted.
#[derive(Clone)]
pub struct Handle(spillway_task::Handle<Driver>);

impl core::fmt::Debug for Handle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    /// Submits a request now. Its buffers are kept until its completion.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the buffers, if too much is under way or the executor is gone.
    pub fn start<B: 'static>(&self, request: Request<B>) -> Result<Operation<B>, Rejected<B>> {
        self.0.start(&request.entry, request.buffers)
    }

    /// Submits a request as soon as there is room, and waits for its completion.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if the executor is gone.
    pub async fn run<B: 'static>(
        &self,
        request: Request<B>,
    ) -> Result<(Completion, B), Rejected<B>> {
        self.0.run(&request.entry, request.buffers).await
    }

    /// Waits for an Event, a Timer, an Interrupt, a Process or a Thread.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], those of the object, and [`Error::Gone`] if the executor is gone.
    pub async fn wait(
        &self,
        object: &impl AsRef<OwnedHandle>,
        deadline: Deadline,
    ) -> Result<u64, Error> {
        match self.run(Request::wait(object, deadline)).await {
            Ok((completion, ())) => completion.result(),
            Err(Rejected(())) => Err(Error::Gone),
        }
    }

    /// Runs a future beside the others.
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        self.0.spawn(future)
    }

    /// Sleeps for at least this long.
    pub fn sleep(&self, duration: Duration) -> Sleep<Driver> {
        self.0.sleep_until(Deadline::after(duration).raw())
    }

    /// Waits for a future until the deadline.
    ///
    /// # Errors
    ///
    /// The future as it is, if the deadline came first.
    pub async fn within<F: Future + Unpin>(
        &self,
        deadline: Deadline,
        future: F,
    ) -> Result<F::Output, F> {
        self.0.within(deadline.raw(), future).await
    }

    /// Lets the messages of a server come to [`Self::message`]; the number by which they name it.
    ///
    /// # Errors
    ///
    /// See [`Server::bind`].
    pub fn bind(&self, server: &Server) -> Result<u32, Error> {
        self.0.with_queue(|driver| server.bind(&driver.queue))
    }

    /// The next message to a server that was bound, and the server's number. [`Server::accept`]
    /// makes a request of it, which must be answered.
    pub async fn message(&self) -> (u32, Message) {
        self.0.message().await
    }

    /// Gives an answer together with everything else that is submitted, and in order: a request
    /// that waits for room in a server's window holds it up. So no server should make requests with
    /// data on its own objects by the executor that answers them.
    pub fn answer(&self, answer: Answer<'_>) {
        self.0.with_queue(|driver| answer.submit(&mut driver.queue));
    }

    /// Requests under way.
    pub fn under_way(&self) -> usize {
        self.0.under_way()
    }
}

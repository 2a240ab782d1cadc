//! What the tests of servers and their clients share: a service whose messages the test takes one
//! by one, calls in threads of their own, and queues.

use alloc::sync::Arc;
use core::time::Duration;

use driver_sdk::{
    abi::{
        Handle, Rights,
        call::Operation,
        object::ThreadPhase,
        queue::{Completion, Submission},
        service::{Message, Notice, Reply, ServiceMeta, Token},
    },
    prelude::*,
    rt::{
        object::{IoQueue, Remote, Service, Window},
        syscall::Failure,
    },
};
use guest_harness::child::PATIENCE;

use crate::harness::{Outcome, check, equal};

/// Every right that a served object knows.
pub const ALL: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MANAGE)
    .union(Rights::MAP)
    .union(Rights::PASS);

/// When a test gives up.
pub fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

/// Returns when the thread waits in the kernel, or has ended. Two looks in a row, for its way there may
/// wait for a lock.
pub fn until_it_waits<T>(thread: &thread::JoinHandle<T>) -> Outcome {
    let mut seen = 0;
    while seen < 2 {
        seen = match thread.thread().phase()? {
            ThreadPhase::Runnable => 0,
            ThreadPhase::Waiting | ThreadPhase::Ended => seen + 1,
        };
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// The error of a call, which must have failed.
pub fn error_of<T>(result: Result<T, Failure>) -> Option<Error> {
    result.err().map(|failure| failure.error)
}

/// A service and its first object, whose number is 7. Nobody serves it but the test itself.
pub struct Desk {
    pub service: Arc<Service>,
    pub window: Option<Window>,
    pub object: Arc<Remote>,
}

impl Desk {
    /// Without a window.
    pub fn new() -> Outcome<Self> {
        let service = Service::new()?;
        let object = service.mint(7, ALL)?;
        Ok(Self {
            service: Arc::new(service),
            window: None,
            object: Arc::new(object),
        })
    }

    /// With a window of slots of so many bytes.
    pub fn with_window(slots: u32, bytes: usize) -> Outcome<Self> {
        let mut desk = Self::new()?;
        desk.window = Some(desk.service.set_window(slots, bytes)?);
        Ok(desk)
    }

    /// The next message, which must be a request.
    pub fn request(&self) -> Outcome<Message> {
        let message = self.service.serve(None, soon())?;
        equal!(message.what.notice(), Notice::Request);
        Ok(message)
    }

    /// The next message, which must be the notice that this object is closed.
    pub fn closed(&self, number: u64) -> Outcome {
        let message = self.service.serve(None, soon())?;
        equal!(message.what.notice(), Notice::Closed);
        equal!((message.object, message.token), (number, Token::NONE));
        Ok(())
    }

    /// Nothing must have arrived.
    pub fn nothing(&self) -> Outcome {
        let message = self.service.serve(None, Deadline::NOW);
        equal!(message, Err(Error::TimedOut));
        Ok(())
    }

    /// Answers with a value.
    pub fn value(&self, token: Token, value: u64) -> Result<(), Error> {
        self.service.reply(token, Reply::Value(value))
    }

    /// A call on the object by a thread of its own.
    pub fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Remote) -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let object = self.object.clone();
        thread::spawn(move || call(&object))
    }

    /// `GetMeta` by a thread of its own, with all patience.
    pub fn get_meta(&self, key: u64) -> thread::JoinHandle<Result<u64, Failure>> {
        self.call(move |object| {
            use driver_sdk::rt::object::Operations;
            object.until(soon()).get_meta(key)
        })
    }

    /// Requests that nobody has taken, and that were taken.
    pub fn counts(&self) -> Outcome<(u64, u64)> {
        let waiting = self.service.meta(ServiceMeta::Waiting)?;
        Ok((waiting, self.service.meta(ServiceMeta::Taken)?))
    }

    /// Waits until so many requests wait, and so many were taken.
    pub fn wait_for_counts(&self, waiting: u64, taken: u64) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        while self.counts()? != (waiting, taken) {
            check!(
                Instant::now() < deadline,
                "{:?} instead of {:?}",
                self.counts()?,
                (waiting, taken)
            );
            thread::sleep(core::time::Duration::from_micros(100));
        }
        Ok(())
    }
}

/// Puts an entry into a queue.
pub fn submit(queue: &mut IoQueue, entry: &Submission) -> Outcome {
    // SAFETY: the tests pass addresses that the kernel must refuse, or buffers that outlive the
    // completions.
    let submitted = unsafe { queue.submit(entry) };
    check!(submitted.is_ok(), "the submission ring takes no entry");
    Ok(())
}

/// An entry by its parts.
pub fn entry(
    object: Handle,
    operation: Operation,
    user_data: u64,
    arguments: [u64; 4],
) -> Submission {
    Submission::new(object, operation, user_data, arguments)
}

/// The next completion, waiting for it.
pub fn completion(queue: &mut IoQueue) -> Outcome<Completion> {
    queue.enter(1, soon())?;
    Ok(queue.pop()?.ok_or("a completion is missing")?)
}

/// One operation by a queue, alone in it; what came of it.
pub fn by_queue(
    queue: &mut IoQueue,
    object: Handle,
    operation: Operation,
    arguments: [u64; 4],
) -> Outcome<Result<u64, Error>> {
    submit(queue, &entry(object, operation, 99, arguments))?;
    let completion = completion(queue)?;
    equal!(completion.user_data, 99);
    Ok(completion.result())
}

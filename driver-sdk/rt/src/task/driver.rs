//! The executor's queue.

use alloc::sync::Arc;

use spillway_abi::{
    Error,
    queue::{Completion, Submission},
    service::Message,
};
use spillway_task::{Full, Next, Popped, Queue};

use core::time::Duration;

use crate::{
    object::{Event, IoQueue, message},
    time::{Deadline, Instant},
};

/// The user data of the wait for the alarm.
const ALARM: u64 = Driver::RESERVED + 1;

/// How long the executor sleeps at once when there is no room to wait for its alarm.
const NAP: Duration = Duration::from_millis(1);

/// An IoQueue, and the event by which another thread ends a wait in it.
#[derive(Debug)]
pub struct Driver {
    pub(super) queue: IoQueue,
    event: Arc<Event>,
    /// A wait for the event is under way.
    armed: bool,
}

/// A submission whose memory the executor keeps; its user data is the executor's matter.
#[derive(Debug)]
pub struct Entry(pub(super) Submission);

impl Driver {
    pub(super) fn new(requests: u32) -> Result<Self, Error> {
        Ok(Self {
            queue: IoQueue::new(requests, 0)?,
            event: Arc::new(Event::new()?),
            armed: false,
        })
    }

    /// Has the event end the next wait. Returns whether it will.
    fn arm(&mut self) -> Result<bool, Error> {
        for _ in 0..2 {
            if self.armed {
                break;
            }
            let submitted = self.queue.submit_wait(&*self.event, ALARM, Deadline::NEVER);
            match submitted {
                Ok(()) => self.armed = true,
                // What is handed over leaves room.
                Err(_) => self.queue.enter(0, Deadline::NOW).map(drop)?,
            }
        }
        Ok(self.armed)
    }
}

impl Queue for Driver {
    type Submission = Entry;
    type Completion = Completion;
    type Message = (u32, Message);
    type Error = Error;

    fn submit(&mut self, user_data: u64, entry: &Entry) -> Result<(), Full> {
        let submission = Submission {
            user_data,
            ..entry.0
        };
        // SAFETY: the executor keeps what the entry names until the completion, or for good;
        // whoever made the entry answers for the rest.
        unsafe { self.queue.submit(&submission) }.map_err(|_| Full)
    }

    fn enter(&mut self, minimum: u32, deadline: u64) -> Result<(), Error> {
        let mut deadline = Deadline::at(Instant::from_nanoseconds(deadline));
        if minimum > 0 && !self.arm()? {
            let nap = Deadline::after(NAP);
            if nap.raw() < deadline.raw() {
                deadline = nap;
            }
        }
        match self.queue.enter(minimum, deadline) {
            Ok(_) | Err(Error::TimedOut) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn pop(&mut self) -> Result<Next<Self>, Error> {
        while let Some(completion) = self.queue.pop()? {
            if let Some(message) = message(&completion) {
                return Ok(Some(Popped::Message(message)));
            }
            if completion.user_data == ALARM {
                self.armed = false;
                continue;
            }
            return Ok(Some(Popped::Completion(completion.user_data, completion)));
        }
        Ok(None)
    }

    fn cancel(&mut self, user_data: u64) {
        if self.queue.cancel(user_data) == Err(Error::NotFound) {
            // It may not have been handed over, or be over: then there is nothing to cancel.
            let _ = self.queue.enter(0, Deadline::NOW);
            let _ = self.queue.cancel(user_data);
        }
    }

    fn now(&self) -> u64 {
        Instant::now().as_nanoseconds()
    }

    fn alarm(&self) -> impl Fn() + Send + Sync + 'static {
        let event = self.event.clone();
        move || {
            // The event is our own, so that nothing can be refused.
            let _ = event.signal();
        }
    }
}

//! A bounded channel between threads of a process: any number of senders, one receiver.
//!
//! A thread has no kill switch: it is asked to stop, by a request that ends its waits, or by the
//! channel that it takes its work from. Both look like this:
//!
//! ```ignore
//! let (work, incoming) = sync::channel::<u64>(16);
//! let worker = thread::spawn(move || {
//!     let mut sum = 0;
//!     loop {
//!         match incoming.receive(Deadline::NEVER) {
//!             Ok(number) => sum += number,
//!             // All senders are gone: everything was received.
//!             Err(ChannelError::Closed) => return sum,
//!             // Asked to stop: what is still in the channel is dropped with it.
//!             Err(ChannelError::Interrupted) => return sum,
//!             Err(ChannelError::TimedOut) => unreachable!("it never does"),
//!         }
//!     }
//! });
//! work.send(1, Deadline::NEVER)?;
//! drop(work);              // "there is no more work", or
//! worker.ask_to_stop()?;   // "stop now"
//! println!("{}", worker.join());
//! ```

use alloc::{collections::VecDeque, sync::Arc};
use core::fmt;

use spillway_abi::Error;

use super::{Condvar, Mutex};
use crate::time::Deadline;

/// Why nothing was sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelError {
    /// The other side is gone, or somebody closed the channel.
    Closed,
    /// The deadline came.
    TimedOut,
    /// The thread was asked to stop.
    Interrupted,
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the channel is closed",
            Self::TimedOut => "the deadline came first",
            Self::Interrupted => "the thread was asked to stop",
        })
    }
}

impl core::error::Error for ChannelError {}

impl From<Error> for ChannelError {
    /// Of what a wait returns.
    fn from(error: Error) -> Self {
        match error {
            Error::TimedOut => Self::TimedOut,
            _ => Self::Interrupted,
        }
    }
}

/// What was not sent comes back, with the reason.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T, pub ChannelError);

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendError").field(&self.1).finish()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.fmt(f)
    }
}

impl<T> core::error::Error for SendError<T> {}

struct Shared<T> {
    state: Mutex<State<T>>,
    capacity: usize,
    /// Something was sent, or there will be nothing more.
    filled: Condvar,
    /// Something was received, or nothing more will be.
    emptied: Condvar,
}

struct State<T> {
    values: VecDeque<T>,
    senders: usize,
    closed: bool,
    /// Who waits: without one, nobody is woken.
    receiver_waits: bool,
    senders_wait: usize,
}

/// A channel for at most `capacity` values that wait to be received; at least one.
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            values: VecDeque::new(),
            senders: 1,
            closed: false,
            receiver_waits: false,
            senders_wait: 0,
        }),
        capacity: capacity.max(1),
        filled: Condvar::new(),
        emptied: Condvar::new(),
    });
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Shared<T> {
    /// Nothing more is sent. What was, can still be received.
    fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
        self.emptied.notify_all();
    }
}

/// The side that sends; one more for each clone.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Sends a value, waiting for room.
    ///
    /// # Errors
    ///
    /// The value comes back: [`ChannelError::Closed`], [`ChannelError::TimedOut`], or
    /// [`ChannelError::Interrupted`] if the thread was asked to stop while it waited.
    pub fn send(&self, value: T, deadline: Deadline) -> Result<(), SendError<T>> {
        let mut state = self.0.state.lock();
        loop {
            if state.closed {
                return Err(SendError(value, ChannelError::Closed));
            }
            if state.values.len() < self.0.capacity {
                break;
            }
            state.senders_wait += 1;
            let waited = self.0.emptied.wait_or_stop(&mut state, deadline);
            state.senders_wait -= 1;
            if let Err(error) = waited {
                return Err(SendError(value, error.into()));
            }
        }
        state.values.push_back(value);
        let wake = state.receiver_waits;
        drop(state);
        if wake {
            self.0.filled.notify_one();
        }
        Ok(())
    }

    /// Sends a value if there is room now.
    ///
    /// # Errors
    ///
    /// As for [`Self::send`].
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.send(value, Deadline::NOW)
    }

    /// Nothing more can be sent, by nobody. What was sent can still be received.
    pub fn close(&self) {
        self.0.close();
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state.lock().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.senders -= 1;
        let last = state.senders == 0;
        drop(state);
        if last {
            self.0.close();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

/// The side that receives. When it is dropped, senders are told that the channel is closed.
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// The value that was sent first, waiting for one.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Closed`] if all senders are gone or one closed the channel, and everything
    /// was received; [`ChannelError::TimedOut`]; [`ChannelError::Interrupted`] if the thread was
    /// asked to stop and would have to wait.
    pub fn receive(&self, deadline: Deadline) -> Result<T, ChannelError> {
        let mut state = self.0.state.lock();
        loop {
            if let Some(value) = state.values.pop_front() {
                let wake = state.senders_wait > 0;
                drop(state);
                if wake {
                    // All of them: the one that would be chosen may have given up this moment.
                    self.0.emptied.notify_all();
                }
                return Ok(value);
            }
            if state.closed {
                return Err(ChannelError::Closed);
            }
            state.receiver_waits = true;
            let waited = self.0.filled.wait_or_stop(&mut state, deadline);
            state.receiver_waits = false;
            // What came in the last moment is not left behind.
            if state.values.is_empty() {
                waited?;
            }
        }
    }

    /// The value that was sent first, if there is one now.
    ///
    /// # Errors
    ///
    /// As for [`Self::receive`].
    pub fn try_receive(&self) -> Result<T, ChannelError> {
        self.receive(Deadline::NOW)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

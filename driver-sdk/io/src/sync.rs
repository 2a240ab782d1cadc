//! Level 1: one request, one system call, one answer.
//!
//! # What it promises
//!
//! The simplest program: no ring, no thread, nothing to set up but a handle. When `push` returns, the
//! request is done, and `poll` gives it back. The same program runs on any device that a server
//! serves by the protocol. Data lies in a pool that the server knows, so no byte is copied; or,
//! [copying](Sync::copying), it goes through the server's window, for comparison.
//!
//! # What it costs
//!
//! Two switches of the address space and two system calls a request, one of each side, and nothing
//! overlaps: a queue has one request under way, however deep it is. More at once take more threads,
//! each with a queue of its own.
//!
//! # The path of a request
//!
//! ```text
//! push   buffers -> slot; do_io(connection, Read, place, at, bytes, registration)
//!          └► kernel ─► the server's queue ─► blk-server ─► the driver ─► the device
//!          ┌─ kernel ◄─ its reply           ◄─────────────────────────────┘
//!        the answer is kept
//! poll   its slot is found; buffers -> the application
//! ```

use alloc::{sync::Arc, vec::Vec};

use spillway_abi::{Error as Code, call::NO_DEADLINE};
use spillway_rt::{
    object::{Object, Operations, Remote},
    syscall,
};

use crate::{
    Error, Pool, QueueOptions,
    protocol::{Answer, Block, Call, Place, key},
    remote::{Connection, Ended, Level, Mapped, Path, refused},
};

/// A block device at level 1.
#[derive(Clone)]
pub struct Sync {
    connection: Arc<Connection<Block>>,
    /// Bytes of the server's window that a request can have, if data is copied.
    copied: Option<u64>,
}

impl Sync {
    /// The device that the manifest calls so, in the `services` of this process.
    ///
    /// # Errors
    ///
    /// `Denied` without such a handle or without rights, `Unsupported` for an object that is no
    /// block device, `Gone` without its server.
    pub fn named(name: &str) -> Result<Self, Error> {
        Ok(Self {
            connection: Connection::named(name)?,
            copied: None,
        })
    }

    /// The device behind a handle.
    ///
    /// # Errors
    ///
    /// As for [`named`](Self::named).
    pub fn open(object: &Remote) -> Result<Self, Error> {
        Ok(Self {
            connection: Connection::open(object)?,
            copied: None,
        })
    }

    /// The same device, but the data of its pools is copied through the server's window, in as many
    /// requests as it takes.
    ///
    /// # Errors
    ///
    /// `Gone` without its server.
    pub fn copying(self) -> Result<Self, Error> {
        let window = self.connection.object().get_meta(key::WINDOW);
        Ok(Self {
            copied: Some(window.map_err(refused)?),
            ..self
        })
    }
}

impl Level for Sync {
    type Path = SyncPath;

    fn connection(&self) -> &Arc<Connection<Block>> {
        &self.connection
    }

    fn path(&self, options: QueueOptions) -> Result<SyncPath, Error> {
        Ok(SyncPath {
            connection: self.connection.clone(),
            window: self.copied.unwrap_or(0),
            answers: Vec::with_capacity(options.depth.into()),
        })
    }

    fn pool(&self, memory: Mapped) -> Result<Pool, Error> {
        match self.copied {
            None => self.connection.register(memory),
            Some(_) => self.connection.unknown_pool(memory),
        }
    }
}

/// The way of one thread to the server.
pub struct SyncPath {
    connection: Arc<Connection<Block>>,
    /// Bytes of the server's window that a request can have.
    window: u64,
    /// What was answered and not taken.
    answers: Vec<(u64, Answer)>,
}

impl SyncPath {
    /// One call, whose memory the server knows or the kernel copies.
    #[inline(always)]
    fn ask(&self, call: &Call, trace: u64) -> Answer {
        let (object, arguments) = (self.connection.object().handle(), call.arguments());
        // SAFETY: the memory is a buffer that the queue has until the answer is taken.
        let asked = unsafe {
            match trace {
                0 => syscall::ask(object, call.operation(), arguments),
                _ => syscall::ask_until(object, call.operation(), arguments, trace, NO_DEADLINE),
            }
        };
        match asked {
            Ok(value) => Answer::done(value),
            Err(failure) => Answer::failed(failure.error, failure.detail),
        }
    }

    /// As many calls as it takes to copy everything through the window.
    #[cold]
    fn copy(&self, call: &Call, trace: u64) -> Answer {
        let mut done = 0;
        while done < u64::from(call.length) {
            let part = Call {
                length: (u64::from(call.length) - done).min(self.window) as u32,
                place: call.place + done,
                memory: Place(call.memory.0 + done),
                ..*call
            };
            let answer = self.ask(&part, trace);
            match answer.error() {
                None if answer.detail == u64::from(part.length) => done += answer.detail,
                None => return Answer::failed(Code::Failed, 0),
                Some(_) => return answer,
            }
        }
        Answer::done(done)
    }
}

impl Path for SyncPath {
    #[inline(always)]
    fn send(&mut self, call: &Call, tag: u64, trace: u64) -> Result<(), Ended> {
        let answer = match call.memory.registration() {
            0 => self.copy(call, trace),
            _ => self.ask(call, trace),
        };
        self.answers.push((tag, answer));
        Ok(())
    }

    #[inline(always)]
    fn kick(&mut self) {}

    #[inline(always)]
    fn take(&mut self, mut each: impl FnMut(u64, Option<Answer>)) -> Result<(), Ended> {
        for (tag, answer) in self.answers.drain(..) {
            each(tag, answer.failure());
        }
        Ok(())
    }

    /// There is nothing to wait for.
    fn sleep(&mut self, _: u64) -> Result<(), Code> {
        Ok(())
    }

    fn cancel(&mut self, _: u64) -> bool {
        false
    }
}

//! Level 2: rings that the program shares with the kernel.
//!
//! # What it promises
//!
//! Any number of requests at once from one thread, to any device that a server serves by the
//! protocol: the kernel stands between the two, so each sees of the other only what it checked. Data
//! lies in a pool that the server knows, and no byte is copied. A request that is cancelled gives its
//! buffers back when the server has let go of them.
//!
//! # What it costs
//!
//! One system call a batch on either side, not one a request. For each request the kernel reads an
//! entry, keeps it until the answer, and writes one entry to the server's ring and one back.
//!
//! # The path of a request
//!
//! ```text
//! push   buffers -> slot; Read, place, at, bytes, registration, tag -> an entry of the ring
//! kick   one system call a batch
//!          └► kernel: each entry -> the server's ring ─► blk-server ─► the driver ─► the device
//!          ┌─ kernel: each reply -> our ring          ◄──────────────────────────────┘
//! poll   entries are taken off the ring, without a call; tag -> slot; buffers -> the application
//! ```

use alloc::sync::Arc;
use core::num::NonZeroU16;

use spillway_abi::{Error as Code, Handle};
use spillway_rt::{
    object::{IoQueue, Object, Registered, Remote},
    time::{Deadline, Instant},
};

use crate::{
    Error, QueueOptions,
    protocol::{Answer, Block, Call},
    remote::{Connection, Ended, Level, Path, failed},
};

/// A block device at level 2.
#[derive(Clone)]
pub struct Async {
    connection: Arc<Connection<Block>>,
}

impl Async {
    /// The device that the manifest calls so, in the `services` of this process.
    ///
    /// # Errors
    ///
    /// `Denied` without such a handle or without rights, `Unsupported` for an object that is no
    /// block device, `Gone` without its server.
    pub fn named(name: &str) -> Result<Self, Error> {
        Ok(Self {
            connection: Connection::named(name)?,
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
        })
    }
}

impl Level for Async {
    type Path = AsyncPath;

    fn connection(&self) -> &Arc<Connection<Block>> {
        &self.connection
    }

    fn path(&self, options: QueueOptions) -> Result<AsyncPath, Error> {
        let entries = u32::from(options.depth).next_power_of_two();
        Ok(AsyncPath {
            queue: IoQueue::new(entries, 0).map_err(failed)?,
            object: self.connection.object().handle(),
        })
    }
}

/// The way of one thread to the server.
pub struct AsyncPath {
    queue: IoQueue,
    /// The connection's, which the queue keeps.
    object: Handle,
}

impl Path for AsyncPath {
    #[inline(always)]
    fn send(&mut self, call: &Call, tag: u64, trace: u64) -> Result<(), Ended> {
        let registration =
            NonZeroU16::new(call.memory.registration()).ok_or(Ended(Code::BadArgument))?;
        let request = Registered {
            object: self.object,
            write: call.write,
            offset: call.place,
            registration,
            at: call.memory.at(),
            length: call.length.into(),
            user_data: tag,
            trace,
        };
        // The ring has room for as many as the queue has slots.
        self.queue
            .submit_registered(&request)
            .map_err(|_| Ended(Code::Corrupt))
    }

    #[inline]
    fn kick(&mut self) {
        // What this finds wrong, the next wait says.
        let _ = self.queue.enter(0, Deadline::NOW);
    }

    #[inline(always)]
    fn take(&mut self, mut each: impl FnMut(u64, Option<Answer>)) -> Result<(), Ended> {
        // Nobody but this process and the kernel writes to the rings; if this process did, what is
        // in flight stays there.
        while let Ok(Some(completion)) = self.queue.pop() {
            let answer = Answer {
                status: completion.status,
                detail: completion.value,
            };
            each(completion.user_data, answer.failure());
        }
        Ok(())
    }

    #[inline]
    fn sleep(&mut self, deadline: u64) -> Result<(), Code> {
        let deadline = Deadline::at(Instant::from_nanoseconds(deadline));
        self.queue.enter(1, deadline).map(drop)
    }

    fn cancel(&mut self, tag: u64) -> bool {
        // One that is not found was answered: it is in the ring.
        self.queue.cancel(tag) == Ok(true)
    }
}

//! Level 3: rings and buffers that the program shares with the server.
//!
//! # What it promises
//!
//! A request and its completion are entries of two rings in memory that both processes see. The
//! kernel is entered only to wake one that sleeps; while both are awake, not at all. Neither can
//! make the other misbehave: indices, offsets and lengths are checked on private copies, and an
//! index that cannot be ends the connection with an error. When the server dies, everything in flight
//! comes back, after the device was taken from it.
//!
//! # What it costs
//!
//! Copies of 40 bytes to the server and 16 bytes back, and the two lines of the rings' headers, once
//! a batch. The server is known: program and server share a layout, and a pool of memory. On one core
//! a batch costs two entries to the kernel: here `signal_and_wait`, and one call of the server that
//! takes the signal along.
//!
//! # The path of a request
//!
//! ```text
//! push   buffers -> slot; an entry of the ring
//! kick   one store publishes the batch; an event, if the server sleeps
//!          blk-server: a private copy, checked ─► the driver ─► the device
//!          blk-server: an entry of the other ring ◄─────────────┘
//! poll   entries -> private copies; tag -> slot; buffers -> the application
//! ```
//!
//! # How the end is noticed
//!
//! One request that is never answered, the *lifeline*, is under way through a queue of the kernel's.
//! The kernel answers it when the server has ended and its device has been taken back, so what is in
//! flight can be given back then. After a corrupt ring it is cancelled: the server answers it when it
//! has let go of everything that came by the ring.

use alloc::sync::Arc;

use spillway_abi::{Error as Code, Rights, call::Operation, queue::Submission};
use spillway_rt::{
    object::{Event, IoQueue, Object, Operations, Remote},
    time::{Deadline, Instant},
};

use crate::{
    Error, QueueOptions,
    link::ClientRings,
    protocol::{Answer, Block, Call, Done, FLAG_SHIFT, LIFELINE, NO_MEMORY, share},
    remote::{Connection, Ended, Level, Path, failed, refused},
};

/// A block device at level 3.
#[derive(Clone)]
pub struct Shared {
    connection: Arc<Connection<Block>>,
}

impl Shared {
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

impl Level for Shared {
    type Path = SharedPath;

    fn connection(&self) -> &Arc<Connection<Block>> {
        &self.connection
    }

    fn path(&self, options: QueueOptions) -> Result<SharedPath, Error> {
        SharedPath::new(self.connection.object(), options.depth)
    }
}

/// The way of one thread to the server.
pub struct SharedPath {
    rings: ClientRings,
    /// What the server waits for, and what this thread waits for.
    theirs: Event,
    ours: Event,
    lifeline: IoQueue,
    /// The other side wrote what cannot be; the lifeline was cancelled.
    corrupt: bool,
}

/// The user data of the lifeline.
const LIFE: u64 = 0;

impl SharedPath {
    fn new(object: &Remote, depth: u16) -> Result<Self, Error> {
        let entries = u32::from(depth).next_power_of_two();
        let (rings, memory) = ClientRings::new(entries).map_err(failed)?;
        let (theirs, ours) = (Event::new().map_err(failed)?, Event::new().map_err(failed)?);
        // A server that stands before another one passes them on.
        let rights = Rights::READ | Rights::WRITE | Rights::MAP | Rights::TRANSFER;
        let give = |link: u64, key| key | link << 8;
        let link = object.share(&memory, rights, give(entries.into(), share::RINGS));
        let link = link.map_err(refused)?;
        object
            .share(
                &theirs,
                Rights::WAIT | Rights::TRANSFER,
                give(link, share::SERVER_EVENT),
            )
            .map_err(refused)?;
        object
            .share(
                &ours,
                Rights::WRITE | Rights::TRANSFER,
                give(link, share::CLIENT_EVENT),
            )
            .map_err(refused)?;
        Ok(Self {
            rings,
            theirs,
            ours,
            lifeline: lifeline(object, link).map_err(failed)?,
            corrupt: false,
        })
    }

    /// Looks whether the lifeline was answered.
    #[inline]
    fn look(&mut self) -> Result<(), Ended> {
        match self.lifeline.pop() {
            Ok(Some(completion)) => {
                let code = completion.result().err().unwrap_or(Code::Gone);
                Err(Ended(if self.corrupt { Code::Corrupt } else { code }))
            }
            _ => Ok(()),
        }
    }

    /// The server broke the rules of the ring: everything comes back when it has let go.
    #[cold]
    fn give_up(&mut self) -> Result<(), Ended> {
        if !self.corrupt {
            self.corrupt = true;
            // If it was answered already, that is in the ring.
            let _ = self.lifeline.cancel(LIFE);
        }
        self.look()
    }
}

/// Sends the request that is answered at the server's end.
fn lifeline(object: &Remote, link: u64) -> Result<IoQueue, Code> {
    let mut queue = IoQueue::new(1, 0)?;
    let place = u64::from(LIFELINE) << FLAG_SHIFT;
    let arguments = [place, link, 0, NO_MEMORY.into()];
    let read = Submission::new(object.handle(), Operation::Read, LIFE, arguments);
    // SAFETY: no address is among the arguments.
    unsafe { queue.submit(&read) }.map_err(|_| Code::Corrupt)?;
    queue.enter(0, Deadline::NOW)?;
    Ok(queue)
}

impl Path for SharedPath {
    #[inline(always)]
    fn send(&mut self, call: &Call, tag: u64, trace: u64) -> Result<(), Ended> {
        // The ring has room for as many as the queue has slots, unless the server cheats.
        self.rings
            .calls
            .push(call.to_words(tag, trace))
            .map_err(|_| Ended(Code::Corrupt))
    }

    #[inline]
    fn kick(&mut self) {
        self.rings.calls.publish();
        if self.rings.calls.must_wake() {
            // A handle of our own is never refused.
            let _ = self.theirs.signal();
        }
    }

    #[inline(always)]
    fn take(&mut self, mut each: impl FnMut(u64, Option<Answer>)) -> Result<(), Ended> {
        let Ok(ready) = self.rings.dones.ready() else {
            return self.give_up();
        };
        if ready.len() == 0 {
            drop(ready);
            return self.look();
        }
        for words in ready {
            let (tag, failure) = Done::outcome(words);
            each(tag, failure);
        }
        self.rings.dones.release();
        Ok(())
    }

    fn sleep(&mut self, deadline: u64) -> Result<(), Code> {
        self.rings.calls.publish();
        let must_wake = self.rings.calls.must_wake();
        let deadline = Deadline::at(Instant::from_nanoseconds(deadline));
        if self.corrupt {
            return self.lifeline.enter(1, deadline).map(drop);
        }
        if self.rings.dones.arm() != Ok(true) {
            return match must_wake {
                true => self.theirs.signal(),
                false => Ok(()),
            };
        }
        let slept = match must_wake {
            true => self.theirs.signal_and_wait(&self.ours, deadline),
            false => self.ours.wait(deadline),
        };
        // A signal that still comes ends a later sleep early, and no more.
        self.rings.dones.disarm();
        slept.map(drop)
    }

    /// There is no word for it on the rings: it completes by itself.
    fn cancel(&mut self, _: u64) -> bool {
        true
    }
}

/// The server forgets the rings when the lifeline is cancelled, as soon as it has let go of everything
/// that came by them. It is given a moment for that: what is in flight then the queue has waited for.
impl Drop for SharedPath {
    fn drop(&mut self) {
        if self.lifeline.cancel(LIFE) == Ok(true) {
            let moment = Deadline::after(core::time::Duration::from_millis(100));
            let _ = self.lifeline.enter(1, moment);
        }
    }
}

//! What levels 1 to 3 have in common: a connection to a server, the pools that are registered with
//! it, and a queue that keeps buffers while the server has them. How calls and answers travel is the
//! matter of a [`Path`]: `sync.rs`, `async_.rs` and `shared.rs`.

use alloc::sync::Arc;
use core::{mem, ptr::NonNull};

use spillway_abi::{Error as Code, Rights, call::Operation};
use spillway_hal::IoAddress;
use spillway_rt::{
    object::{Mapping, Memory, Operations, Remote},
    startup,
    syscall::Failure,
    time::{self, Instant},
};

use crate::{
    BlockDevice, BlockQueue, Buffers, Cancel, Completion, Error, ErrorKind, Pool, PoolMemory,
    QueueOptions, Rejected, Request, RequestId, Statistics, WaitMode,
    pool::IoSpace,
    protocol::{Answer, Block, Call, Finished, Place, Protocol, Registered, block, key, share},
    slots::{Slots, Taken},
};

/// What the server gets to do with the memory of a pool. It can pass it on: a server that stands
/// before another one has that one's device reach it.
const POOL_RIGHTS: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MAP)
    .union(Rights::DMA)
    .union(Rights::TRANSFER);

/// A client's own object at a server, of the range or port that its handle led to. Nobody else can
/// name the memory that is registered here.
pub struct Connection<P: Protocol> {
    object: Remote,
    facts: P::Facts,
    memory: Registered,
}

impl<P: Protocol> Connection<P> {
    /// Connects to the object that the manifest calls so.
    pub(crate) fn named(name: &str) -> Result<Arc<Self>, Error> {
        const NONE: Error = Error::new(
            ErrorKind::Denied,
            "the process was given no object of this name: add it to `services` in its manifest",
        );
        Self::open(&*startup::object::<Remote>(name).ok_or(NONE)?)
    }

    /// Connects to an object.
    pub(crate) fn open(object: &Remote) -> Result<Arc<Self>, Error> {
        let object = object.open("", 0).map_err(refused)?;
        let mut ask = |key| object.get_meta(key).map_err(refused);
        if ask(key::PROTOCOL)? != P::ID {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the object speaks another protocol, or another version of it",
            ));
        }
        let facts = P::facts(&mut ask)?;
        Ok(Arc::new(Self {
            object,
            facts,
            memory: Registered(IoSpace::new()),
        }))
    }

    /// The object, for what no level offers.
    pub const fn object(&self) -> &Remote {
        &self.object
    }

    /// What the server said of itself.
    pub const fn facts(&self) -> &P::Facts {
        &self.facts
    }

    /// Makes a pool of memory that the server then knows.
    pub(crate) fn register(self: &Arc<Self>, memory: Mapped) -> Result<Pool, Error> {
        let shared = self.object.share(&memory.memory, POOL_RIGHTS, share::POOL);
        let registration = shared.map_err(refused)?;
        let known = Known {
            memory,
            registration,
            connection: self.clone(),
        };
        Pool::new(known, self.memory.0, IoAddress(registration << Place::BITS))
    }

    /// Makes a pool that the server does not know: its data is copied.
    pub(crate) fn unknown_pool(&self, memory: Mapped) -> Result<Pool, Error> {
        let start = memory.mapping.address();
        Pool::new(memory, self.memory.0, IoAddress(start))
    }
}

/// A refusal by the server, on the way of no request.
#[cold]
pub(crate) fn refused(failure: Failure) -> Error {
    block::error(failure.error, failure.detail, false)
}

/// The same of the kernel.
#[cold]
pub(crate) fn failed(code: Code) -> Error {
    block::error(code, 0, false)
}

/// Memory that is mapped here, to become a pool of levels 1 to 3.
#[derive(Debug)]
pub struct Mapped {
    mapping: Mapping,
    memory: Memory,
}

impl Mapped {
    /// New memory of at least so many bytes, contiguous for a device that nothing confines.
    ///
    /// # Errors
    ///
    /// `OutOfMemory`, `Busy` at the process's limit, `InvalidRequest` for no bytes.
    pub fn new(bytes: usize, contiguous: bool) -> Result<Self, Error> {
        let memory = match contiguous {
            true => Memory::contiguous(bytes as u64),
            false => Memory::new(bytes as u64),
        };
        let memory = memory.map_err(failed)?;
        let mapping = memory.map(Rights::READ | Rights::WRITE).map_err(failed)?;
        Ok(Self { mapping, memory })
    }

    /// Memory that the application has, mapped once more.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    ///
    /// # Safety
    ///
    /// Nobody else reads or writes it, as long as the pool and its buffers live: no other mapping of
    /// it is used, here or in another process than the server.
    pub unsafe fn from_memory(memory: Memory) -> Result<Self, Error> {
        let mapping = memory.map(Rights::READ | Rights::WRITE).map_err(failed)?;
        Ok(Self { mapping, memory })
    }
}

// SAFETY: the mapping stays where it is, is of whole pages of initialised memory, and nobody here
// uses it but for its address. The server, and its device, reach it as a device does.
unsafe impl PoolMemory for Mapped {
    fn bytes(&self) -> NonNull<[u8]> {
        // SAFETY: a mapping is not at address zero.
        let start = unsafe { NonNull::new_unchecked(self.mapping.as_ptr()) };
        NonNull::slice_from_raw_parts(start, self.mapping.len())
    }
}

/// Memory that a server knows.
struct Known<P: Protocol> {
    memory: Mapped,
    registration: u64,
    connection: Arc<Connection<P>>,
}

// SAFETY: as the memory in it.
unsafe impl<P: Protocol> PoolMemory for Known<P> {
    fn bytes(&self) -> NonNull<[u8]> {
        self.memory.bytes()
    }
}

impl<P: Protocol> Drop for Known<P> {
    fn drop(&mut self) {
        let key = share::FORGET | self.registration << 8;
        let object = &self.connection.object;
        // SAFETY: no address is among the arguments. A server that is gone has forgotten it anyway.
        let _ = unsafe { object.ask(Operation::Share, [0, 0, key, 0]) };
    }
}

/// Why a path is at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended(pub Code);

/// How calls travel to a server, and answers back.
pub trait Path {
    /// Hands over a call, to begin no later than with [`kick`](Self::kick). The queue has no more in
    /// flight than the path was opened for.
    ///
    /// # Errors
    ///
    /// [`Ended`]; the call had no effect.
    fn send(&mut self, call: &Call, tag: u64, trace: u64) -> Result<(), Ended>;

    /// Begins everything that was sent.
    fn kick(&mut self);

    /// Takes what has been answered: tells of each, and what came of it if it failed. Never waits.
    ///
    /// # Errors
    ///
    /// [`Ended`], when no more will come, and the server and its device have let go of everything.
    fn take(&mut self, each: impl FnMut(u64, Option<Answer>)) -> Result<(), Ended>;

    /// Begins everything that was sent, and sleeps until something may have been answered.
    ///
    /// # Errors
    ///
    /// `TimedOut`, `Interrupted`.
    fn sleep(&mut self, deadline: u64) -> Result<(), Code>;

    /// Asks for a call to be answered soon; whether the answer is still to come.
    fn cancel(&mut self, tag: u64) -> bool;
}

/// How often a queue that found its server on its own core looks whether that is still so.
const LOOK_AGAIN: u32 = 64;

/// A queue of any of the levels 1 to 3.
pub struct RemoteQueue<P: Protocol, T: Path> {
    path: T,
    slots: Slots,
    checks: P::Checks,
    memory: Registered,
    /// Requests that were accepted, of which the other side was told, and given back, counted
    /// without end.
    pushed: u32,
    told: u32,
    given_back: u32,
    /// The server waits for this very core, as far as is known.
    together: bool,
    waits: u32,
    statistics: Statistics,
    ended: Option<Ended>,
    // What follows is not touched on the path of a request.
    options: QueueOptions,
    /// Keeps the connection, and with it what the server knows of us.
    _connection: Arc<Connection<P>>,
}

impl<P: Protocol, T: Path> RemoteQueue<P, T> {
    pub(crate) fn new(connection: &Arc<Connection<P>>, path: T, options: QueueOptions) -> Self {
        let depth = options.depth;
        Self {
            path,
            slots: Slots::new(depth.into()),
            checks: P::checks(&connection.facts),
            memory: connection.memory,
            pushed: 0,
            told: 0,
            given_back: 0,
            together: time::core_count() == 1,
            waits: 0,
            statistics: Statistics::default(),
            ended: None,
            options,
            _connection: connection.clone(),
        }
    }

    /// See [`BlockQueue::push`].
    #[allow(clippy::result_large_err, missing_docs)]
    #[inline(always)]
    pub fn push(&mut self, request: P::Request) -> Result<RequestId, P::Rejected> {
        let (buffers, rest) = P::apart(request);
        let filled = match self.slots.fill(buffers) {
            Ok(filled) => filled,
            Err(buffers) => return Err(reject::<P>(rest, buffers, self.no_room())),
        };
        let call = match P::call(&mut self.checks, &rest, filled.buffers(), self.memory) {
            Ok(call) => call,
            Err(error) => return Err(reject::<P>(rest, filled.empty(), error)),
        };
        let (user_data, trace) = P::names(&rest);
        let tag = filled.id().0;
        if let Err(ended) = self.path.send(&call, tag, trace.0) {
            return Err(reject::<P>(rest, filled.empty(), failed(ended.0)));
        }
        self.pushed = self.pushed.wrapping_add(1);
        // Whether something changes at the server.
        Ok(filled.keep_with(user_data, trace, call.write))
    }

    /// Why there is no room.
    #[cold]
    fn no_room(&self) -> Error {
        self.ended.map_or(FULL, |ended| failed(ended.0))
    }

    /// See [`BlockQueue::kick`].
    #[inline]
    pub fn kick(&mut self) {
        if self.pushed != self.told {
            self.path.kick();
            self.tell();
        }
    }

    #[inline]
    fn tell(&mut self) {
        self.statistics.rung(self.pushed.wrapping_sub(self.told));
        self.told = self.pushed;
    }

    /// Gives back what was answered, and starts nothing.
    #[inline(always)]
    fn take(&mut self, completed: &mut impl FnMut(P::Completion)) -> usize {
        let Self {
            path,
            slots,
            statistics,
            ..
        } = self;
        let mut count = 0u32;
        let taken = path.take(|tag, failure| {
            let Some(kept) = slots.find(RequestId(tag)) else {
                statistics.strays += 1;
                return;
            };
            count += 1;
            completed(finish::<P>(kept.take(), failure));
        });
        self.given_back = self.given_back.wrapping_add(count);
        let count = match taken {
            Ok(()) => count as usize,
            Err(ended) => count as usize + self.end(ended, completed),
        };
        self.statistics.polled(count);
        count
    }

    /// Everything that is in flight is answered by the end of the path.
    #[cold]
    fn end(&mut self, ended: Ended, completed: &mut impl FnMut(P::Completion)) -> usize {
        self.ended = Some(ended);
        let names: alloc::vec::Vec<_> = self.slots.names().collect();
        for &id in &names {
            if let Some(kept) = self.slots.find(id) {
                let failure = Some(Answer::failed(ended.0, 0));
                completed(finish::<P>(kept.take(), failure));
            }
        }
        self.given_back = self.pushed;
        self.told = self.pushed;
        // No room for anything, ever.
        self.slots = Slots::new(0);
        names.len()
    }

    /// See [`BlockQueue::poll`].
    #[inline(always)]
    pub fn poll(&mut self, mut completed: impl FnMut(P::Completion)) -> usize {
        self.kick();
        self.take(&mut completed)
    }

    /// See [`BlockQueue::wait`].
    ///
    /// # Errors
    ///
    /// `TimedOut`, `Interrupted`.
    #[inline]
    pub fn wait(
        &mut self,
        deadline: u64,
        mut completed: impl FnMut(P::Completion),
    ) -> Result<usize, Error> {
        let mut count = self.take(&mut completed);
        if count != 0 || self.in_flight() == 0 {
            self.kick();
            return Ok(count);
        }
        self.waits = self.waits.wrapping_add(1);
        let look_until = match self.options.wait {
            WaitMode::Interrupt => 0,
            _ if self.together && !self.waits.is_multiple_of(LOOK_AGAIN) => 0,
            WaitMode::Poll => u64::MAX,
            WaitMode::Adaptive(nanoseconds) => self.now().saturating_add(nanoseconds),
        };
        loop {
            // Without a limit to the look, the clock is not read before there is a reason to.
            let may_look = look_until != 0 && {
                self.kick();
                self.together = time::is_core_wanted();
                !self.together && (look_until == u64::MAX || self.now() < look_until)
            };
            if may_look {
                core::hint::spin_loop();
            } else {
                let slept = self.path.sleep(deadline);
                self.tell();
                match slept {
                    Ok(()) => self.statistics.wake_ups += 1,
                    Err(Code::TimedOut) => {}
                    Err(code) => return Err(failed(code)),
                }
            }
            count = self.take(&mut completed);
            if count != 0 || self.in_flight() == 0 {
                return Ok(count);
            }
            if deadline != u64::MAX && self.now() >= deadline {
                self.statistics.time_outs += 1;
                return Err(LATE);
            }
        }
    }

    /// See [`BlockQueue::cancel`].
    pub fn cancel(&mut self, id: RequestId) -> Cancel {
        if !self.slots.contains(id) {
            return Cancel::Unknown;
        }
        self.kick();
        match self.path.cancel(id.0) {
            true => Cancel::Pending,
            false => Cancel::Ready,
        }
    }

    /// See [`BlockQueue::capacity`].
    pub fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// See [`BlockQueue::in_flight`].
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.pushed.wrapping_sub(self.given_back) as usize
    }

    /// See [`BlockQueue::now`].
    pub fn now(&self) -> u64 {
        Instant::now().as_nanoseconds()
    }

    /// See [`BlockQueue::statistics`].
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }
}

/// Cancels what is in flight, and waits for it with a bound. What the server does not give back in
/// time stays out of use for good.
impl<P: Protocol, T: Path> Drop for RemoteQueue<P, T> {
    fn drop(&mut self) {
        if self.in_flight() == 0 {
            return;
        }
        let names: alloc::vec::Vec<_> = self.slots.names().collect();
        for id in names {
            self.cancel(id);
        }
        let deadline = self.now().saturating_add(self.options.drain);
        while self.in_flight() != 0 && self.wait(deadline, drop).is_ok() {}
        if self.in_flight() != 0 {
            mem::forget(mem::replace(&mut self.slots, Slots::new(0)));
        }
    }
}

#[inline(always)]
fn finish<P: Protocol>(taken: Taken, failure: Option<Answer>) -> P::Completion {
    // What the device stored comes before what the application loads.
    core::sync::atomic::fence(core::sync::atomic::Ordering::Acquire);
    let Taken {
        id,
        user_data,
        trace,
        buffers,
        note,
    } = taken;
    let finished = Finished {
        id,
        user_data,
        trace,
        buffers,
        writes: note,
    };
    P::completion(finished, failure)
}

#[cold]
#[inline(never)]
fn reject<P: Protocol>(rest: P::Rest, buffers: Buffers, error: Error) -> P::Rejected {
    P::rejected(P::together(rest, buffers), error)
}

impl<T: Path> BlockQueue for RemoteQueue<Block, T> {
    fn capacity(&self) -> usize {
        self.capacity()
    }

    #[inline]
    fn in_flight(&self) -> usize {
        self.in_flight()
    }

    #[inline(always)]
    fn push(&mut self, request: Request) -> Result<RequestId, Rejected> {
        self.push(request)
    }

    #[inline]
    fn kick(&mut self) {
        self.kick();
    }

    #[inline(always)]
    fn poll(&mut self, completed: impl FnMut(Completion)) -> usize {
        self.poll(completed)
    }

    #[inline]
    fn wait(&mut self, deadline: u64, completed: impl FnMut(Completion)) -> Result<usize, Error> {
        self.wait(deadline, completed)
    }

    fn cancel(&mut self, id: RequestId) -> Cancel {
        self.cancel(id)
    }

    fn now(&self) -> u64 {
        self.now()
    }

    fn statistics(&self) -> Statistics {
        self.statistics()
    }
}

/// A device of the levels 1 to 3: all that differs is how a queue is opened.
pub trait Level: Clone {
    /// How calls travel.
    type Path: Path;

    /// The connection.
    fn connection(&self) -> &Arc<Connection<Block>>;

    /// Opens the way of one queue, whose options were checked.
    ///
    /// # Errors
    ///
    /// What the kernel and the server refuse.
    fn path(&self, options: QueueOptions) -> Result<Self::Path, Error>;

    /// Makes a pool of memory.
    ///
    /// # Errors
    ///
    /// What the server refuses.
    fn pool(&self, memory: Mapped) -> Result<Pool, Error> {
        self.connection().register(memory)
    }
}

impl<L: Level> BlockDevice for L {
    type Queue = RemoteQueue<Block, L::Path>;
    type Memory = Mapped;

    fn limits(&self) -> crate::BlockLimits {
        self.connection().facts().limits
    }

    fn create_pool(&self, bytes: usize) -> Result<Pool, Error> {
        let contiguous = Block::needs_contiguous_pools(self.connection().facts());
        self.pool(Mapped::new(bytes, contiguous)?)
    }

    fn register(&self, memory: Mapped) -> Result<Pool, Error> {
        self.pool(memory)
    }

    fn open_queue(&self, options: QueueOptions) -> Result<Self::Queue, Error> {
        if options.depth == 0 || options.depth > MAX_DEPTH {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "a queue has room for 1 to 1024 requests",
            ));
        }
        let path = self.path(options)?;
        Ok(RemoteQueue::new(self.connection(), path, options))
    }
}

/// The deepest queue.
const MAX_DEPTH: u16 = 1024;

const FULL: Error = Error::new(
    ErrorKind::QueueFull,
    "the queue has no room: take completions first",
);
const LATE: Error = Error::new(
    ErrorKind::TimedOut,
    "nothing completed before the deadline: the requests are still in flight",
);

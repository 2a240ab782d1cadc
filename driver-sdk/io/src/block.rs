//! The two traits that an application is written against. `docs/io.md` says why they are as they
//! are, and what each method is at each level.

use spillway_hal::block::BlockLimits;

use crate::{Completion, Error, Pool, PoolMemory, Rejected, Request, RequestId, Statistics};

/// How a queue passes the time until there is a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WaitMode {
    /// Look again and again: the shortest latency, for the price of a core.
    #[default]
    Poll,
    /// Sleep until the device, or the other side, wakes the thread.
    Interrupt,
    /// Look for so many nanoseconds, then sleep.
    Adaptive(u64),
}

/// What a queue is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// Requests that can be in flight. The device may give less, see
    /// [`capacity`](BlockQueue::capacity).
    pub depth: u16,
    /// How [`wait`](BlockQueue::wait) waits.
    pub wait: WaitMode,
    /// How long, in nanoseconds, a queue that is dropped waits for what is in flight.
    pub drain: u64,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            depth: 128,
            wait: WaitMode::Poll,
            drain: 1_000_000_000,
        }
    }
}

/// What is known of a request that was to be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// The other side is through with it: its completion is ready for the next
    /// [`poll`](BlockQueue::poll).
    Ready,
    /// The device may still reach its memory. Its completion comes when the device has let go of
    /// that, and says whether the request was done all the same.
    Pending,
    /// There is no such request: its completion was taken already.
    Unknown,
}

/// A block device, by whatever path. Cloning is cheap; clones are the same device, and at levels on
/// real devices they can be used from several threads at once.
///
/// # What the implementer promises
///
/// - Limits do not change.
/// - Queues share nothing that one thread could hold up another with.
///
/// # What the caller promises
///
/// - Nothing that safety depends on. Two queues that write the same blocks at the same time leave
///   either's data.
pub trait BlockDevice: Clone {
    /// One thread's way to the device.
    type Queue: BlockQueue;
    /// What an application can bring as the memory of a pool.
    type Memory: PoolMemory;

    /// What the device holds and what one request may ask for. Offsets and lengths are multiples of
    /// the block size, buffers are aligned to `segment_alignment`, and a request has at most
    /// `max_segments` buffers.
    fn limits(&self) -> BlockLimits;

    /// Bytes of the device.
    fn capacity(&self) -> u64 {
        let limits = self.limits();
        limits.capacity.bytes(limits.block_size).unwrap_or(u64::MAX)
    }

    /// Allocates memory of `bytes`, rounded up to pages, zeroed, and registers it.
    ///
    /// # Errors
    ///
    /// `OutOfMemory`, `InvalidRequest` for no bytes or more than 2 TiB, those of the path.
    fn create_pool(&self, bytes: usize) -> Result<Pool, Error>;

    /// Registers memory that the application has, and makes a pool of it. At level 4 it must have
    /// been pinned for this very device: requests name it by the addresses that it brings.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for less than 512 bytes or more than 2 TiB, those of the path.
    fn register(&self, memory: Self::Memory) -> Result<Pool, Error>;

    /// Opens one more queue.
    ///
    /// # Errors
    ///
    /// `Unsupported` when there is no further queue, or no way to sleep and the options ask for it;
    /// `InvalidRequest` for a depth of zero; those of the path.
    fn open_queue(&self, options: QueueOptions) -> Result<Self::Queue, Error>;
}

/// One thread's way to a block device: requests go in with their buffers, completions come out with
/// the same buffers.
///
/// # What the implementer promises
///
/// - Every request that was accepted is given back exactly once, with all of its buffers, in any
///   order; and never before the device has let go of them.
/// - A request that is refused has had no effect and is given back with the refusal.
/// - Dropping the queue cancels what is in flight, and waits for it no longer than the options said.
///   Memory that the device may still reach then is leaked, not given back.
///
/// # What the caller promises
///
/// - Nothing that safety depends on. A closure that is called with a completion should be short:
///   completions behind it wait.
pub trait BlockQueue {
    /// Requests that can be in flight.
    fn capacity(&self) -> usize;

    /// Requests that were accepted and not yet given back.
    fn in_flight(&self) -> usize;

    /// Puts a request into the next batch. It starts no later than with the next
    /// [`kick`](Self::kick), [`submit`](Self::submit), [`poll`](Self::poll) or
    /// [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// `QueueFull`; `NotRegistered` for a buffer of another device's pool; `InvalidRequest`,
    /// `OutOfRange` and `Unsupported` for a request outside the device's limits; `Lost` or `Gone`
    /// for a queue whose device was reset or is gone: open another.
    // The request comes back whole, on purpose: it owns memory. The path inlines.
    #[allow(clippy::result_large_err)]
    fn push(&mut self, request: Request) -> Result<RequestId, Rejected>;

    /// Starts what was pushed: one doorbell, none if there is nothing.
    fn kick(&mut self);

    /// Submits one request: it starts now.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push).
    #[allow(clippy::result_large_err)]
    #[inline]
    fn submit(&mut self, request: Request) -> Result<RequestId, Rejected> {
        let id = self.push(request)?;
        self.kick();
        Ok(id)
    }

    /// Submits requests as long as the queue has room, as one batch, and says how many. What does
    /// not fit stays in the iterator.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push), except `QueueFull`: the first request that is refused ends
    /// the batch; those before it have started.
    #[allow(clippy::result_large_err)]
    #[inline]
    fn submit_batch(
        &mut self,
        requests: &mut impl Iterator<Item = Request>,
    ) -> Result<usize, Rejected> {
        let room = self.capacity() - self.in_flight();
        let mut count = 0;
        while count < room {
            let Some(request) = requests.next() else {
                break;
            };
            if let Err(rejected) = self.push(request) {
                self.kick();
                return Err(rejected);
            }
            count += 1;
        }
        self.kick();
        Ok(count)
    }

    /// Gives back what has completed: calls `completed` for each request and returns how many there
    /// were. Never waits.
    fn poll(&mut self, completed: impl FnMut(Completion)) -> usize;

    /// The same, but waits for the first completion, as the queue's [`WaitMode`] says, until
    /// [`now`](Self::now) is `deadline`. Returns zero only if nothing is in flight.
    ///
    /// # Errors
    ///
    /// `TimedOut` at the deadline, `Interrupted` when the process is asked to stop; those of the
    /// path. Requests stay in flight, whatever the error, and keep their buffers.
    fn wait(&mut self, deadline: u64, completed: impl FnMut(Completion)) -> Result<usize, Error>;

    /// Asks for a request to be given back soon. It always gets its completion, with its real
    /// result if it was done, `Cancelled` otherwise.
    fn cancel(&mut self, id: RequestId) -> Cancel;

    /// Nanoseconds on the clock by which deadlines count.
    fn now(&self) -> u64;

    /// What has happened on this queue.
    fn statistics(&self) -> Statistics;
}

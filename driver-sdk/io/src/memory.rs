//! A block device that is only memory, for tests of applications: it fails, delays, holds and
//! reorders requests on demand, and repeats itself exactly.
//!
//! A plan decides what becomes of each request (see [`Fate`]). Time is virtual: it moves a little
//! with every look at a queue, and jumps while a thread waits. What a request does to the medium
//! happens at the moment in which it completes.

use alloc::{boxed::Box, sync::Arc, vec, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};

use spillway_hal::IoAddress;

use crate::{
    BlockCount, BlockDevice, BlockLimits, BlockQueue, BlockSize, Buffers, Cancel, Completion,
    Error, ErrorKind, Fate, HeapMemory, Operation, Pool, QueueOptions, Rejected, Request,
    RequestId, Statistics, pool::IoSpace, slots::Slots,
};

/// Nanoseconds that pass with each look at a queue.
const LOOK: u64 = 100;

type Plan = Box<dyn FnMut(&Request) -> Fate + Send>;

/// A block device that is only memory. Clones are the same device.
#[derive(Clone)]
pub struct MemoryDevice {
    shared: Arc<Shared>,
}

struct Shared {
    limits: BlockLimits,
    space: IoSpace,
    medium: spin::Mutex<Vec<u8>>,
    plan: spin::Mutex<Option<Plan>>,
    /// State of the generator that mixes the order of completions; zero: they are not mixed.
    disorder: AtomicU64,
    time: AtomicU64,
    /// Counts releases and resets.
    releases: AtomicU64,
    resets: AtomicU64,
}

impl MemoryDevice {
    /// A device of `bytes` zeroes in blocks of 512 bytes, with limits like those of a small drive.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` unless `bytes` is a multiple of the block size and not zero.
    pub fn new(bytes: usize) -> Result<Self, Error> {
        Self::with_limits(
            vec![0; bytes],
            BlockLimits {
                block_size: BlockSize::B512,
                capacity: BlockCount(0),
                max_transfer: BlockCount(2048),
                max_segments: 128,
                segment_alignment: 4,
                atomic_write: BlockCount(1),
                volatile_cache: false,
            },
        )
    }

    /// A device with this content and these limits, of which the capacity does not count.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` unless the content is a multiple of the block size and not empty.
    pub fn with_limits(content: Vec<u8>, limits: BlockLimits) -> Result<Self, Error> {
        let block = limits.block_size.bytes() as usize;
        if content.is_empty() || !content.len().is_multiple_of(block) {
            return Err(invalid("a device has at least one block, and no half ones"));
        }
        let shared = Shared {
            limits: BlockLimits {
                capacity: BlockCount((content.len() / block) as u64),
                ..limits
            },
            space: IoSpace::new(),
            medium: spin::Mutex::new(content),
            plan: spin::Mutex::new(None),
            disorder: AtomicU64::new(0),
            time: AtomicU64::new(0),
            releases: AtomicU64::new(0),
            resets: AtomicU64::new(0),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Lets `plan` decide what becomes of each request from now on, when it is submitted.
    pub fn set_plan(&self, plan: impl FnMut(&Request) -> Fate + Send + 'static) {
        *self.shared.plan.lock() = Some(Box::new(plan));
    }

    /// Mixes the order of the requests that are due: some of them, in any order, with each look. The
    /// same seed gives the same order.
    pub fn shuffle(&self, seed: u64) {
        self.shared.disorder.store(seed | 1, Ordering::Relaxed);
    }

    /// Completes all requests that are held.
    pub fn release(&self) {
        self.shared.releases.fetch_add(1, Ordering::Relaxed);
    }

    /// What a reset of a real device does: queues give back what they have in flight as `Lost`, and
    /// accept nothing more.
    pub fn reset(&self) {
        self.shared.resets.fetch_add(1, Ordering::Relaxed);
    }

    /// What is on the medium.
    pub fn content(&self) -> Vec<u8> {
        self.shared.medium.lock().clone()
    }
}

impl BlockDevice for MemoryDevice {
    type Queue = MemoryQueue;
    type Memory = HeapMemory;

    fn limits(&self) -> BlockLimits {
        self.shared.limits
    }

    fn create_pool(&self, bytes: usize) -> Result<Pool, Error> {
        self.register(HeapMemory::new(bytes)?)
    }

    fn register(&self, memory: HeapMemory) -> Result<Pool, Error> {
        Pool::new(memory, self.shared.space, IoAddress(0))
    }

    fn open_queue(&self, options: QueueOptions) -> Result<MemoryQueue, Error> {
        if options.depth == 0 {
            return Err(invalid("a queue has room for at least one request"));
        }
        Ok(MemoryQueue {
            slots: Slots::new(options.depth.into()),
            waiting: Vec::with_capacity(options.depth.into()),
            resets: self.shared.resets.load(Ordering::Relaxed),
            pushed: 0,
            statistics: Statistics::default(),
            shared: self.shared.clone(),
        })
    }
}

/// A queue of a [`MemoryDevice`].
pub struct MemoryQueue {
    slots: Slots,
    /// What the device has, in the order in which it came.
    waiting: Vec<Waiting>,
    /// Resets of the device when the queue was opened.
    resets: u64,
    pushed: u32,
    statistics: Statistics,
    shared: Arc<Shared>,
}

/// A request that the device has.
struct Waiting {
    id: RequestId,
    operation: Operation,
    offset: usize,
    fate: Fate,
    /// When it is due, in time or, if it is held, in releases.
    due: u64,
}

impl BlockQueue for MemoryQueue {
    fn push(&mut self, request: Request) -> Result<RequestId, Rejected> {
        let offset = match self.check(&request) {
            Ok(offset) => offset,
            Err(error) => return Err(Rejected { request, error }),
        };
        let mut plan = self.shared.plan.lock();
        let fate = plan.as_mut().map_or(Fate::DONE, |plan| plan(&request));
        let due = match fate.delay {
            Some(delay) => self.now().saturating_add(delay),
            None => self.shared.releases.load(Ordering::Relaxed) + 1,
        };
        drop(plan);
        let Request {
            operation,
            user_data,
            trace,
            ..
        } = request;
        let filled = self.slots.fill(request.buffers).ok();
        let id = filled.expect("there was room").keep(user_data, trace);
        self.waiting.push(Waiting {
            id,
            operation,
            offset,
            fate,
            due,
        });
        self.pushed += 1;
        Ok(id)
    }

    fn kick(&mut self) {
        self.statistics.rung(self.pushed);
        self.pushed = 0;
    }

    fn poll(&mut self, mut completed: impl FnMut(Completion)) -> usize {
        self.kick();
        self.shared.time.fetch_add(LOOK, Ordering::Relaxed);
        let mut count = 0;
        while let Some(next) = self.next_due() {
            let waiting = self.waiting.remove(next);
            let Some(kept) = self.slots.find(waiting.id) else {
                self.statistics.strays += 1;
                continue;
            };
            let mut completion = kept.complete(waiting.fate.result);
            self.perform(&waiting, &mut completion.buffers);
            count += 1;
            completed(completion);
        }
        self.statistics.polled(count);
        count
    }

    fn wait(
        &mut self,
        deadline: u64,
        mut completed: impl FnMut(Completion),
    ) -> Result<usize, Error> {
        loop {
            let late = self.now() >= deadline;
            let count = self.poll(&mut completed);
            if count != 0 || self.in_flight() == 0 {
                return Ok(count);
            }
            if late {
                self.statistics.time_outs += 1;
                return Err(Error::new(
                    ErrorKind::TimedOut,
                    "nothing completed before the deadline: the requests are still in flight",
                ));
            }
            let timed = self.waiting.iter().filter(|one| one.fate.delay.is_some());
            let next = timed.map(|one| one.due).min().unwrap_or(deadline);
            self.shared
                .time
                .fetch_max(next.min(deadline), Ordering::Relaxed);
            self.statistics.wake_ups += 1;
        }
    }

    fn cancel(&mut self, id: RequestId) -> Cancel {
        let Some(waiting) = self.waiting.iter_mut().find(|one| one.id == id) else {
            return Cancel::Unknown;
        };
        if waiting.fate.delay.is_none() {
            return Cancel::Pending;
        }
        let cancelled = Error::new(
            ErrorKind::Cancelled,
            "the application cancelled the request",
        );
        waiting.fate = Fate::fail(cancelled);
        waiting.due = 0;
        Cancel::Ready
    }

    fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    fn now(&self) -> u64 {
        self.shared.time.load(Ordering::Relaxed)
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}

impl MemoryQueue {
    /// Whether the device was reset since the queue was opened.
    fn is_lost(&self) -> bool {
        self.shared.resets.load(Ordering::Relaxed) != self.resets
    }

    /// What a device checks before it accepts a request; returns the request's offset.
    fn check(&self, request: &Request) -> Result<usize, Error> {
        if self.is_lost() {
            return Err(LOST);
        }
        if self.in_flight() == self.capacity() {
            return Err(FULL);
        }
        let limits = &self.shared.limits;
        let (offset, bytes) = (request.offset.0, request.buffers.bytes());
        let block = u64::from(limits.block_size.bytes());
        if request.operation == Operation::Flush {
            return Ok(0);
        }
        if bytes == 0 || !(offset | bytes).is_multiple_of(block) {
            return Err(invalid(
                "offset and length are multiples of the block size, and the length is not zero",
            ));
        }
        if bytes / block > limits.max_transfer.0
            || request.buffers.count() > limits.max_segments as usize
        {
            return Err(invalid(
                "a request is not larger than the device's limits, in bytes and in buffers",
            ));
        }
        let end = offset.checked_add(bytes);
        if end.is_none_or(|end| end / block > limits.capacity.0) {
            return Err(Error::new(
                ErrorKind::OutOfRange,
                "the request reaches past the end of the device",
            ));
        }
        for buffer in (0..).map_while(|index| request.buffers.get(index)) {
            let address = buffer.address(self.shared.space).ok_or(Error::new(
                ErrorKind::NotRegistered,
                "a buffer is of another device's pool: use a pool of this one",
            ))?;
            if buffer.bytes().is_empty()
                || !address.0.is_multiple_of(limits.segment_alignment.into())
            {
                return Err(invalid(
                    "a buffer is empty, or less aligned than the limits say",
                ));
            }
        }
        Ok(offset as usize)
    }

    /// Which of the waiting requests completes next, if one is due.
    fn next_due(&mut self) -> Option<usize> {
        if self.is_lost() {
            let first = self.waiting.first_mut()?;
            first.fate = Fate::fail(LOST);
            return Some(0);
        }
        let (now, releases) = (self.now(), self.shared.releases.load(Ordering::Relaxed));
        let due = |waiting: &Waiting| match waiting.fate.delay {
            Some(_) => waiting.due <= now,
            None => waiting.due <= releases,
        };
        let mut ready = (0..self.waiting.len()).filter(|&index| due(&self.waiting[index]));
        let random = self.random();
        if random == 0 {
            return ready.min_by_key(|&index| self.waiting[index].due);
        }
        // One time in four the look ends here, and what is due waits for the next one.
        let count = ready.clone().count();
        if random & 3 == 0 || count == 0 {
            return None;
        }
        ready.nth((random >> 8) as usize % count)
    }

    /// The next number of the generator (xorshift64), or zero if the order is not to be mixed.
    fn random(&self) -> u64 {
        let mix = |mut state: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let update = |state| (state != 0).then(|| mix(state));
        let order = Ordering::Relaxed;
        let state = self.shared.disorder.fetch_update(order, order, update);
        state.unwrap_or(0)
    }

    /// Moves the data of a request that completes.
    fn perform(&self, waiting: &Waiting, buffers: &mut Buffers) {
        let mut medium = self.shared.medium.lock();
        let mut at = waiting.offset;
        if waiting.operation == Operation::Read {
            if waiting.fate.result.is_err() {
                return;
            }
            let buffers = match buffers {
                Buffers::One(buffer) => core::slice::from_mut(buffer),
                Buffers::List(buffers) => buffers,
                _ => return,
            };
            for buffer in buffers {
                let end = at + buffer.len();
                buffer.copy_from_slice(&medium[at..end]);
                at = end;
            }
        } else {
            let mut left = match waiting.fate.result {
                Ok(()) => usize::MAX,
                Err(_) => usize::try_from(waiting.fate.torn).unwrap_or(usize::MAX),
            };
            for part in (0..).map_while(|index| buffers.get(index)) {
                let buffer = part.bytes();
                let length = buffer.len().min(left);
                medium[at..at + length].copy_from_slice(&buffer[..length]);
                at += length;
                left -= length;
            }
        }
    }
}

const FULL: Error = Error::new(
    ErrorKind::QueueFull,
    "the queue has no room: take completions first",
);
const LOST: Error = Error::new(ErrorKind::Lost, "the device was reset: open another queue");

#[cold]
fn invalid(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidRequest, reason)
}

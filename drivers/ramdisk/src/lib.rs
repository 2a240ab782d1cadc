//! A block driver whose device is memory.
//!
//! It is there so that servers and applications can be tested against something that behaves like a
//! disk: requests take time, complete in another order than they came, and are moved when they
//! complete, by the addresses that they named. The same seed gives the same delays.
//!
//! What stands for the device's way to pinned memory is [`Reach`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{rc::Rc, vec, vec::Vec};
use core::cell::{Cell, RefCell};

use spillway_hal::{
    Clock, DriverError, DriverErrorKind, IoAddress,
    block::{
        BlockBatch, BlockCount, BlockDriver, BlockDriverQueue, BlockLimits, BlockSize, Completed,
        Lba, NamespaceId, Operation, QueueOptions, Request, Segment, Shape,
    },
};

/// How the device reaches memory that was pinned for it.
pub trait Reach {
    /// Reads memory at an address; false if not all of it can be reached.
    fn read(&self, address: IoAddress, bytes: &mut [u8]) -> bool;

    /// Writes memory at an address; false if not all of it can be reached.
    fn write(&self, address: IoAddress, bytes: &[u8]) -> bool;
}

/// How the disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of a block.
    pub block_size: BlockSize,
    /// Blocks.
    pub blocks: BlockCount,
    /// A request takes up to so many nanoseconds; with 0 it is done at the next look.
    pub delay: u64,
    /// For the delays.
    pub seed: u64,
}

/// The only namespace.
pub const NAMESPACE: NamespaceId = NamespaceId(1);
/// Bytes of the largest request.
pub const MAX_TRANSFER: u64 = 1 << 20;
/// Segments of the largest request.
pub const MAX_SEGMENTS: u32 = 128;
/// What addresses are multiples of.
const ALIGNMENT: u32 = 4;

/// A disk of zeros.
pub struct RamDisk<R, C> {
    disk: Rc<Disk<R, C>>,
}

struct Disk<R, C> {
    options: Options,
    medium: RefCell<Vec<u8>>,
    reach: R,
    clock: C,
    random: Cell<u64>,
    resets: Cell<u64>,
}

impl<R: Reach, C: Clock> RamDisk<R, C> {
    /// A disk. `None` if it would have no block, or more than this machine can address.
    pub fn new(reach: R, clock: C, options: Options) -> Option<Self> {
        let bytes = options.blocks.bytes(options.block_size)?;
        let bytes = usize::try_from(bytes).ok().filter(|&bytes| bytes > 0)?;
        Some(Self {
            disk: Rc::new(Disk {
                options,
                medium: RefCell::new(vec![0; bytes]),
                reach,
                clock,
                // Mixed, as the generator begins slowly with a small number.
                random: Cell::new(options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
                resets: Cell::new(0),
            }),
        })
    }

    /// How the device reaches memory.
    pub fn reach(&self) -> &R {
        &self.disk.reach
    }
}

impl<R: Reach, C: Clock> Disk<R, C> {
    fn limits(&self) -> BlockLimits {
        let block_size = self.options.block_size;
        BlockLimits {
            block_size,
            capacity: self.options.blocks,
            max_transfer: BlockCount(MAX_TRANSFER >> block_size.shift()),
            max_segments: MAX_SEGMENTS,
            segment_alignment: ALIGNMENT,
            atomic_write: BlockCount(1),
            volatile_cache: false,
        }
    }

    /// When a request that comes now is done (xorshift64).
    fn due(&self) -> u64 {
        if self.options.delay == 0 {
            return 0;
        }
        let mut state = self.random.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.set(state);
        self.clock.now() + (state >> 11) % (self.options.delay + 1)
    }

    /// Moves the data of a request.
    fn perform(&self, waiting: &Waiting) -> Result<(), DriverError> {
        const ASTRAY: DriverError = DriverError::new(
            DriverErrorKind::Device,
            "the disk cannot reach the memory: it is not pinned",
        );
        let mut medium = self.medium.borrow_mut();
        let mut at = waiting.offset;
        for segment in &waiting.segments {
            let end = at + segment.bytes as usize;
            let bytes = &mut medium[at..end];
            let moved = match waiting.operation {
                Operation::Read => self.reach.write(segment.address, bytes),
                Operation::Write => self.reach.read(segment.address, bytes),
                Operation::Flush => true,
            };
            if !moved {
                return Err(ASTRAY);
            }
            at = end;
        }
        Ok(())
    }
}

impl<R: Reach, C: Clock> BlockDriver for RamDisk<R, C> {
    type Queue = Queue<R, C>;

    fn namespaces(&self) -> &[NamespaceId] {
        &[NAMESPACE]
    }

    fn limits(&self, namespace: NamespaceId) -> Option<BlockLimits> {
        (namespace == NAMESPACE).then(|| self.disk.limits())
    }

    fn open_queue(&mut self, options: QueueOptions) -> Result<Queue<R, C>, DriverError> {
        if options.depth == 0 {
            return Err(invalid("a queue has a depth of at least one"));
        }
        Ok(Queue {
            disk: self.disk.clone(),
            depth: options.depth.into(),
            resets: self.disk.resets.get(),
            waiting: Vec::with_capacity(options.depth.into()),
        })
    }

    fn reset(&mut self) -> Result<(), DriverError> {
        self.disk.resets.set(self.disk.resets.get() + 1);
        Ok(())
    }
}

/// One queue of the disk.
pub struct Queue<R, C> {
    disk: Rc<Disk<R, C>>,
    depth: usize,
    /// Resets of the disk when the queue was opened.
    resets: u64,
    waiting: Vec<Waiting>,
}

/// A request that the disk has.
struct Waiting {
    operation: Operation,
    offset: usize,
    segments: Vec<Segment>,
    tag: u64,
    due: u64,
}

impl<R: Reach, C: Clock> Queue<R, C> {
    fn is_lost(&self) -> bool {
        self.disk.resets.get() != self.resets
    }

    /// What a device checks before it accepts a request.
    fn check(&self, request: &Request<'_>) -> Result<(), DriverError> {
        let limits = self.disk.limits();
        if self.is_lost() {
            return Err(ABORTED);
        }
        if self.waiting.len() == self.depth {
            return Err(DriverError::new(
                DriverErrorKind::QueueFull,
                "the queue has no room: reap first",
            ));
        }
        if request.operation == Operation::Flush {
            return Ok(());
        }
        let bytes: u64 = request.segments.iter().map(|s| u64::from(s.bytes)).sum();
        let blocks = request.blocks;
        if blocks.0 == 0 || blocks.bytes(limits.block_size) != Some(bytes) {
            return Err(invalid(
                "the segments are as long as the blocks, and there are some",
            ));
        }
        if blocks > limits.max_transfer || request.segments.len() > MAX_SEGMENTS as usize {
            return Err(invalid("the request is larger than the limits say"));
        }
        let end = request.lba.checked_add(blocks);
        if request.namespace != NAMESPACE || end.is_none_or(|end| end.0 > limits.capacity.0) {
            return Err(DriverError::new(
                DriverErrorKind::OutOfRange,
                "the request reaches past the end of the disk",
            ));
        }
        Ok(())
    }
}

impl<R: Reach, C: Clock> BlockDriverQueue for Queue<R, C> {
    type Batch<'a>
        = Batch<'a, R, C>
    where
        Self: 'a;
    type Prepared = Shape;

    fn capacity(&self) -> usize {
        self.depth
    }

    fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), DriverError> {
        self.check(request)?;
        let offset = request.lba.byte_offset(self.disk.options.block_size);
        self.waiting.push(Waiting {
            operation: request.operation,
            offset: offset.map_or(0, |offset| offset.0 as usize),
            segments: request.segments.to_vec(),
            tag: request.tag,
            due: self.disk.due(),
        });
        Ok(())
    }

    fn submit_prepared(&mut self, shape: &Shape, lba: Lba, address: IoAddress, tag: u64) -> bool {
        let bytes = shape.blocks.bytes(self.disk.options.block_size);
        let Some(Ok(bytes)) = bytes.map(u32::try_from) else {
            return false;
        };
        if !address.0.is_multiple_of(ALIGNMENT.into()) {
            return false;
        }
        let request = Request {
            operation: shape.operation,
            namespace: shape.namespace,
            lba,
            blocks: shape.blocks,
            segments: &[Segment { address, bytes }],
            flags: shape.flags,
            tag,
        };
        self.submit(&request).is_ok()
    }

    fn batch(&mut self) -> Batch<'_, R, C> {
        Batch(self)
    }

    fn prepare(&self, shape: &Shape) -> Option<Shape> {
        (shape.operation != Operation::Flush).then_some(*shape)
    }

    fn kick(&mut self) {}

    fn reap_into(&mut self, completed: &mut impl Completed) -> usize {
        let before = self.waiting.len();
        if self.is_lost() {
            for waiting in self.waiting.drain(..) {
                completed.failed(waiting.tag, ABORTED);
            }
            return before;
        }
        if before == 0 {
            return 0;
        }
        let now = self.disk.clock.now();
        // In the order in which they are due, whenever the look comes.
        self.waiting.sort_by_key(|waiting| waiting.due);
        let due = self.waiting.partition_point(|waiting| waiting.due <= now);
        for waiting in self.waiting.drain(..due) {
            match self.disk.perform(&waiting) {
                Ok(()) => completed.done(waiting.tag),
                Err(error) => completed.failed(waiting.tag, error),
            }
        }
        due
    }

    fn wait(&mut self, _: u64) -> Result<(), DriverError> {
        Err(DriverError::new(
            DriverErrorKind::Unsupported,
            "the disk has no interrupt",
        ))
    }
}

/// A queue in which requests are being placed.
pub struct Batch<'a, R, C>(&'a mut Queue<R, C>);

impl<R: Reach, C: Clock> BlockBatch for Batch<'_, R, C> {
    type Prepared = Shape;

    fn submit(&mut self, request: &Request<'_>) -> Result<(), DriverError> {
        self.0.submit(request)
    }

    fn submit_prepared(&mut self, shape: &Shape, lba: Lba, address: IoAddress, tag: u64) -> bool {
        self.0.submit_prepared(shape, lba, address, tag)
    }
}

const ABORTED: DriverError = DriverError::new(
    DriverErrorKind::Aborted,
    "the disk was reset: open a new queue",
);

#[cold]
fn invalid(reason: &'static str) -> DriverError {
    DriverError::new(DriverErrorKind::InvalidRequest, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spillway_hal::block::{Lba, RequestFlags};

    /// 64 KiB of memory at address 0.
    struct Memory(RefCell<Vec<u8>>);

    impl Reach for Memory {
        fn read(&self, address: IoAddress, bytes: &mut [u8]) -> bool {
            let memory = self.0.borrow();
            let start = address.0 as usize;
            let found = memory.get(start..start + bytes.len());
            found.is_some_and(|found| {
                bytes.copy_from_slice(found);
                true
            })
        }

        fn write(&self, address: IoAddress, bytes: &[u8]) -> bool {
            let mut memory = self.0.borrow_mut();
            let start = address.0 as usize;
            let found = memory.get_mut(start..start + bytes.len());
            found.is_some_and(|found| {
                found.copy_from_slice(bytes);
                true
            })
        }
    }

    #[derive(Clone)]
    struct Time(Rc<Cell<u64>>);

    impl Clock for Time {
        fn now(&self) -> u64 {
            self.0.get()
        }
        fn pause(&self) {}
        fn sleep_until(&self, deadline: u64) {
            self.0.set(deadline);
        }
    }

    fn disk(delay: u64) -> (RamDisk<Memory, Time>, Time) {
        let time = Time(Rc::default());
        let options = Options {
            block_size: BlockSize::B512,
            blocks: BlockCount(64),
            delay,
            seed: 3,
        };
        let memory = Memory(RefCell::new(vec![0; 64 << 10]));
        (RamDisk::new(memory, time.clone(), options).unwrap(), time)
    }

    fn request(operation: Operation, block: u64, segments: &[Segment]) -> Request<'_> {
        let bytes: u64 = segments.iter().map(|s| u64::from(s.bytes)).sum();
        Request {
            operation,
            namespace: NAMESPACE,
            lba: Lba(block),
            blocks: BlockCount(bytes / 512),
            segments,
            flags: RequestFlags::default(),
            tag: block,
        }
    }

    fn at(address: u64, bytes: u32) -> [Segment; 1] {
        [Segment {
            address: IoAddress(address),
            bytes,
        }]
    }

    fn options(depth: u16) -> QueueOptions {
        QueueOptions {
            depth,
            interrupt: false,
        }
    }

    fn order(seed_delay: u64) -> Vec<u64> {
        let (mut disk, time) = disk(seed_delay);
        let mut queue = disk.open_queue(options(32)).unwrap();
        for block in 0..32 {
            queue
                .submit(&request(Operation::Write, block, &at(0, 512)))
                .unwrap();
        }
        let mut order = Vec::new();
        while queue.in_flight() > 0 {
            queue.reap(|tag, result| {
                assert_eq!(result, Ok(()));
                order.push(tag);
            });
            time.0.set(time.0.get() + 100);
        }
        order
    }

    #[test]
    fn delays_reorder_and_repeat_themselves() {
        let (first, again) = (order(10_000), order(10_000));
        assert_eq!(first, again);
        assert!(!first.is_sorted());
        assert!(order(0).is_sorted());
    }

    #[test]
    fn data_is_moved_at_completion() {
        let (mut disk, time) = disk(1000);
        disk.reach().0.borrow_mut()[..1024].fill(7);
        let mut queue = disk.open_queue(options(4)).unwrap();
        queue
            .submit(&request(Operation::Write, 2, &at(0, 1024)))
            .unwrap();
        disk.reach().0.borrow_mut()[512..1024].fill(8);
        time.0.set(2000);
        assert_eq!(queue.reap(|_, result| result.unwrap()), 1);
        queue
            .submit(&request(Operation::Read, 3, &at(4096, 512)))
            .unwrap();
        time.0.set(4000);
        assert_eq!(queue.reap(|_, result| result.unwrap()), 1);
        assert_eq!(disk.reach().0.borrow()[4096], 8);
    }

    #[test]
    fn the_limits_are_where_they_are_said_to_be() {
        let (mut disk, _) = disk(1000);
        let mut queue = disk.open_queue(options(2)).unwrap();
        let kind = |result: Result<(), DriverError>| result.unwrap_err().kind;
        let past = request(Operation::Read, 63, &at(0, 1024)).blocks;
        assert_eq!(past, BlockCount(2));
        let error = queue.submit(&request(Operation::Read, 63, &at(0, 1024)));
        assert_eq!(kind(error), DriverErrorKind::OutOfRange);
        queue
            .submit(&request(Operation::Read, 63, &at(0, 512)))
            .unwrap();
        let error = queue.submit(&request(Operation::Read, 0, &at(0, 100)));
        assert_eq!(kind(error), DriverErrorKind::InvalidRequest);
        queue
            .submit(&request(Operation::Read, 0, &at(1 << 40, 512)))
            .unwrap();
        let error = queue.submit(&request(Operation::Read, 0, &at(0, 512)));
        assert_eq!(kind(error), DriverErrorKind::QueueFull);
        disk.reset().unwrap();
        let mut aborted = 0;
        queue.reap(|_, result| {
            assert_eq!(kind(result), DriverErrorKind::Aborted);
            aborted += 1;
        });
        assert_eq!(aborted, 2);
        assert!(
            queue
                .submit(&request(Operation::Read, 0, &at(0, 512)))
                .is_err()
        );
    }

    #[test]
    fn memory_that_is_not_pinned_fails_the_request() {
        let (mut disk, _) = disk(0);
        let mut queue = disk.open_queue(options(2)).unwrap();
        queue
            .submit(&request(Operation::Write, 0, &at(1 << 30, 512)))
            .unwrap();
        queue.reap(|_, result| assert_eq!(result.unwrap_err().kind, DriverErrorKind::Device));
    }
}

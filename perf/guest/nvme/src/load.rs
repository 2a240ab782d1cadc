//! The load: random reads of 4 KiB, from a queue into buffers that are pinned once.

use alloc::string::String;

use spillway_hal::{
    Device, DmaBuffer, DmaConstraints, DriverError, DriverErrorKind, FromDevice, IoAddress,
    block::{
        BlockBatch, BlockCount, BlockDriver, BlockDriverQueue, Lba, Operation, QueueOptions,
        Request, RequestFlags, Segment,
    },
};
use spillway_nvme::{Nvme, Queue};

use crate::{NAMESPACE, failed};

/// Bytes of a read, and of a buffer.
pub const BYTES: u32 = 4096;

/// A queue, and what is read into.
pub struct Load<D: Device> {
    queue: Queue<D>,
    _memory: DmaBuffer<D::Dma, FromDevice>,
    target: Target,
    random: Random,
    failed: bool,
}

/// From where to where.
#[derive(Clone, Copy)]
struct Target {
    buffers: IoAddress,
    /// Blocks of a read.
    blocks: BlockCount,
    /// The bits of a random number that make a place to read from.
    places: u64,
}

/// Knuth's MMIX generator, of which the upper bits are used.
#[derive(Clone, Copy)]
pub struct Random(pub u64);

impl Random {
    /// A number of 32 bits.
    #[inline(always)]
    pub fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.0 >> 32
    }
}

impl Target {
    /// A read of a random place into the buffer that begins at `offset`, which is its tag.
    #[inline(always)]
    fn submit(
        &self,
        mut submit: impl FnMut(&Request<'_>) -> Result<(), DriverError>,
        random: &mut Random,
        offset: u64,
    ) -> Result<(), DriverError> {
        submit(&Request {
            operation: Operation::Read,
            namespace: NAMESPACE,
            lba: Lba(random.next() & self.places),
            blocks: self.blocks,
            segments: &[Segment {
                address: self.buffers + offset,
                bytes: BYTES,
            }],
            flags: RequestFlags::default(),
            tag: offset,
        })
    }
}

/// How the reads of a batch came back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Polls {
    /// Polls that found nothing.
    pub vain: u64,
    /// Polls that found something.
    pub pieces: u64,
}

impl<D: Device> Load<D> {
    /// A queue for `depth` reads.
    pub fn new(device: D, driver: &mut Nvme<D>, depth: u16) -> Result<Self, DriverError> {
        let limits = driver.limits(NAMESPACE).ok_or(DriverError::new(
            DriverErrorKind::Unsupported,
            "the disk has no namespace 1",
        ))?;
        let blocks = BlockCount(u64::from(BYTES / limits.block_size.bytes()));
        let options = QueueOptions {
            depth,
            interrupt: false,
        };
        let memory = device.allocate(
            usize::from(depth) * BYTES as usize,
            DmaConstraints::default(),
        )?;
        // The largest power of two that is not more, and aligned to a read.
        let capacity = 1 << limits.capacity.0.max(1).ilog2().min(32);
        Ok(Self {
            queue: driver.open(options)?,
            target: Target {
                buffers: memory.io_address(0),
                blocks,
                places: (capacity - 1) & !(blocks.0 - 1),
            },
            _memory: memory,
            random: Random(0),
            failed: false,
        })
    }

    /// Submits a read of a random place into the buffer at `offset`.
    #[inline(always)]
    pub fn submit(&mut self, offset: u64) -> Result<(), DriverError> {
        let submit = |request: &Request<'_>| self.queue.submit(request);
        self.target.submit(submit, &mut self.random, offset)
    }

    /// Tells the device of what was submitted.
    #[inline(always)]
    pub fn kick(&mut self) {
        self.queue.kick();
    }

    /// Reaps what is there.
    #[inline(always)]
    pub fn reap(&mut self, mut each: impl FnMut(u64)) -> usize {
        let failed = &mut self.failed;
        self.queue.reap(|offset, result| {
            *failed |= result.is_err();
            each(offset);
        })
    }
}

/// Reads that are sent in batches and come back.
pub trait Batches {
    /// Submits `depth` reads and rings for them once.
    fn send(&mut self, depth: u16) -> Result<(), String>;

    /// Takes what is there; returns how many.
    fn poll(&mut self) -> usize;

    /// An error if any read has failed.
    fn check(&self) -> Result<(), String>;

    /// Polls until `count` reads have come back, but not more than `most` times in vain. Never
    /// inlined, so that a poll in vain costs the same wherever it is counted.
    #[inline(never)]
    fn drain(&mut self, mut count: usize, most: u64) -> Polls {
        let mut polls = Polls::default();
        while count > 0 && polls.vain < most {
            let reaped = self.poll();
            polls.vain += u64::from(reaped == 0);
            polls.pieces += u64::from(reaped != 0);
            count -= reaped;
        }
        polls
    }
}

impl<D: Device> Batches for Load<D> {
    #[inline(always)]
    fn send(&mut self, depth: u16) -> Result<(), String> {
        // In registers, not in memory.
        let (target, mut random) = (self.target, self.random);
        let mut offset = 0;
        let mut batch = self.queue.batch();
        while offset < u64::from(depth) * u64::from(BYTES) {
            target
                .submit(|request| batch.submit(request), &mut random, offset)
                .map_err(failed)?;
            offset += u64::from(BYTES);
        }
        drop(batch);
        self.random = random;
        self.kick();
        Ok(())
    }

    #[inline(always)]
    fn poll(&mut self) -> usize {
        self.reap(|_| {})
    }

    fn check(&self) -> Result<(), String> {
        match self.failed {
            false => Ok(()),
            true => Err("a read has failed".into()),
        }
    }
}

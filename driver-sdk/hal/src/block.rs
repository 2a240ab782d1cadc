//! What a block driver offers to whoever links it: an application, or the block server.
//!
//! The driver moves addresses, not bytes: a request names memory that the caller has pinned for
//! the device, and the caller keeps that memory alive until the request is given back.

use core::ops::Add;

use crate::{DriverError, IoAddress};

/// The number of a block on its namespace, counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Lba(pub u64);

/// So many blocks: one is one, never zero-based.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct BlockCount(pub u64);

/// Bytes from the start of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct ByteOffset(pub u64);

/// A namespace of a controller, as the controller numbers it; 1 for a device that has only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct NamespaceId(pub u32);

impl Lba {
    /// The block after the last of `blocks`, or `None` past the end of the address space.
    #[inline]
    pub const fn checked_add(self, blocks: BlockCount) -> Option<Self> {
        match self.0.checked_add(blocks.0) {
            Some(end) => Some(Self(end)),
            None => None,
        }
    }

    /// Where the block begins, or `None` past the end of the address space.
    pub const fn byte_offset(self, block_size: BlockSize) -> Option<ByteOffset> {
        match self.0.checked_mul(block_size.bytes() as u64) {
            Some(offset) => Some(ByteOffset(offset)),
            None => None,
        }
    }
}

impl ByteOffset {
    /// The block that begins here, or `None` if none does.
    pub const fn lba(self, block_size: BlockSize) -> Option<Lba> {
        let mask = block_size.bytes() as u64 - 1;
        if self.0 & mask == 0 {
            Some(Lba(self.0 >> block_size.shift()))
        } else {
            None
        }
    }
}

impl BlockCount {
    /// Bytes in so many blocks, or `None` above 2^64.
    #[inline]
    pub const fn bytes(self, block_size: BlockSize) -> Option<u64> {
        self.0.checked_mul(block_size.bytes() as u64)
    }
}

impl Add for BlockCount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Bytes of a block: a power of two from 512 to 64 Ki.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockSize(u8);

impl BlockSize {
    /// 512 bytes.
    pub const B512: Self = Self(9);
    /// 4096 bytes.
    pub const B4096: Self = Self(12);

    /// A block size as the exponent of two that devices report; `None` below 9 or above 16.
    pub const fn from_shift(shift: u32) -> Option<Self> {
        if shift >= 9 && shift <= 16 {
            Some(Self(shift as u8))
        } else {
            None
        }
    }

    /// A block size in bytes; `None` unless it is a power of two from 512 to 64 Ki.
    pub const fn from_bytes(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() {
            Self::from_shift(bytes.trailing_zeros())
        } else {
            None
        }
    }

    /// In bytes.
    #[inline]
    pub const fn bytes(self) -> u32 {
        1 << self.0
    }

    /// The exponent of two.
    #[inline]
    pub const fn shift(self) -> u32 {
        self.0 as u32
    }
}

/// What a namespace holds and what one request on it may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLimits {
    /// Bytes of a block.
    pub block_size: BlockSize,
    /// Blocks of the namespace.
    pub capacity: BlockCount,
    /// Blocks of the largest request. The driver splits nothing that is not larger.
    pub max_transfer: BlockCount,
    /// Segments of the largest request.
    pub max_segments: u32,
    /// Every segment's address is a multiple of this, in bytes.
    pub segment_alignment: u32,
    /// Blocks that are written whole or not at all when power fails; at least one.
    pub atomic_write: BlockCount,
    /// Whether a completed write may be lost when power fails, unless it is flushed or has
    /// [`RequestFlags::fua`].
    pub volatile_cache: bool,
}

/// A piece of pinned memory that holds a request's data, or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where the device finds the first byte.
    pub address: IoAddress,
    /// Bytes, contiguous for the device.
    pub bytes: u32,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Device to memory.
    Read,
    /// Memory to device.
    Write,
    /// Makes every write that has *completed* durable. Has no blocks and no segments. A write that
    /// is still in flight may or may not be covered.
    Flush,
}

/// How a request is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RequestFlags {
    /// Force unit access: a write is durable when it completes, a read comes from the medium.
    pub fua: bool,
}

/// One request to a [`BlockDriverQueue`].
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What to do.
    pub operation: Operation,
    /// Where.
    pub namespace: NamespaceId,
    /// The first block.
    pub lba: Lba,
    /// How many blocks.
    pub blocks: BlockCount,
    /// The memory: together exactly as long as the blocks.
    pub segments: &'a [Segment],
    /// How to do it.
    pub flags: RequestFlags,
    /// Given back with the completion; the driver does not look at it.
    pub tag: u64,
}

/// What reads, or writes, have in common that differ in place, memory and tag only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Read or write.
    pub operation: Operation,
    /// Where.
    pub namespace: NamespaceId,
    /// How many blocks, in one segment that is exactly as long.
    pub blocks: BlockCount,
    /// How to do it.
    pub flags: RequestFlags,
}

/// What a queue is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// Requests that can be in flight. The driver may give less, see
    /// [`capacity`](BlockDriverQueue::capacity).
    pub depth: u16,
    /// Whether the queue gets an interrupt vector, without which
    /// [`wait`](BlockDriverQueue::wait) is `Unsupported`.
    pub interrupt: bool,
}

/// A block device's controller, initialised.
///
/// # What the implementer promises
///
/// - It has no threads and no locks of its own; queues do not share state on their paths.
/// - It validates what the device says, once, before it appears in [`limits`](Self::limits).
///
/// # What the caller promises
///
/// - It keeps the controller alive as long as it uses queues.
pub trait BlockDriver {
    /// A queue, owned by who uses it.
    type Queue: BlockDriverQueue;

    /// The namespaces, in ascending order.
    fn namespaces(&self) -> &[NamespaceId];

    /// What a namespace holds and permits; `None` if there is no such namespace.
    fn limits(&self, namespace: NamespaceId) -> Option<BlockLimits>;

    /// Opens one more queue.
    ///
    /// # Errors
    ///
    /// `Unsupported` when the device has no further queue or vector, `InvalidRequest` for a depth of
    /// zero; those of the back end.
    fn open_queue(&mut self, options: QueueOptions) -> Result<Self::Queue, DriverError>;

    /// Takes the device back from whatever state it is in. Once this returns, with or without an
    /// error, the device reaches no memory of any request, and each queue that was open gives back
    /// what it had in flight as `Aborted` by its next [`reap`](BlockDriverQueue::reap). What is
    /// submitted to it before that may be accepted, and is given back by the same call; afterwards it
    /// accepts nothing. New queues can be opened if this succeeded.
    ///
    /// # Errors
    ///
    /// `TimedOut` or `Gone` when the device does not come back; it was then disconnected.
    fn reset(&mut self) -> Result<(), DriverError>;
}

/// One queue of a block device: submit some, [`kick`](Self::kick) once, reap.
///
/// # What the implementer promises
///
/// - Every request that was accepted is given back by [`reap`](Self::reap) exactly once, with its
///   own tag, whatever the device does; and not before the device has let go of its memory. When
///   the device breaks its rules, does not answer, or dies, requests are given back after a reset.
/// - A request that is refused has no effect.
/// - Requests may complete in any order.
///
/// # What the caller promises
///
/// - The memory behind the segments is pinned for this device, in the right direction, and stays
///   so until the request is given back. With an IOMMU a broken promise fails that request; it
///   harms nobody else.
/// - It reaps until nothing is in flight, or resets the device, before it drops the queue.
pub trait BlockDriverQueue {
    /// What [`batch`](Self::batch) hands out.
    type Batch<'a>: BlockBatch<Prepared = Self::Prepared>
    where
        Self: 'a;
    /// A [`Shape`] that the queue has checked.
    type Prepared: Copy;

    /// Requests that can be in flight.
    fn capacity(&self) -> usize;

    /// Requests that are in flight.
    fn in_flight(&self) -> usize;

    /// Places a request in the queue. The device hears of it at the next [`kick`](Self::kick).
    ///
    /// # Errors
    ///
    /// `QueueFull`; `InvalidRequest`, `OutOfRange` and `Unsupported` for a request outside the
    /// namespace's limits; `Aborted` or `Gone` after the device was reset or lost.
    fn submit(&mut self, request: &Request<'_>) -> Result<(), DriverError>;

    /// The same as [`BlockBatch::submit_prepared`].
    #[must_use = "the request may have to be submitted in full"]
    fn submit_prepared(
        &mut self,
        prepared: &Self::Prepared,
        lba: Lba,
        address: IoAddress,
        tag: u64,
    ) -> bool;

    /// A way to place several requests, which is cheaper than one by one: what the queue has in
    /// memory, the batch has in registers, until it is dropped. The device hears of them at the next
    /// [`kick`](Self::kick), as always. A batch that is forgotten (`mem::forget`) leaves the queue
    /// without room until the device is reset.
    fn batch(&mut self) -> Self::Batch<'_>;

    /// Checks all that requests of a shape have in common, once for all of them; `None` if the queue
    /// refuses such requests, or has no shorter way for them. It is for this queue, and for other
    /// queues of the same driver.
    fn prepare(&self, shape: &Shape) -> Option<Self::Prepared>;

    /// Tells the device of everything that was submitted since the last call: at most one register
    /// write for that and one for what was reaped meanwhile, none if nothing was submitted.
    fn kick(&mut self);

    /// Gives back what has completed: tells `completed` of each request and returns how many there
    /// were. Never waits.
    fn reap_into(&mut self, completed: &mut impl Completed) -> usize;

    /// The same with a closure: calls `completed(tag, result)` for each request.
    #[inline(always)]
    fn reap(&mut self, mut completed: impl FnMut(u64, Result<(), DriverError>)) -> usize {
        self.reap_into(&mut completed)
    }

    /// Sleeps until there may be something to reap, or the clock reaches `deadline`. It arms the
    /// interrupt and looks at the queue once more before it sleeps, so no completion is slept over.
    ///
    /// # Errors
    ///
    /// `TimedOut` at the deadline, `Unsupported` for a queue without an
    /// interrupt; those of the back end.
    fn wait(&mut self, deadline: u64) -> Result<(), DriverError>;
}

/// A queue in which requests are being placed, see [`BlockDriverQueue::batch`].
pub trait BlockBatch {
    /// See [`BlockDriverQueue::Prepared`].
    type Prepared: Copy;

    /// The same as [`BlockDriverQueue::submit`].
    ///
    /// # Errors
    ///
    /// The same.
    fn submit(&mut self, request: &Request<'_>) -> Result<(), DriverError>;

    /// Places a request of a shape that was prepared, with its first block and where the device
    /// finds its memory. If it says false, for a place or an address outside of the limits, for want
    /// of room, or because this one is not so simple, nothing has happened: the request is to be
    /// [submitted](Self::submit) in full, which says why, or finds a way.
    #[must_use = "the request may have to be submitted in full"]
    fn submit_prepared(
        &mut self,
        prepared: &Self::Prepared,
        lba: Lba,
        address: IoAddress,
        tag: u64,
    ) -> bool;
}

/// Who gets requests back from a [`BlockDriverQueue`]. Success and failure come by two methods, so
/// that one can be part of the driver's loop and the other be far from it.
pub trait Completed {
    /// The request with this tag is done.
    fn done(&mut self, tag: u64);

    /// The request with this tag has failed.
    fn failed(&mut self, tag: u64, error: DriverError);
}

impl<F: FnMut(u64, Result<(), DriverError>)> Completed for F {
    #[inline(always)]
    fn done(&mut self, tag: u64) {
        self(tag, Ok(()));
    }

    #[inline]
    fn failed(&mut self, tag: u64, error: DriverError) {
        self(tag, Err(error));
    }
}

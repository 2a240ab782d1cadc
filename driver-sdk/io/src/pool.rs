//! Memory that is registered with a device, and given out in buffers.

use alloc::{boxed::Box, sync::Arc};
use core::{
    fmt,
    num::NonZeroU64,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use spillway_hal::{Both, DmaBuffer, DmaMemory, IoAddress};

use crate::{
    Buffer, Error, ErrorKind,
    granules::{GRANULE, Granules},
};

/// Memory that a pool can be made of.
///
/// # Safety
///
/// From the moment at which a pool is made of it, until it is dropped, and wherever the value is
/// moved:
///
/// - [`bytes`](Self::bytes) is always the same range, and initialised; every thread may read and
///   write it, also through references.
/// - Nothing else in the process reads or writes it: no reference to it exists, and the value's
///   other methods are not used. A device may read and write it by DMA.
/// - It begins at a multiple of 512 bytes.
pub unsafe trait PoolMemory: Send + Sync + 'static {
    /// Where the memory is mapped, and how long it is.
    fn bytes(&self) -> NonNull<[u8]>;
}

// SAFETY: the direction is only a type around the memory, and the pool's user has no other way to
// the memory, since the pool owns the value.
unsafe impl<M: DmaMemory + PoolMemory> PoolMemory for DmaBuffer<M, Both> {
    fn bytes(&self) -> NonNull<[u8]> {
        self.memory().bytes()
    }
}

/// Who understands a pool's addresses: one device at level 4, one connection to a server below it.
/// No two are the same in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IoSpace(NonZeroU64);

impl IoSpace {
    /// One that nobody has.
    pub(crate) fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        Self(NonZeroU64::new(number).expect("nobody opens 2^64 devices"))
    }
}

/// Memory that is registered with a device, from which [`Buffer`]s are taken.
///
/// A pool is made once, by [`BlockDevice::create_pool`](crate::BlockDevice::create_pool), or
/// by [`register`](crate::BlockDevice::register) of memory that the application already has. It is
/// pinned for as long as the pool or one of its buffers lives. So nothing is mapped or unmapped on
/// the way of a request.
///
/// Cloning is cheap, and clones share the memory. Taking and giving back is lock-free.
#[derive(Clone)]
pub struct Pool {
    region: Arc<Region>,
}

/// What buffers know of their pool.
pub(crate) struct Region {
    /// The first byte.
    pub(crate) start: NonNull<u8>,
    space: IoSpace,
    /// What is added to a pointer, with wrap-around, to get the device's address.
    translation: u64,
    granules: Granules,
    /// How many granules there are.
    count: usize,
    /// Keeps the memory mapped and pinned.
    _memory: Box<dyn Keep>,
}

/// Something that is only kept, and dropped in the end.
trait Keep: Send + Sync {}
impl<M: PoolMemory> Keep for M {}

// SAFETY: the pointer is only made into references by buffers, each of which owns its granules; the
// memory itself may be used by all threads, as `PoolMemory` promises. The rest is `Send`.
unsafe impl Send for Region {}
// SAFETY: as above; what is changed through a shared region is atomic.
unsafe impl Sync for Region {}

impl Region {
    /// Where the device of `space` finds what is at `pointer`, which is in this region.
    #[inline]
    pub(crate) fn address(&self, space: IoSpace, pointer: *mut u8) -> Option<IoAddress> {
        let address = (pointer.addr() as u64).wrapping_add(self.translation);
        (self.space == space).then_some(IoAddress(address))
    }

    /// Makes granules free for others.
    #[inline]
    pub(crate) fn give(&self, first: u32, count: u32) {
        self.granules.give(first as usize, count as usize);
    }
}

impl Pool {
    /// The bytes of the smallest piece of a pool, and the alignment of every buffer: the smallest
    /// block that a device has.
    pub const GRANULE: usize = GRANULE;

    /// Makes a pool of memory whose first byte the device of `space` finds at `address`. What
    /// exceeds a multiple of [`GRANULE`](Self::GRANULE) is not used.
    pub(crate) fn new(
        memory: impl PoolMemory,
        space: IoSpace,
        address: IoAddress,
    ) -> Result<Self, Error> {
        let bytes = memory.bytes();
        let start = bytes.cast::<u8>();
        let count = bytes.len() / GRANULE;
        if count == 0 || u32::try_from(count).is_err() {
            return Err(invalid("a pool has 512 bytes to 2 TiB"));
        }
        if !start.addr().get().is_multiple_of(GRANULE) {
            return Err(invalid("a pool begins at a multiple of 512 bytes"));
        }
        let region = Region {
            start,
            space,
            translation: address.0.wrapping_sub(start.addr().get() as u64),
            granules: Granules::new(count),
            count,
            _memory: Box::new(memory),
        };
        Ok(Self {
            region: Arc::new(region),
        })
    }

    /// Takes a buffer of `bytes`. Its content is whatever its last user left.
    ///
    /// A buffer of up to 4 KiB never crosses a page, a larger one begins on a page, one of more
    /// than 32 KiB at a multiple of 32 KiB of the pool.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` if there is no such place left; `InvalidRequest` for no bytes, or 4 GiB and
    /// more.
    pub fn allocate(&self, bytes: usize) -> Result<Buffer, Error> {
        let (Ok(length), 1..) = (u32::try_from(bytes), bytes) else {
            return Err(invalid("a buffer has at least a byte, and less than 4 GiB"));
        };
        let count = bytes.div_ceil(GRANULE);
        let first = self.region.granules.take(count).ok_or(Error::new(
            ErrorKind::OutOfMemory,
            "the pool has no room for a buffer of this size: give buffers back, or make it larger",
        ))?;
        // SAFETY: `take` gives these granules to nobody else, and they are inside the region.
        Ok(unsafe { Buffer::new(self.region.clone(), first as u32, count as u32, length) })
    }

    /// Bytes of the pool.
    pub fn capacity(&self) -> usize {
        self.region.count * GRANULE
    }

    /// Bytes that are in no buffer at the moment; they need not be next to each other.
    pub fn available(&self) -> usize {
        self.region.granules.available() * GRANULE
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Pool")
            .field("capacity", &self.capacity())
            .field("available", &self.available())
            .finish()
    }
}

#[cold]
fn invalid(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidRequest, reason)
}

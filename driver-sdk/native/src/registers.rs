//! A mapped BAR.

use alloc::sync::Arc;
use core::{
    fmt,
    ptr::NonNull,
    sync::atomic::{Ordering, fence},
};

use spillway_hal::{Readable, Register, Word, Writable};
use spillway_rt::object::{Mapping, PciFunction};

/// A BAR of a function, mapped uncached. The mapping ends with the last clone; after a revocation
/// an access ends the process with a page fault.
#[derive(Clone)]
pub struct Registers {
    /// The BAR's first byte, aligned to the BAR's size or a page, whichever is less.
    start: NonNull<u8>,
    length: usize,
    owner: Arc<Owner>,
}

/// What keeps the registers mapped.
#[derive(Debug)]
struct Owner {
    _mapping: Mapping,
    /// The function is not given back as long as this lives.
    _function: Arc<PciFunction>,
}

// SAFETY: the registers belong to the process, not to a thread, and each access is one bus access,
// which no other can tear. Their order among threads is the driver's matter, not memory's.
unsafe impl Send for Registers {}
// SAFETY: as above.
unsafe impl Sync for Registers {}

impl Registers {
    /// The `length` bytes from `offset` in a mapping, readable and writable, of a BAR's pages.
    /// `None` if they are not all inside.
    pub(crate) fn new(
        mapping: Mapping,
        offset: usize,
        length: usize,
        function: Arc<PciFunction>,
    ) -> Option<Self> {
        let end = offset.checked_add(length)?;
        if length == 0 || end > mapping.len() {
            return None;
        }
        // SAFETY: `offset` is inside the mapping.
        let start = unsafe { NonNull::new_unchecked(mapping.as_ptr().add(offset)) };
        let owner = Owner {
            _mapping: mapping,
            _function: function,
        };
        Some(Self {
            start,
            length,
            owner: Arc::new(owner),
        })
    }

    /// Where a register of `T` at `offset` is, which is a multiple of its size by the promise of
    /// [`Register`].
    #[inline(always)]
    fn at<T: Word>(&self, offset: usize) -> *mut T {
        // An offset has 32 bits, so the sum does not overflow.
        if offset + T::BYTES > self.length {
            outside(offset, self.length);
        }
        // SAFETY: inside the mapping, which lives as long as `owner`.
        unsafe { self.start.as_ptr().add(offset).cast() }
    }
}

#[cold]
#[inline(never)]
fn outside(offset: usize, length: usize) -> ! {
    panic!("a register at {offset:#x} is outside of its BAR of {length:#x} bytes");
}

impl spillway_hal::Registers for Registers {
    #[inline]
    fn len(&self) -> usize {
        self.length
    }

    #[inline(always)]
    fn read<T: Word, A: Readable>(&self, register: Register<T, A>) -> T {
        let at = self.at::<T>(register.offset());
        // SAFETY: `at` is inside the mapping and aligned, and a `Word` has no invalid values. The
        // device answers in any state; reads that have effects have them on the device alone.
        let value = unsafe { at.read_volatile() };
        // What the device stored before is seen by every later load: the processor keeps that
        // order for uncached reads (Intel SDM vol. 3, 9.2.2), this keeps the compiler to it.
        fence(Ordering::Acquire);
        value
    }

    #[inline(always)]
    fn write<T: Word, A: Writable>(&self, register: Register<T, A>, value: T) {
        let at = self.at::<T>(register.offset());
        // Stores to memory come first: the processor keeps stores in order (Intel SDM vol. 3,
        // 9.2.2), this keeps the compiler to it.
        fence(Ordering::Release);
        // SAFETY: `at` is inside the mapping and aligned; the page is writable, or the write ends
        // the process. What the device does with the value reaches pinned memory at most, which
        // nobody has a reference into.
        unsafe { at.write_volatile(value) };
    }
}

impl fmt::Debug for Registers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Registers")
            .field("length", &self.length)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

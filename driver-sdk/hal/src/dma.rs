//! Memory that driver and device share.

use core::marker::PhantomData;
use core::ops::Range;

use crate::{DmaDirection, DriverReads, DriverWrites, IoAddress, Word};

/// Pinned memory: the device reaches it under its I/O addresses, the driver through these methods.
/// Drivers use it wrapped in a [`DmaBuffer`], which permits only what the direction allows.
///
/// Offsets and lengths are in bytes. Values are little-endian, as they are on the bus.
///
/// # What the implementer promises
///
/// - The memory is pinned and contiguous in the device's addresses: byte `n` is at
///   `io_address(0) + n`, as long as the value lives. When it is dropped the device loses access
///   first; only then may the memory be used for anything else.
/// - The device may change it at any moment. So accesses are volatile: none is left out, doubled,
///   or made by way of a reference. One of up to 8 bytes is never torn.
/// - Accesses keep their order among each other as far as the compiler is concerned. Only
///   [`load_acquire`](Self::load_acquire) and [`store_release`](Self::store_release), a register
///   access and an interrupt order them for the processor and the device as well.
/// - Every access is checked, and panics outside the memory or at an unaligned offset, like an
///   index into a slice. The check is all that a load or store costs.
///
/// # What the caller promises
///
/// - It loads what it checks once, into a private copy, and checks and uses that copy.
/// - It keeps no index, length or pointer in this memory that it would believe when read back.
/// - It keeps the value alive until the device has been told to forget its addresses, by the
///   device's own protocol or by a reset.
pub trait DmaMemory {
    /// Bytes.
    fn len(&self) -> usize;

    /// Whether there are no bytes; no back end gives such memory away.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the device finds the byte at `offset`.
    fn io_address(&self, offset: usize) -> IoAddress;

    /// Loads one value from `offset`, a multiple of its size.
    fn load<T: Word>(&self, offset: usize) -> T;

    /// The same; whatever the device stored before this value is visible to every later load.
    fn load_acquire<T: Word>(&self, offset: usize) -> T;

    /// Stores one value at `offset`, a multiple of its size.
    fn store<T: Word>(&self, offset: usize, value: T);

    /// The same; the device sees every earlier store no later than this one.
    fn store_release<T: Word>(&self, offset: usize, value: T);

    /// Loads `N` words of 8 bytes from `offset`, a multiple of 8: an entry of a ring, in one check.
    /// The device may change the entry between two words.
    fn load_words<const N: usize>(&self, offset: usize) -> [u64; N];

    /// Stores `N` words of 8 bytes at `offset`, a multiple of 8, in ascending order and in one check.
    fn store_words<const N: usize>(&self, offset: usize, words: [u64; N]);

    /// Makes the first `bytes` a ring, a power of two that is at least 64. At first it is the largest
    /// power of two in the memory.
    ///
    /// # Panics
    ///
    /// For any other number, and for more than there are.
    fn set_ring(&mut self, bytes: usize);

    /// Bytes of the ring.
    fn ring(&self) -> usize;

    /// Stores an entry of `N` words of 8 bytes, at most 8 and a power of two, in a ring of such
    /// entries, in ascending order. The index wraps around, so no entry is outside and there is
    /// nothing to check. `None` leaves a word as it is.
    #[inline]
    fn store_entry<const N: usize>(&self, index: usize, words: [Option<u64>; N]) {
        const { assert!(N.is_power_of_two() && N <= 8) };
        let offset = index.wrapping_mul(8 * N) & (self.ring() - 1);
        for (index, word) in words.into_iter().enumerate() {
            if let Some(word) = word {
                self.store(offset + 8 * index, word);
            }
        }
    }

    /// Loads the value at `offset` in each of these entries of `BYTES` bytes, one after another, as
    /// [`load_acquire`](Self::load_acquire) does. All are checked at once and before, each is loaded
    /// when it is asked for.
    #[inline]
    fn load_entries<T: Word, const BYTES: usize>(
        &self,
        entries: Range<usize>,
        offset: usize,
    ) -> impl ExactSizeIterator<Item = T> {
        entries.map(move |entry| self.load_acquire(entry * BYTES + offset))
    }

    /// Copies out `bytes.len()` bytes from `offset`, in any order and width.
    fn copy_to_slice(&self, offset: usize, bytes: &mut [u8]);

    /// Copies in `bytes` at `offset`, in any order and width.
    fn copy_from_slice(&self, offset: usize, bytes: &[u8]);

    /// Stores `value` in `length` bytes from `offset`.
    fn fill(&self, offset: usize, length: usize, value: u8);

    /// Where the memory is mapped, aligned to at least 8 bytes. For the layer that lends it to
    /// applications as slices; a driver has no use for it.
    fn as_ptr(&self) -> *mut u8;
}

/// DMA memory with its direction in the type.
///
/// ```compile_fail
/// use spillway_hal::{DmaBuffer, DmaMemory, FromDevice};
///
/// fn forge(completions: &DmaBuffer<impl DmaMemory, FromDevice>) {
///     completions.store(0, 1u32); // only the device writes here
/// }
/// ```
#[derive(Debug)]
pub struct DmaBuffer<M, D> {
    memory: M,
    direction: PhantomData<fn() -> D>,
}

impl<M: DmaMemory, D: DmaDirection> DmaBuffer<M, D> {
    /// Wraps memory that was pinned for direction `D`. Back ends call this.
    pub const fn new(memory: M) -> Self {
        Self {
            memory,
            direction: PhantomData,
        }
    }

    /// Bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// Where the device finds the byte at `offset`. Panics at or past the end.
    #[inline]
    pub fn io_address(&self, offset: usize) -> IoAddress {
        self.memory.io_address(offset)
    }

    /// Makes the first `bytes` a ring, see [`DmaMemory::set_ring`].
    pub fn set_ring(&mut self, bytes: usize) {
        self.memory.set_ring(bytes);
    }

    /// Sets all bytes to zero, whatever the direction: a ring before its first lap.
    pub fn clear(&self) {
        self.memory.fill(0, self.memory.len(), 0);
    }

    /// The memory itself, without the direction's protection.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// The same, taken out: for a back end on top of another.
    pub fn into_memory(self) -> M {
        self.memory
    }
}

/// See the methods of [`DmaMemory`].
impl<M: DmaMemory, D: DriverReads> DmaBuffer<M, D> {
    /// Loads one value from `offset`, a multiple of its size.
    #[inline]
    pub fn load<T: Word>(&self, offset: usize) -> T {
        self.memory.load(offset)
    }

    /// Loads one value; whatever the device stored before it is visible to every later load.
    #[inline]
    pub fn load_acquire<T: Word>(&self, offset: usize) -> T {
        self.memory.load_acquire(offset)
    }

    /// Loads `N` words of 8 bytes from `offset`, a multiple of 8.
    #[inline]
    pub fn load_words<const N: usize>(&self, offset: usize) -> [u64; N] {
        self.memory.load_words(offset)
    }

    /// Loads the value at `offset` in each of these entries of `BYTES` bytes, see
    /// [`DmaMemory::load_entries`].
    #[inline(always)]
    pub fn load_entries<T: Word, const BYTES: usize>(
        &self,
        entries: Range<usize>,
        offset: usize,
    ) -> impl ExactSizeIterator<Item = T> {
        self.memory.load_entries::<T, BYTES>(entries, offset)
    }

    /// Copies out `bytes.len()` bytes from `offset`.
    #[inline]
    pub fn copy_to_slice(&self, offset: usize, bytes: &mut [u8]) {
        self.memory.copy_to_slice(offset, bytes);
    }
}

/// See the methods of [`DmaMemory`].
impl<M: DmaMemory, D: DriverWrites> DmaBuffer<M, D> {
    /// Stores one value at `offset`, a multiple of its size.
    #[inline]
    pub fn store<T: Word>(&self, offset: usize, value: T) {
        self.memory.store(offset, value);
    }

    /// Stores one value; the device sees every earlier store no later than this one.
    #[inline]
    pub fn store_release<T: Word>(&self, offset: usize, value: T) {
        self.memory.store_release(offset, value);
    }

    /// Stores `N` words of 8 bytes at `offset`, a multiple of 8.
    #[inline]
    pub fn store_words<const N: usize>(&self, offset: usize, words: [u64; N]) {
        self.memory.store_words(offset, words);
    }

    /// Stores an entry of a ring, all words but those that are `None`, see
    /// [`DmaMemory::store_entry`].
    #[inline(always)]
    pub fn store_entry<const N: usize>(&self, index: usize, words: [Option<u64>; N]) {
        self.memory.store_entry(index, words);
    }

    /// Copies in `bytes` at `offset`.
    #[inline]
    pub fn copy_from_slice(&self, offset: usize, bytes: &[u8]) {
        self.memory.copy_from_slice(offset, bytes);
    }

    /// Stores `value` in `length` bytes from `offset`.
    pub fn fill(&self, offset: usize, length: usize, value: u8) {
        self.memory.fill(offset, length, value);
    }
}

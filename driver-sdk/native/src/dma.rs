//! Memory that the process and its device share.

use alloc::sync::Arc;
use core::{
    marker::PhantomData,
    ops::Range,
    ptr::NonNull,
    sync::atomic::{Ordering, fence},
};

use spillway_hal::{IoAddress, PAGE_SIZE, Word};
use spillway_rt::object::{Mapping, PciFunction, Pin};

/// Pinned memory, mapped into the process.
#[derive(Debug)]
pub struct DmaMemory {
    start: NonNull<u8>,
    /// At least a page.
    length: usize,
    /// Bytes of the ring, less one: a power of two from 64 up to the length, less one.
    ring_mask: usize,
    address: u64,
    // In this order the fields are dropped: the device loses the memory before the process does.
    _pin: Pin,
    _mapping: Mapping,
    /// The function is not given back as long as this lives.
    _function: Arc<PciFunction>,
}

// SAFETY: the memory belongs to the process, not to a thread. Its users expect that somebody else,
// namely the device, changes it at any time.
unsafe impl Send for DmaMemory {}
// SAFETY: as above; accesses are volatile and never through references, of at most 8 aligned bytes.
unsafe impl Sync for DmaMemory {}

impl DmaMemory {
    /// `length` bytes from `offset` on in a mapping, readable and writable, of pages that are
    /// pinned: byte `offset` at `address`. `None` if they are not all inside, or less than a page.
    pub(crate) fn new(
        pin: Pin,
        mapping: Mapping,
        offset: usize,
        length: usize,
        address: u64,
        function: Arc<PciFunction>,
    ) -> Option<Self> {
        let end = offset.checked_add(length)?;
        let right = length >= PAGE_SIZE && end <= mapping.len() && offset.is_multiple_of(PAGE_SIZE);
        if !right {
            return None;
        }
        // SAFETY: `offset` is inside the mapping.
        let start = unsafe { NonNull::new_unchecked(mapping.as_ptr().add(offset)) };
        Some(Self {
            start,
            length,
            ring_mask: (1 << length.ilog2()) - 1,
            address,
            _pin: pin,
            _mapping: mapping,
            _function: function,
        })
    }

    /// Where `count` values at `offset` are, a multiple of their size. What follows from constants,
    /// and from an offset that is seen to be small, is decided by the compiler: one comparison is
    /// left, and one for an alignment that it does not see.
    #[inline(always)]
    fn at<T: Word>(&self, offset: usize, count: usize) -> *mut T {
        let bytes = count * T::BYTES;
        let end = offset.checked_add(bytes);
        let is_inside = end.is_some_and(|end| end <= self.length);
        if !is_inside || !offset.is_multiple_of(T::BYTES) {
            outside(offset, bytes, self.length);
        }
        // SAFETY: inside the mapping, which lives as long as `self`.
        unsafe { self.start.as_ptr().add(offset).cast() }
    }

    /// Where a range of bytes begins.
    fn range(&self, offset: usize, length: usize) -> *mut u8 {
        if offset > self.length || length > self.length - offset {
            outside(offset, length, self.length);
        }
        // SAFETY: inside the mapping, or one past its end for no bytes.
        unsafe { self.start.as_ptr().add(offset) }
    }
}

#[cold]
#[inline(never)]
fn outside(offset: usize, bytes: usize, length: usize) -> ! {
    panic!("{bytes} bytes at {offset:#x}: unaligned, or not inside the {length:#x} bytes");
}

// SAFETY: a mapping of whole pages that stays where it is until the value is dropped, zeroed when it
// was made, readable and writable by every thread. There are no references to it, and once a pool
// owns the value nobody calls the methods that access it.
unsafe impl spillway_io::PoolMemory for DmaMemory {
    fn bytes(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.start, self.length)
    }
}

/// The values at one place in each of several entries, see [`DmaMemory::load_entries`].
///
/// [`DmaMemory::load_entries`]: spillway_hal::DmaMemory::load_entries
struct Entries<'a, T, const BYTES: usize> {
    /// The next value, and where the one after the last would be.
    next: *const T,
    end: *const T,
    memory: PhantomData<&'a DmaMemory>,
}

impl<T: Word, const BYTES: usize> Iterator for Entries<'_, T, BYTES> {
    type Item = T;

    #[inline(always)]
    fn next(&mut self) -> Option<T> {
        if self.next == self.end {
            return None;
        }
        // SAFETY: before the end, so it is one of the values that were checked, and aligned; the
        // mapping lives as long as the memory that is borrowed.
        let value = unsafe { self.next.read_volatile() };
        fence(Ordering::Acquire);
        self.next = self.next.wrapping_byte_add(BYTES);
        Some(value)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.end.addr() - self.next.addr()) / BYTES;
        (left, Some(left))
    }
}

impl<T: Word, const BYTES: usize> ExactSizeIterator for Entries<'_, T, BYTES> {}

/// How many bytes there are before the first multiple of 8, and how many words after that.
fn parts(start: *mut u8, length: usize) -> (usize, usize) {
    let head = start.align_offset(8).min(length);
    (head, (length - head) / 8)
}

impl spillway_hal::DmaMemory for DmaMemory {
    #[inline]
    fn len(&self) -> usize {
        self.length
    }

    #[inline]
    fn io_address(&self, offset: usize) -> IoAddress {
        if offset >= self.length {
            outside(offset, 1, self.length);
        }
        IoAddress(self.address + offset as u64)
    }

    #[inline(always)]
    fn load<T: Word>(&self, offset: usize) -> T {
        // SAFETY: inside the mapping and aligned, and a `Word` has no invalid values.
        unsafe { self.at::<T>(offset, 1).read_volatile() }
    }

    /// The processor keeps loads in order (Intel SDM vol. 3, 9.2.2); the fence is for the compiler.
    #[inline(always)]
    fn load_acquire<T: Word>(&self, offset: usize) -> T {
        let value = self.load(offset);
        fence(Ordering::Acquire);
        value
    }

    #[inline(always)]
    fn store<T: Word>(&self, offset: usize, value: T) {
        // SAFETY: inside the mapping and aligned; nobody has a reference to it.
        unsafe { self.at::<T>(offset, 1).write_volatile(value) };
    }

    /// The processor keeps stores in order (Intel SDM vol. 3, 9.2.2); the fence is for the
    /// compiler.
    #[inline(always)]
    fn store_release<T: Word>(&self, offset: usize, value: T) {
        fence(Ordering::Release);
        self.store(offset, value);
    }

    #[inline(always)]
    fn load_words<const N: usize>(&self, offset: usize) -> [u64; N] {
        let start = self.at::<u64>(offset, N);
        // SAFETY: all `N` words are inside the mapping and aligned.
        core::array::from_fn(|index| unsafe { start.add(index).read_volatile() })
    }

    #[inline(always)]
    fn store_words<const N: usize>(&self, offset: usize, words: [u64; N]) {
        let start = self.at::<u64>(offset, N);
        for (index, word) in words.into_iter().enumerate() {
            // SAFETY: all `N` words are inside the mapping and aligned; nobody has a reference.
            unsafe { start.add(index).write_volatile(word) };
        }
    }

    fn set_ring(&mut self, bytes: usize) {
        let fits = bytes.is_power_of_two() && (64..=self.length).contains(&bytes);
        assert!(fits, "no ring of {bytes} bytes in {} bytes", self.length);
        self.ring_mask = bytes - 1;
    }

    #[inline]
    fn ring(&self) -> usize {
        self.ring_mask + 1
    }

    #[inline(always)]
    fn store_entry<const N: usize>(&self, index: usize, words: [Option<u64>; N]) {
        const { assert!(N.is_power_of_two() && N <= 8) };
        let offset = index.wrapping_mul(8 * N) & self.ring_mask;
        // SAFETY: the ring is inside the mapping. Its length and that of an entry are powers of two
        // and the entry's is not the larger one, so an entry that begins in the ring ends there.
        let entry = unsafe { self.start.as_ptr().add(offset).cast::<u64>() };
        for (index, word) in words.into_iter().enumerate() {
            if let Some(word) = word {
                // SAFETY: one of the entry's `N` words, aligned, as the memory begins with a page;
                // nobody has a reference to it.
                unsafe { entry.add(index).write_volatile(word) };
            }
        }
    }

    #[inline(always)]
    fn load_entries<T: Word, const BYTES: usize>(
        &self,
        entries: Range<usize>,
        offset: usize,
    ) -> impl ExactSizeIterator<Item = T> {
        const { assert!(BYTES != 0 && BYTES.is_multiple_of(T::BYTES)) };
        let is_ordered = entries.start <= entries.end && entries.end <= self.length / BYTES;
        if !is_ordered || offset > BYTES - T::BYTES || !offset.is_multiple_of(T::BYTES) {
            outside(entries.end, BYTES, self.length);
        }
        let first = self.start.as_ptr().cast_const().wrapping_add(offset);
        // Every value from the first one up to the end is inside the mapping, and aligned.
        Entries::<T, BYTES> {
            next: first.wrapping_add(entries.start * BYTES).cast(),
            end: first.wrapping_add(entries.end * BYTES).cast(),
            memory: PhantomData,
        }
    }

    fn copy_to_slice(&self, offset: usize, bytes: &mut [u8]) {
        let start = self.range(offset, bytes.len());
        let (head, words) = parts(start, bytes.len());
        let (first, rest) = bytes.split_at_mut(head);
        let (middle, last) = rest.split_at_mut(words * 8);
        // SAFETY: the three parts lie one behind the other in the range, the words aligned.
        unsafe {
            read_bytes(start, first);
            let start = start.add(head);
            for (index, chunk) in middle.chunks_exact_mut(8).enumerate() {
                let word = start.cast::<u64>().add(index).read_volatile();
                chunk.copy_from_slice(&word.to_le_bytes());
            }
            read_bytes(start.add(words * 8), last);
        }
    }

    fn copy_from_slice(&self, offset: usize, bytes: &[u8]) {
        let start = self.range(offset, bytes.len());
        let (head, words) = parts(start, bytes.len());
        let (first, rest) = bytes.split_at(head);
        let (middle, last) = rest.split_at(words * 8);
        // SAFETY: the three parts lie one behind the other in the range, the words aligned.
        unsafe {
            write_bytes(start, first.iter().copied());
            let start = start.add(head);
            for (index, chunk) in middle.chunks_exact(8).enumerate() {
                let mut word = [0; 8];
                word.copy_from_slice(chunk);
                let word = u64::from_le_bytes(word);
                start.cast::<u64>().add(index).write_volatile(word);
            }
            write_bytes(start.add(words * 8), last.iter().copied());
        }
    }

    fn fill(&self, offset: usize, length: usize, value: u8) {
        let start = self.range(offset, length);
        let (head, words) = parts(start, length);
        let last = length - head - words * 8;
        // SAFETY: the three parts lie one behind the other in the range, the words aligned.
        unsafe {
            write_bytes(start, core::iter::repeat_n(value, head));
            let start = start.add(head);
            for index in 0..words {
                let word = u64::from_le_bytes([value; 8]);
                start.cast::<u64>().add(index).write_volatile(word);
            }
            write_bytes(start.add(words * 8), core::iter::repeat_n(value, last));
        }
    }

    fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

/// # Safety
///
/// As many bytes as `bytes` has can be read from `start` on.
unsafe fn read_bytes(start: *mut u8, bytes: &mut [u8]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *byte = unsafe { start.add(index).read_volatile() };
    }
}

/// # Safety
///
/// As many bytes as `bytes` yields can be written from `start` on.
unsafe fn write_bytes(start: *mut u8, bytes: impl Iterator<Item = u8>) {
    for (index, byte) in bytes.enumerate() {
        // SAFETY: the caller's promise.
        unsafe { start.add(index).write_volatile(byte) };
    }
}

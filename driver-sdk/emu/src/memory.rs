//! Host memory that driver and device share.

use std::cell::Cell;

use spillway_hal::Word;

/// Bytes in a cell.
const CELL: usize = 8;
/// Bytes that the first one's place is a multiple of: the smallest block of a device.
const ALIGNMENT: usize = 512;

/// Memory as little-endian words in cells, so that two sides can hold it at once. It is aligned as
/// memory has to be that is lent to applications.
pub(crate) struct Memory {
    /// More than there are, by the alignment.
    cells: Box<[Cell<u64>]>,
    start: usize,
    bytes: usize,
}

impl Memory {
    /// `bytes` zeroed bytes; a multiple of 8.
    pub(crate) fn new(bytes: usize) -> Self {
        let cells = vec![Cell::new(0); (bytes + ALIGNMENT) / CELL].into_boxed_slice();
        let start = cells.as_ptr().align_offset(ALIGNMENT);
        Self {
            cells,
            start,
            bytes,
        }
    }

    #[inline]
    fn cells(&self) -> &[Cell<u64>] {
        let end = self.start + self.bytes / CELL;
        &self.cells[self.start..end]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.cells().as_ptr().cast_mut().cast()
    }

    /// Panics at an unaligned or outside offset.
    #[inline]
    pub(crate) fn load<T: Word>(&self, offset: usize) -> T {
        assert!(
            offset.is_multiple_of(T::BYTES),
            "a load is aligned to its size"
        );
        T::from_u64(self.cells()[offset / CELL].get() >> (8 * (offset % CELL)))
    }

    /// Panics at an unaligned or outside offset.
    #[inline]
    pub(crate) fn store<T: Word>(&self, offset: usize, value: T) {
        assert!(
            offset.is_multiple_of(T::BYTES),
            "a store is aligned to its size"
        );
        let cell = &self.cells()[offset / CELL];
        let shift = 8 * (offset % CELL);
        let mask = u64::MAX >> (64 - 8 * T::BYTES) << shift;
        cell.set(cell.get() & !mask | value.to_u64() << shift);
    }

    /// Panics at an unaligned or outside offset.
    #[inline]
    pub(crate) fn load_words<const N: usize>(&self, offset: usize) -> [u64; N] {
        let cells = self.words(offset, N);
        std::array::from_fn(|index| cells[index].get())
    }

    /// Panics at an unaligned or outside offset.
    #[inline]
    pub(crate) fn store_words<const N: usize>(&self, offset: usize, words: [u64; N]) {
        for (cell, word) in self.words(offset, N).iter().zip(words) {
            cell.set(word);
        }
    }

    fn words(&self, offset: usize, count: usize) -> &[Cell<u64>] {
        assert!(offset.is_multiple_of(CELL), "words are aligned to 8 bytes");
        &self.cells()[offset / CELL..][..count]
    }

    /// Copies out: single bytes up to the first whole cell, cells, single bytes. Panics outside.
    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8]) {
        self.check(offset, bytes.len());
        let (head, rest) = bytes.split_at_mut(to_cell(offset).min(bytes.len()));
        let middle = offset + head.len();
        let (cells, tail) = rest.as_chunks_mut::<CELL>();
        let end = middle + cells.len() * CELL;
        for (byte, at) in head
            .iter_mut()
            .zip(offset..)
            .chain(tail.iter_mut().zip(end..))
        {
            *byte = self.load(at);
        }
        for (chunk, cell) in cells.iter_mut().zip(&self.cells()[middle / CELL..]) {
            *chunk = cell.get().to_le_bytes();
        }
    }

    /// Copies in, likewise. Panics outside.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        self.check(offset, bytes.len());
        let (head, rest) = bytes.split_at(to_cell(offset).min(bytes.len()));
        let middle = offset + head.len();
        let (cells, tail) = rest.as_chunks::<CELL>();
        let end = middle + cells.len() * CELL;
        for (byte, at) in head.iter().zip(offset..).chain(tail.iter().zip(end..)) {
            self.store(at, *byte);
        }
        for (chunk, cell) in cells.iter().zip(&self.cells()[middle / CELL..]) {
            cell.set(u64::from_le_bytes(*chunk));
        }
    }

    /// Stores one byte many times. Panics outside.
    pub(crate) fn fill(&self, offset: usize, length: usize, value: u8) {
        self.check(offset, length);
        let end = offset + length;
        let mut at = offset;
        while at < end {
            if at.is_multiple_of(CELL) && end - at >= CELL {
                self.cells()[at / CELL].set(u64::from_le_bytes([value; CELL]));
                at += CELL;
            } else {
                self.store(at, value);
                at += 1;
            }
        }
    }

    fn check(&self, offset: usize, length: usize) {
        let inside = offset
            .checked_add(length)
            .is_some_and(|end| end <= self.len());
        assert!(
            inside,
            "{length} bytes at {offset} are outside of {} bytes",
            self.len()
        );
    }
}

/// Bytes from `offset` to the next cell.
fn to_cell(offset: usize) -> usize {
    offset.wrapping_neg() % CELL
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Memory;

    proptest! {
        /// Whatever was copied in comes out, and nothing beside it changes.
        #[test]
        fn copies_are_exact(offset in 0usize..64, data in prop::collection::vec(any::<u8>(), 0..64)) {
            let memory = Memory::new(128);
            memory.fill(0, 128, 0xee);
            memory.write(offset, &data);
            let mut all = [0; 128];
            memory.read(0, &mut all);
            let mut expected = [0xee; 128];
            expected[offset..offset + data.len()].copy_from_slice(&data);
            prop_assert_eq!(all, expected);
            let mut part = vec![0; data.len()];
            memory.read(offset, &mut part);
            prop_assert_eq!(part, data);
        }

        /// A fill is a copy of equal bytes.
        #[test]
        fn fills_are_exact(offset in 0usize..64, length in 0usize..64) {
            let memory = Memory::new(128);
            memory.fill(offset, length, 7);
            let mut all = [0; 128];
            memory.read(0, &mut all);
            let mut expected = [0; 128];
            expected[offset..offset + length].fill(7);
            prop_assert_eq!(all, expected);
        }
    }

    #[test]
    fn words_are_little_endian() {
        let memory = Memory::new(16);
        memory.store_words(0, [0x0807_0605_0403_0201, u64::MAX]);
        assert_eq!(memory.load::<u8>(7), 8);
        assert_eq!(memory.load::<u16>(2), 0x0403);
        assert_eq!(memory.load::<u32>(4), 0x0807_0605);
        memory.store(10, 0x1234u16);
        assert_eq!(
            memory.load_words(0),
            [0x0807_0605_0403_0201, 0xffff_ffff_1234_ffff]
        );
    }

    #[test]
    #[should_panic(expected = "aligned")]
    fn unaligned_is_refused() {
        Memory::new(16).load::<u32>(2);
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn outside_is_refused() {
        Memory::new(16).read(9, &mut [0; 8]);
    }
}

//! Entries one after the other, up to the end of what is there or of the ring: what a half can work
//! through with one pointer and one comparison.

use core::{marker::PhantomData, ptr::NonNull};

use crate::{Entry, Word, copy};

/// Entries that lie one after the other in the memory of a ring.
pub(crate) struct Run<E> {
    next: NonNull<Word>,
    /// The first word behind the last entry. `next` stays a whole number of entries before it.
    stop: NonNull<Word>,
    /// The index of the entry behind the last one.
    end: u32,
    entries: PhantomData<E>,
}

// SAFETY: the memory is reached by accesses that nothing is assumed about, from whichever thread.
unsafe impl<E: Send> Send for Run<E> {}

impl<E> Clone for Run<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Run<E> {}

impl<E: Entry> Run<E> {
    /// A run of `length` entries whose first has this index.
    ///
    /// # Safety
    ///
    /// They are alive as long as the run is used.
    pub unsafe fn new(first: NonNull<Word>, index: u32, length: u32) -> Self {
        Self {
            next: first,
            // SAFETY: the entries are alive.
            stop: unsafe { first.add(length as usize * E::WORDS) },
            end: index.wrapping_add(length),
            entries: PhantomData,
        }
    }

    /// Whether no entry is left.
    #[inline(always)]
    pub fn is_over(&self) -> bool {
        self.next == self.stop
    }

    /// How many entries are left.
    #[inline(always)]
    pub fn left(&self) -> u32 {
        // SAFETY: both are in the memory of the ring, and `next` is not behind `stop`.
        let words = unsafe { self.stop.offset_from_unsigned(self.next) };
        (words / E::WORDS) as u32
    }

    /// The index of the next entry.
    #[inline(always)]
    pub fn index(&self) -> u32 {
        self.end.wrapping_sub(self.left())
    }

    /// A copy of the next entry, which is done with.
    #[inline(always)]
    pub fn load(&mut self) -> Option<E> {
        if self.is_over() {
            return None;
        }
        // SAFETY: the run has another entry, which is alive.
        let entry = unsafe { copy::load(self.next) };
        self.advance(1);
        Some(entry)
    }

    /// Goes through copies of all entries that are left.
    #[inline(always)]
    pub fn fold<A>(&mut self, mut result: A, each: &mut impl FnMut(A, E) -> A) -> A {
        // Small entries come out several at a time: the compiler may then do several at a time.
        while E::PER_LINE > 1 && self.left() as usize >= E::PER_LINE {
            // SAFETY: so many entries are left, which are alive.
            let line: copy::Line = unsafe { copy::load(self.next) };
            self.advance(E::PER_LINE);
            for index in 0..E::PER_LINE {
                // SAFETY: so many entries are in a line, and every pattern is valid.
                let entry = unsafe { (&raw const line).cast::<E>().add(index).read_unaligned() };
                result = each(result, entry);
            }
        }
        while let Some(entry) = self.load() {
            result = each(result, entry);
        }
        result
    }

    /// Writes the next entry.
    ///
    /// # Safety
    ///
    /// The run is not over.
    #[inline(always)]
    pub unsafe fn store(&mut self, entry: E) {
        // SAFETY: the run has another entry, which is alive.
        unsafe { copy::store(self.next, entry) };
        self.advance(1);
    }

    /// Writes entries until the run is over, or there are no more. Whether there are no more.
    #[inline(always)]
    pub fn fill(&mut self, entries: &mut impl Iterator<Item = E>) -> bool {
        // With small entries one look at the room does for several.
        while E::PER_LINE > 1 && self.left() as usize >= E::PER_LINE {
            for _ in 0..E::PER_LINE {
                let Some(entry) = entries.next() else {
                    return true;
                };
                // SAFETY: so many entries were left.
                unsafe { self.store(entry) };
            }
        }
        while !self.is_over() {
            let Some(entry) = entries.next() else {
                return true;
            };
            // SAFETY: not over.
            unsafe { self.store(entry) };
        }
        false
    }

    /// Copies the next entries into a slice, as many as there are and fit. Returns how many.
    #[inline]
    pub fn load_slice(&mut self, entries: &mut [E]) -> usize {
        let count = entries.len().min(self.left() as usize);
        // SAFETY: so many entries are alive in the run, and so many are in the slice.
        unsafe { copy::load_many(self.next, entries.as_mut_ptr(), count) };
        self.advance(count);
        count
    }

    /// Writes the next entries from a slice, as many as there are and fit. Returns how many.
    #[inline]
    pub fn store_slice(&mut self, entries: &[E]) -> usize {
        let count = entries.len().min(self.left() as usize);
        // SAFETY: so many entries are alive in the run, and so many are in the slice.
        unsafe { copy::store_many(self.next, entries.as_ptr(), count) };
        self.advance(count);
        count
    }

    /// Goes on by so many entries, which there are.
    #[inline(always)]
    fn advance(&mut self, count: usize) {
        // SAFETY: not behind `stop`, as the entries are there.
        self.next = unsafe { self.next.add(count * E::WORDS) };
    }
}

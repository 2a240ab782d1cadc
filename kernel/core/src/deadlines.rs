//! Who is to be woken when.
//!
//! A binary heap of deadlines that knows where each thread's entry is, so that a thread that was
//! woken early takes its deadline back in O(log n) instead of leaving it to expire. A thread has
//! at most one deadline. All memory is allocated at the start: 18 bytes per slot.

use alloc::vec::Vec;
use spillway_abi::Error;

/// The thread has no deadline.
const ABSENT: u16 = u16::MAX;

#[derive(Clone, Copy, Debug)]
struct Entry {
    when: u64,
    slot: u16,
}

/// Deadlines of threads, in ticks of whatever clock the caller uses.
#[derive(Debug)]
pub struct Deadlines {
    /// Every entry is due no earlier than its parent, the one at `(index - 1) / 2`.
    heap: Vec<Entry>,
    /// The place of each slot's entry in the heap.
    places: Vec<u16>,
}

impl Deadlines {
    /// Room for no deadline: what a static begins with.
    pub const fn empty() -> Self {
        Self {
            heap: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Room for one deadline for each slot below `capacity`.
    ///
    /// [`Error::BadArgument`] if `capacity` is more than 65535, [`Error::OutOfMemory`].
    pub fn new(capacity: usize) -> Result<Self, Error> {
        if capacity > ABSENT as usize {
            return Err(Error::BadArgument);
        }
        let mut heap = Vec::new();
        heap.try_reserve_exact(capacity)
            .map_err(|_| Error::OutOfMemory)?;
        let places = crate::filled(capacity, ABSENT)?;
        Ok(Self { heap, places })
    }

    /// Sets the deadline of a thread; one that it had is replaced.
    #[inline]
    pub fn insert(&mut self, slot: u16, when: u64) {
        let entry = Entry { when, slot };
        match self.places[slot as usize] {
            ABSENT => {
                debug_assert!(self.heap.len() < self.heap.capacity());
                self.heap.push(entry);
                self.rise(self.heap.len() - 1, entry);
            }
            place => self.settle(place as usize, entry),
        }
    }

    /// Takes the deadline of a thread back. Whether it had one.
    #[inline]
    pub fn remove(&mut self, slot: u16) -> bool {
        let place = core::mem::replace(&mut self.places[slot as usize], ABSENT);
        if place == ABSENT {
            return false;
        }
        if let Some(last) = self.heap.pop()
            && last.slot != slot
        {
            self.settle(place as usize, last);
        }
        true
    }

    /// The earliest deadline.
    #[inline]
    pub fn next(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.when)
    }

    /// Takes off a thread whose deadline is `now` or earlier, the earliest first.
    #[inline]
    pub fn pop_due(&mut self, now: u64) -> Option<u16> {
        let first = *self.heap.first()?;
        if first.when > now {
            return None;
        }
        self.remove(first.slot);
        Some(first.slot)
    }

    /// How many deadlines are set.
    #[inline]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether no deadline is set.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Finds the place for an entry, beginning at a place that is free for it.
    fn settle(&mut self, place: usize, entry: Entry) {
        if place > 0 && self.heap[(place - 1) / 2].when > entry.when {
            self.rise(place, entry);
        } else {
            self.sink(place, entry);
        }
    }

    fn rise(&mut self, mut place: usize, entry: Entry) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].when <= entry.when {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
    }

    fn sink(&mut self, mut place: usize, entry: Entry) {
        while let Some(&left) = self.heap.get(2 * place + 1) {
            let (mut child, mut earliest) = (2 * place + 1, left);
            if let Some(&right) = self.heap.get(child + 1)
                && right.when < left.when
            {
                (child, earliest) = (child + 1, right);
            }
            if earliest.when >= entry.when {
                break;
            }
            self.put(place, earliest);
            place = child;
        }
        self.put(place, entry);
    }

    #[inline]
    fn put(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        self.places[entry.slot as usize] = place as u16;
    }
}

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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{collections::BTreeMap, vec::Vec};

    impl Deadlines {
        /// No entry is due before its parent, and every place is right.
        fn check(&self) {
            for (place, entry) in self.heap.iter().enumerate() {
                assert!(place == 0 || self.heap[(place - 1) / 2].when <= entry.when);
                assert_eq!(self.places[entry.slot as usize] as usize, place);
            }
            let present = self.places.iter().filter(|&&place| place != ABSENT);
            assert_eq!(present.count(), self.heap.len());
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16, u64),
        Remove(u16),
        PopDue(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let when = prop_oneof![0..20u64, Just(u64::MAX)];
        prop_oneof![
            4 => (0..16u16, when.clone()).prop_map(|(s, w)| Step::Insert(s, w)),
            2 => (0..16u16).prop_map(Step::Remove),
            2 => when.prop_map(Step::PopDue),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec(step(), 1..200)) {
            let mut deadlines = Deadlines::new(16).unwrap();
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Insert(slot, when) => {
                        deadlines.insert(slot, when);
                        model.insert(slot, when);
                    }
                    Step::Remove(slot) => {
                        prop_assert_eq!(deadlines.remove(slot), model.remove(&slot).is_some());
                    }
                    Step::PopDue(now) => {
                        let first = model.values().min().copied();
                        match deadlines.pop_due(now) {
                            Some(slot) => prop_assert_eq!(model.remove(&slot), first),
                            None => prop_assert!(first.is_none_or(|first| first > now)),
                        }
                    }
                }
                prop_assert_eq!(deadlines.next(), model.values().min().copied());
                prop_assert_eq!(deadlines.len(), model.len());
                deadlines.check();
            }
        }
    }

    #[test]
    fn all_slots_expire_in_order_and_nothing_is_allocated_for_it() {
        assert_eq!(Deadlines::new(65536).unwrap_err(), Error::BadArgument);
        let mut deadlines = Deadlines::new(65535).unwrap();
        let room = deadlines.heap.capacity();
        let when = |slot: u16| u64::from(slot.wrapping_mul(40503));
        for slot in 0..65535 {
            deadlines.insert(slot, when(slot));
        }
        assert_eq!(deadlines.heap.capacity(), room);
        deadlines.check();
        let order: Vec<_> = core::iter::from_fn(|| deadlines.pop_due(u64::MAX)).collect();
        assert_eq!(order.len(), 65535);
        assert!(order.is_sorted_by_key(|&slot| when(slot)));
        assert!(deadlines.is_empty() && deadlines.next().is_none());
    }
}

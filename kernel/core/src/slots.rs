//! Hands out small numbers.
//!
//! A bit per number, and the first word that may have a free one. The lowest free number is given
//! out, so that tables indexed by it stay dense. Taking one is a short scan (at most 64 words for
//! 4096 numbers), giving it back is a few instructions. Nothing is allocated after the start.

use alloc::vec::Vec;
use spillway_abi::Error;

/// The numbers below a count, each free or in use.
#[derive(Debug)]
pub struct Slots {
    /// A bit per number that is free.
    free: Vec<u64>,
    /// No word before this one has a free number.
    first: usize,
    used: u16,
    count: u16,
}

impl Slots {
    /// No numbers: what a static begins with.
    pub const fn empty() -> Self {
        Self {
            free: Vec::new(),
            first: 0,
            used: 0,
            count: 0,
        }
    }

    /// The numbers below `count`, all free. [`Error::OutOfMemory`].
    pub fn new(count: u16) -> Result<Self, Error> {
        let mut free = crate::filled((count as usize).div_ceil(64), !0u64)?;
        if let Some(last) = free.last_mut()
            && !count.is_multiple_of(64)
        {
            *last = (1 << (count % 64)) - 1;
        }
        Ok(Self {
            free,
            first: 0,
            used: 0,
            count,
        })
    }

    /// The lowest number that is free, if there is one.
    #[inline]
    pub fn allocate(&mut self) -> Option<u16> {
        while let Some(word) = self.free.get_mut(self.first) {
            if *word != 0 {
                let bit = word.trailing_zeros();
                *word &= *word - 1;
                self.used += 1;
                return Some((self.first * 64) as u16 + bit as u16);
            }
            self.first += 1;
        }
        None
    }

    /// Takes a number back. False, and nothing changes, if it is not in use.
    #[inline]
    pub fn free(&mut self, slot: u16) -> bool {
        if !self.is_used(slot) {
            return false;
        }
        let word = (slot / 64) as usize;
        self.free[word] |= 1 << (slot % 64);
        self.first = self.first.min(word);
        self.used -= 1;
        true
    }

    /// Whether a number is in use.
    #[inline]
    pub fn is_used(&self, slot: u16) -> bool {
        slot < self.count && self.free[(slot / 64) as usize] >> (slot % 64) & 1 == 0
    }

    /// How many numbers are in use.
    #[inline]
    pub const fn used(&self) -> u16 {
        self.used
    }

    /// How many numbers there are.
    #[inline]
    pub const fn count(&self) -> u16 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_like_a_set(
            count in 0..200u16,
            steps in prop::collection::vec(prop::option::of(0..210u16), 1..150),
        ) {
            let mut slots = Slots::new(count).unwrap();
            let mut free: BTreeSet<u16> = (0..count).collect();
            for step in steps {
                match step {
                    None => prop_assert_eq!(slots.allocate(), free.pop_first()),
                    Some(slot) => {
                        let expected = slot < count && free.insert(slot);
                        prop_assert_eq!(slots.free(slot), expected);
                    }
                }
                prop_assert_eq!(slots.used() as usize, count as usize - free.len());
                for slot in 0..210 {
                    prop_assert_eq!(slots.is_used(slot), slot < count && !free.contains(&slot));
                }
            }
        }
    }

    #[test]
    fn every_count_is_exact() {
        for count in [0, 1, 63, 64, 65, 4096, u16::MAX] {
            let mut slots = Slots::new(count).unwrap();
            for expected in 0..count {
                assert_eq!(slots.allocate(), Some(expected));
            }
            assert_eq!(slots.allocate(), None);
            assert_eq!((slots.used(), slots.count()), (count, count));
            assert!(!slots.free(count));
            for slot in 0..count {
                assert!(slots.free(slot) && !slots.free(slot));
            }
            assert_eq!(slots.used(), 0);
        }
    }
}

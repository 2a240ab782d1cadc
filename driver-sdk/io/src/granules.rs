//! Which parts of a pool are taken: a bitmap without a lock.
//!
//! Without a lock nobody waits for a thread that was interrupted in the middle, whatever its
//! priority, and giving a buffer back costs one atomic operation.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bytes that one bit stands for: the smallest block that a device has.
pub(crate) const GRANULE: usize = 512;

/// Bits of a word.
const WORD: usize = 64;

/// A bit for each granule, set where it is taken. Bits past the end are set for ever.
pub(crate) struct Granules {
    words: Box<[AtomicU64]>,
    /// Where the last search ended.
    hint: AtomicUsize,
}

impl Granules {
    /// `count` granules, none of them taken.
    pub(crate) fn new(count: usize) -> Self {
        let mut words: Box<[AtomicU64]> = (0..count.div_ceil(WORD))
            .map(|_| AtomicU64::new(0))
            .collect();
        if let Some(last) = words.last_mut()
            && !count.is_multiple_of(WORD)
        {
            *last.get_mut() = u64::MAX << (count % WORD);
        }
        Self {
            words,
            hint: AtomicUsize::new(0),
        }
    }

    /// How many are not taken, at some moment during the call.
    pub(crate) fn available(&self) -> usize {
        let free = |word: &AtomicU64| word.load(Ordering::Relaxed).count_zeros() as usize;
        self.words.iter().map(free).sum()
    }

    /// Takes `count` neighbours, at least one, and returns the first. Eight or more begin at a
    /// multiple of 8, fewer at a multiple of the next power of two, more than 64 at one of 64.
    /// `None` if there is no such place.
    pub(crate) fn take(&self, count: usize) -> Option<usize> {
        let start = self.hint.load(Ordering::Relaxed);
        let end = self.words.len();
        let (found, last) = if count <= WORD {
            (start..end)
                .chain(0..start.min(end))
                .find_map(|word| Some((self.take_within(word, count)?, word)))?
        } else {
            let words = count.div_ceil(WORD);
            let first = self.take_across(count, words)?;
            (first * WORD, first + words - 1)
        };
        self.hint.store(last, Ordering::Relaxed);
        Some(found)
    }

    /// Takes `count` bits of one word.
    fn take_within(&self, index: usize, count: usize) -> Option<usize> {
        let word = &self.words[index];
        let mut current = word.load(Ordering::Relaxed);
        loop {
            let starts = runs(!current, count) & aligned(count);
            if starts == 0 {
                return None;
            }
            let position = starts.trailing_zeros();
            let taken = current | low(count) << position;
            match word.compare_exchange_weak(current, taken, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(index * WORD + position as usize),
                Err(now) => current = now,
            }
        }
    }

    /// Takes `count` bits from the beginning of a word on, over `words` words; returns the first
    /// word.
    fn take_across(&self, count: usize, words: usize) -> Option<usize> {
        let mut first = 0;
        while first + words <= self.words.len() {
            let taken = (0..words)
                .find(|&word| !self.try_set(first + word, part(count, word)))
                .unwrap_or(words);
            if taken == words {
                return Some(first);
            }
            self.give(first * WORD, taken * WORD);
            first += taken + 1;
        }
        None
    }

    /// Sets the bits of `mask` if none of them is set.
    fn try_set(&self, word: usize, mask: u64) -> bool {
        let set = |current| (current & mask == 0).then_some(current | mask);
        self.words[word]
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, set)
            .is_ok()
    }

    /// Gives `count` neighbours back, from `first` on. Who takes them next sees everything that was
    /// done to the memory before.
    pub(crate) fn give(&self, first: usize, count: usize) {
        let mut at = first;
        let end = first + count;
        while at < end {
            let bits = (WORD - at % WORD).min(end - at);
            let mask = low(bits) << (at % WORD);
            self.words[at / WORD].fetch_and(!mask, Ordering::Release);
            at += bits;
        }
    }
}

/// The lowest `count` bits, 1 to 64.
const fn low(count: usize) -> u64 {
    u64::MAX >> (WORD - count)
}

/// Of `count` bits from the beginning of a word on, those in the word `index`.
fn part(count: usize, index: usize) -> u64 {
    low((count - index * WORD).min(WORD))
}

/// Where `count` set bits, 1 to 64, follow each other: each round lengthens the runs that a bit
/// stands for, up to twofold.
fn runs(bits: u64, count: usize) -> u64 {
    let (mut starts, mut length) = (bits, 1);
    while length < count {
        let step = length.min(count - length);
        starts &= starts >> step;
        length += step;
    }
    starts
}

/// The positions at which `count` bits may begin.
const fn aligned(count: usize) -> u64 {
    match count {
        1 => u64::MAX,
        2 => 0x5555_5555_5555_5555,
        3 | 4 => 0x1111_1111_1111_1111,
        _ => 0x0101_0101_0101_0101,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is taken is inside, aligned, and nobody else's; what is given back can be taken.
        #[test]
        fn nothing_is_taken_twice(
            total in 1usize..400,
            steps in prop::collection::vec((any::<bool>(), 1usize..150, any::<prop::sample::Index>()), 0..60),
        ) {
            let granules = Granules::new(total);
            let mut held: Vec<(usize, usize)> = Vec::new();
            for (take, count, which) in steps {
                if take {
                    if let Some(first) = granules.take(count) {
                        prop_assert!(first + count <= total);
                        let alignment = count.next_power_of_two().min(8);
                        prop_assert!(first.is_multiple_of(alignment));
                        for &(other, length) in &held {
                            prop_assert!(first + count <= other || other + length <= first);
                        }
                        held.push((first, count));
                    }
                } else if !held.is_empty() {
                    let (first, count) = held.swap_remove(which.index(held.len()));
                    granules.give(first, count);
                }
                let taken: usize = held.iter().map(|&(_, count)| count).sum();
                prop_assert_eq!(granules.available(), total - taken);
            }
        }

        /// A run is found exactly where the bits are set.
        #[test]
        fn runs_are_runs(bits in any::<u64>(), more in any::<u64>(), count in 1usize..=64) {
            let bits = bits | more;
            for position in 0..64 {
                let fits = position + count <= 64
                    && bits >> position & low(count) == low(count);
                prop_assert_eq!(runs(bits, count) >> position & 1 == 1, fits);
            }
        }
    }

    #[test]
    fn the_whole_can_be_taken_and_no_more() {
        for total in [1, 63, 64, 65, 128, 1000] {
            let granules = Granules::new(total);
            assert_eq!(granules.take(total + 1), None);
            assert_eq!(granules.take(total), Some(0));
            assert_eq!(granules.take(1), None);
            granules.give(0, total);
            assert_eq!(granules.available(), total);
        }
    }

    #[test]
    fn an_obstacle_in_the_middle_is_left_as_it_was() {
        let granules = Granules::new(64 * 4);
        assert_eq!(granules.take(64), Some(0));
        assert_eq!(granules.take(64), Some(64));
        granules.give(0, 64);
        assert_eq!(granules.take(130), None);
        assert_eq!(granules.take(128), Some(128));
        assert_eq!(granules.available(), 64);
    }
}

//! Who waits on which word of memory.
//!
//! A fixed hash table of lists of threads. A word is named by its process and its address there
//! ([`Key`]). Waiting and giving up are a few instructions and cannot fail. Waking looks at the
//! threads in one of 256 lists; in the worst case, every waiting thread of the system is in it.
//! Those that wait on the same word wake in the order in which they came.

use crate::queue::{Links, List};
use alloc::vec::Vec;
use spillway_abi::Error;

const BUCKETS: usize = 256;

/// A word of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// The number of the process.
    pub process: u64,
    /// The address of the word in that process.
    pub address: u64,
}

impl From<(u64, u64)> for Key {
    fn from((process, address): (u64, u64)) -> Self {
        Self { process, address }
    }
}

impl Key {
    /// The list for this word. Neighbouring words, and the same address in different processes,
    /// fall on different lists: 2⁶⁴ / φ spreads them over the upper bits.
    #[inline]
    const fn bucket(self) -> usize {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = self
            .process
            .wrapping_mul(SPREAD)
            .rotate_left(32)
            .wrapping_add(self.address);
        (mixed.wrapping_mul(SPREAD) >> (u64::BITS - BUCKETS.ilog2())) as usize
    }
}

/// The threads that wait on words.
#[derive(Debug)]
pub struct WaitTable {
    buckets: [List; BUCKETS],
    /// What each thread waits on, if it does.
    keys: Vec<Key>,
}

impl WaitTable {
    /// Room for no thread: what a static begins with.
    pub const fn empty() -> Self {
        Self {
            buckets: [const { List::new() }; BUCKETS],
            keys: Vec::new(),
        }
    }

    /// Nobody waits; there is room for the slots below `capacity`. [`Error::OutOfMemory`].
    pub fn new(capacity: usize) -> Result<Self, Error> {
        Ok(Self {
            buckets: [const { List::new() }; BUCKETS],
            keys: crate::filled(capacity, Key::default())?,
        })
    }

    /// Lets a thread, which is on no list, wait on a word.
    #[inline]
    pub fn insert(&mut self, links: &mut Links, slot: u16, key: impl Into<Key>) {
        let key = key.into();
        self.keys[slot as usize] = key;
        self.buckets[key.bucket()].push_back(links, slot);
    }

    /// Takes off at most `most` threads that wait on a word, hands each to `woken`, and returns
    /// how many there were.
    #[inline]
    pub fn wake(
        &mut self,
        links: &mut Links,
        key: impl Into<Key>,
        most: u32,
        mut woken: impl FnMut(u16),
    ) -> u32 {
        self.wake_with(links, key, most, |_, slot| woken(slot))
    }

    /// [`wake`](Self::wake), with the links at hand, to put each thread on another list.
    #[inline]
    pub fn wake_with(
        &mut self,
        links: &mut Links,
        key: impl Into<Key>,
        most: u32,
        mut woken: impl FnMut(&mut Links, u16),
    ) -> u32 {
        let key = key.into();
        let list = &mut self.buckets[key.bucket()];
        let mut count = 0;
        let mut current = list.front();
        while let Some(slot) = current
            && count < most
        {
            current = list.next(links, slot);
            if self.keys[slot as usize] == key {
                list.remove(links, slot);
                woken(links, slot);
                count += 1;
            }
        }
        count
    }

    /// Takes off a thread that waits: its deadline came, or it was asked to stop.
    #[inline]
    pub fn remove(&mut self, links: &mut Links, slot: u16) {
        self.buckets[self.keys[slot as usize].bucket()].remove(links, slot);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::queue::RunQueue;
    use proptest::prelude::*;
    use std::{collections::HashSet, vec::Vec};

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16, Key),
        Wake(Key, u32),
        Remove(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = (0..3u64, (0..3u64).prop_map(|n| n * 4)).prop_map(Key::from);
        prop_oneof![
            4 => (0..16u16, key.clone()).prop_map(|(s, k)| Step::Insert(s, k)),
            2 => (key, prop_oneof![0..4u32, Just(u32::MAX)]).prop_map(|(k, m)| Step::Wake(k, m)),
            1 => (0..16u16).prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_one_long_queue(
            same_bucket: bool,
            steps in prop::collection::vec(step(), 1..200),
        ) {
            let mut links = Links::new(16).unwrap();
            let mut table = WaitTable::new(16).unwrap();
            let mut model: Vec<(u16, Key)> = Vec::new();
            // All keys in one bucket is the worst case, and shows that only equal keys wake.
            let place = |key: Key| if same_bucket { colliding(key) } else { key };
            for step in steps {
                match step {
                    Step::Insert(slot, key) if model.iter().all(|&(s, _)| s != slot) => {
                        table.insert(&mut links, slot, place(key));
                        model.push((slot, key));
                    }
                    Step::Insert(..) => {}
                    Step::Wake(key, most) => {
                        let mut expected = Vec::new();
                        model.retain(|&(slot, other)| {
                            let wakes = other == key && expected.len() < most as usize;
                            if wakes {
                                expected.push(slot);
                            }
                            !wakes
                        });
                        let mut woken = Vec::new();
                        let count = table.wake(&mut links, place(key), most, |s| woken.push(s));
                        prop_assert_eq!(count as usize, woken.len());
                        prop_assert_eq!(woken, expected);
                    }
                    Step::Remove(slot) => {
                        if let Some(index) = model.iter().position(|&(s, _)| s == slot) {
                            table.remove(&mut links, slot);
                            model.remove(index);
                        }
                    }
                }
                for slot in 0..16 {
                    let waits = model.iter().any(|&(s, _)| s == slot);
                    prop_assert_eq!(links.is_linked(slot), waits);
                }
            }
        }
    }

    /// A key of its own for each small key, all in one bucket.
    fn colliding(key: Key) -> Key {
        let wanted = Key::default().bucket();
        let index = (key.process * 3 + key.address / 4) as usize;
        let mut keys = (0..).map(|n| Key::from((7, n * 4)));
        keys.by_ref()
            .filter(|k| k.bucket() == wanted)
            .nth(index)
            .unwrap()
    }

    #[test]
    fn the_woken_can_go_to_another_list_at_once() {
        let mut links = Links::new(4).unwrap();
        let mut table = WaitTable::new(4).unwrap();
        let mut queue = RunQueue::new();
        for slot in 0..4 {
            table.insert(&mut links, slot, (1, 0x1000));
        }
        let push = |links: &mut Links, slot| queue.push(links, slot, 16);
        assert_eq!(table.wake_with(&mut links, (1, 0x1000), 3, push), 3);
        assert_eq!(queue.len(), 3);
        assert_eq!(queue.pop_highest(&mut links), Some((0, 16)));
        assert!(links.is_linked(3));
    }

    #[test]
    fn usual_words_spread_over_the_buckets() {
        for stride in [4, 8, 64, 4096, 1 << 21] {
            let words = (0..256).map(|n| Key::from((1, 0x40_0000 + n * stride)));
            let buckets: HashSet<_> = words.map(Key::bucket).collect();
            assert!(buckets.len() > 96, "stride {stride}: {}", buckets.len());
        }
        let processes = (0..256).map(|n| Key::from((n, 0x40_0000)));
        let buckets: HashSet<_> = processes.map(Key::bucket).collect();
        assert!(buckets.len() > 96, "processes: {}", buckets.len());
    }
}

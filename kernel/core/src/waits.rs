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

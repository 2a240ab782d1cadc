//! Entries where they lie, word by word: for who moves so many that a copy of each is too much.
//!
//! A cursor keeps its index in a register and gives it back to its half when it is dropped.

use core::marker::PhantomData;
use core::ptr::NonNull;

#[cfg(not(loom))]
use core::sync::atomic::Ordering;
#[cfg(loom)]
use loom::sync::atomic::Ordering;

use crate::{Consumer, Entry, Producer, Word};

/// An entry in the ring. The other side can write to it at any time: each look at a word may find
/// another value, so what was checked is not to be read again.
pub struct InPlace<'r, E> {
    words: NonNull<Word>,
    ring: PhantomData<(&'r Word, E)>,
}

impl<E: Entry> InPlace<'_, E> {
    pub(crate) const fn new(words: NonNull<Word>) -> Self {
        Self {
            words,
            ring: PhantomData,
        }
    }

    #[inline(always)]
    fn word(&self, index: usize) -> &Word {
        assert!(index < E::WORDS, "an entry has {} words", E::WORDS);
        // SAFETY: the word is within the entry, which is alive as long as the ring is borrowed.
        unsafe { self.words.add(index).as_ref() }
    }

    /// A word of the entry.
    ///
    /// # Panics
    ///
    /// If it has no such word.
    #[inline(always)]
    pub fn load(&self, index: usize) -> u64 {
        self.word(index).load(Ordering::Relaxed)
    }

    /// Writes a word of the entry.
    ///
    /// # Panics
    ///
    /// If it has no such word.
    #[inline(always)]
    pub fn store(&self, index: usize, value: u64) {
        self.word(index).store(value, Ordering::Relaxed);
    }
}

/// Reads what a [`Consumer`] has seen.
pub struct Reader<'c, 'm, E> {
    consumer: &'c mut Consumer<'m, E>,
    head: u32,
}

impl<'c, 'm, E: Entry> Reader<'c, 'm, E> {
    #[inline(always)]
    pub(crate) const fn new(consumer: &'c mut Consumer<'m, E>) -> Self {
        Self {
            head: consumer.head,
            consumer,
        }
    }

    /// The next entry, if there is one.
    #[inline(always)]
    pub fn front(&self) -> Option<InPlace<'_, E>> {
        if self.head == self.consumer.tail {
            return None;
        }
        Some(self.consumer.ring.in_place(self.head))
    }

    /// Goes on to the one behind it. Nothing if there is no next entry.
    #[inline(always)]
    pub const fn skip(&mut self) {
        if self.head != self.consumer.tail {
            self.head = self.head.wrapping_add(1);
        }
    }
}

impl<E> Drop for Reader<'_, '_, E> {
    #[inline(always)]
    fn drop(&mut self) {
        self.consumer.head = self.head;
    }
}

/// Writes where a [`Producer`] has room.
pub struct Writer<'p, 'm, E> {
    producer: &'p mut Producer<'m, E>,
    tail: u32,
}

impl<'p, 'm, E: Entry> Writer<'p, 'm, E> {
    #[inline(always)]
    pub(crate) const fn new(producer: &'p mut Producer<'m, E>) -> Self {
        Self {
            tail: producer.tail,
            producer,
        }
    }

    /// Room for an entry, if there is any. What is not written stays as it was.
    #[inline(always)]
    pub fn back(&mut self) -> Option<InPlace<'_, E>> {
        if self.tail == self.producer.limit {
            return None;
        }
        Some(self.producer.ring.in_place(self.tail))
    }

    /// Puts the entry there into the ring. Nothing if there is no room.
    #[inline(always)]
    pub const fn advance(&mut self) {
        if self.tail != self.producer.limit {
            self.tail = self.tail.wrapping_add(1);
        }
    }
}

impl<E> Drop for Writer<'_, '_, E> {
    #[inline(always)]
    fn drop(&mut self) {
        self.producer.tail = self.tail;
    }
}

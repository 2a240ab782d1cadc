//! Entries where they lie, word by word: for who moves so many that a copy of each is too much.

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

/// Takes entries out of one ring and puts as many into another, at most so many, and none that was
/// not there, or for which there was no room, at the last look at the other sides
/// ([`Consumer::available`], [`Producer::free`]). How many there were.
///
/// `each` gets the entry, and the place in the other ring, which is to be written: words that are
/// not keep what they had. It stops by returning false: then the entry stays where it is.
#[inline(always)]
pub fn pass<E: Entry, F: Entry>(
    from: &mut Consumer<'_, E>,
    to: &mut Producer<'_, F>,
    most: u32,
    mut each: impl FnMut(InPlace<'_, E>, InPlace<'_, F>) -> bool,
) -> u32 {
    let there = from.tail.wrapping_sub(from.head);
    let room = to.limit.wrapping_sub(to.tail);
    let most = most.min(there).min(room);
    let mut passed = 0;
    while passed < most {
        // As far as neither ring begins again, an entry is a step.
        let (head, tail) = (from.head.wrapping_add(passed), to.tail.wrapping_add(passed));
        let straight = from.ring.straight(head).min(to.ring.straight(tail));
        let count = straight.min(most - passed) as usize;
        let (entries, places) = (from.ring.in_place(head), to.ring.in_place(tail));
        let done = (0..count).find(|index| {
            // SAFETY: so many entries follow each other in both rings before either begins again.
            let entry = InPlace::new(unsafe { entries.words.add(index * E::WORDS) });
            // SAFETY: as above.
            let place = InPlace::new(unsafe { places.words.add(index * F::WORDS) });
            !each(entry, place)
        });
        passed += done.unwrap_or(count) as u32;
        if done.is_some() {
            break;
        }
    }
    from.head = from.head.wrapping_add(passed);
    to.tail = to.tail.wrapping_add(passed);
    passed
}

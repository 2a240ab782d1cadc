//! The ways in which entries go in and out of a ring.

use super::{BATCH, Contender, Entry};

/// Memory of its own for each side.
pub type Batch<const WORDS: usize> = [Entry<WORDS>; BATCH];

/// An entry as somebody who asks for something makes it: a number, and what follows from it.
#[inline(always)]
fn request<const WORDS: usize>(number: u64) -> Entry<WORDS> {
    std::array::from_fn(|index| match index {
        0 => number,
        1 => number << 12,
        2 => 4096,
        3 => number & 31,
        _ => !number,
    })
}

/// What is carried is looked at, all of it.
#[inline(always)]
fn sum_up<const WORDS: usize>(sum: u64, entry: Entry<WORDS>) -> u64 {
    entry.into_iter().fold(sum, u64::wrapping_add)
}

/// How entries go in and out.
pub trait Way {
    const NAME: &str;
    const BATCH: usize;

    /// Pushes up to a batch of entries that carry numbers from `first` on. Returns how many.
    fn push<const WORDS: usize, C: Contender<WORDS>>(
        producer: &mut C::Producer,
        batch: &mut Batch<WORDS>,
        first: u64,
        most: usize,
    ) -> usize;

    /// Pops what there is. Returns how many, and adds up what they carry.
    fn pop<const WORDS: usize, C: Contender<WORDS>>(
        consumer: &mut C::Consumer,
        batch: &mut Batch<WORDS>,
        sum: &mut u64,
    ) -> usize;
}

/// One entry and its publication at a time.
pub struct OneByOne;

impl Way for OneByOne {
    const NAME: &str = "one by one";
    const BATCH: usize = 1;

    fn push<const WORDS: usize, C: Contender<WORDS>>(
        producer: &mut C::Producer,
        _: &mut Batch<WORDS>,
        first: u64,
        _: usize,
    ) -> usize {
        C::push(producer, request(first)).into()
    }

    fn pop<const WORDS: usize, C: Contender<WORDS>>(
        consumer: &mut C::Consumer,
        _: &mut Batch<WORDS>,
        sum: &mut u64,
    ) -> usize {
        C::pop(consumer)
            .map(|entry| *sum = sum_up(*sum, entry))
            .map_or(0, |()| 1)
    }
}

/// Entries that are made and looked at one by one.
pub struct Values;

impl Way for Values {
    const NAME: &str = "32 values";
    const BATCH: usize = super::BATCH;

    fn push<const WORDS: usize, C: Contender<WORDS>>(
        producer: &mut C::Producer,
        _: &mut Batch<WORDS>,
        first: u64,
        most: usize,
    ) -> usize {
        let entries = (0..most).map(|number| request(first + number as u64));
        C::push_each(producer, entries)
    }

    fn pop<const WORDS: usize, C: Contender<WORDS>>(
        consumer: &mut C::Consumer,
        _: &mut Batch<WORDS>,
        sum: &mut u64,
    ) -> usize {
        // Not through the reference, which is another's memory to the compiler.
        let mut added = *sum;
        let popped = C::pop_each(consumer, |entry| {
            added = sum_up(added, entry);
        });
        *sum = added;
        popped
    }
}

/// Entries that lie in memory before and after.
pub struct Slices;

impl Way for Slices {
    const NAME: &str = "32 copies";
    const BATCH: usize = super::BATCH;

    fn push<const WORDS: usize, C: Contender<WORDS>>(
        producer: &mut C::Producer,
        batch: &mut Batch<WORDS>,
        first: u64,
        most: usize,
    ) -> usize {
        batch[0] = [first; WORDS];
        C::push_slice(producer, &batch[..most])
    }

    fn pop<const WORDS: usize, C: Contender<WORDS>>(
        consumer: &mut C::Consumer,
        batch: &mut Batch<WORDS>,
        sum: &mut u64,
    ) -> usize {
        let popped = C::pop_slice(consumer, batch);
        *sum = sum.wrapping_add(batch[0][0]);
        popped
    }
}

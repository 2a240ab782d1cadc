//! A ring's memory as one half sees it, with a size that nobody can change any more.

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::{
    Consumer, Entry, InPlace, MAX_ENTRIES, Producer, Refused, RingHeader, Word, copy, run::Run,
};

/// The memory of a ring of `E`.
pub(crate) struct Shared<'m, E> {
    pub header: &'m RingHeader,
    words: NonNull<Word>,
    mask: u32,
    entries: PhantomData<E>,
}

// SAFETY: the memory is reached by accesses that nothing is assumed about, from whichever thread.
unsafe impl<E: Send> Send for Shared<'_, E> {}

impl<'m, E: Entry> Shared<'m, E> {
    /// Takes the memory if it is what this side expects.
    ///
    /// # Safety
    ///
    /// As for [`Producer::new`], without what it says about other halves.
    pub unsafe fn new(
        header: NonNull<RingHeader>,
        words: NonNull<Word>,
        count: u32,
    ) -> Result<Self, Refused> {
        if !count.is_power_of_two() || count > MAX_ENTRIES {
            return Err(Refused::Count(count));
        }
        if !header.is_aligned() || !words.is_aligned() {
            return Err(Refused::Misaligned);
        }
        // SAFETY: aligned, alive by the promise of the caller, and all of it is atomic.
        let header = unsafe { header.as_ref() };
        header.check::<E>(count)?;
        Ok(Self {
            header,
            words,
            mask: count - 1,
            entries: PhantomData,
        })
    }

    /// How many entries there are.
    #[inline(always)]
    pub fn count(&self) -> u32 {
        self.mask + 1
    }

    /// The first word of the entry of an index.
    #[inline(always)]
    fn slot(&self, index: u32) -> NonNull<Word> {
        let position = (index & self.mask) as usize;
        // SAFETY: the position is below the number of entries, all of which are alive.
        unsafe { self.words.add(position * E::WORDS) }
    }

    /// Entries from that of an index on that follow each other in memory.
    #[inline(always)]
    pub fn straight(&self, index: u32) -> u32 {
        self.count() - (index & self.mask)
    }

    /// The entry of an index, where it lies.
    #[inline(always)]
    pub fn in_place(&self, index: u32) -> InPlace<'_, E> {
        InPlace::new(self.slot(index))
    }

    /// A copy of the entry of an index.
    #[inline(always)]
    pub fn load(&self, index: u32) -> E {
        // SAFETY: a slot is a whole entry.
        unsafe { copy::load(self.slot(index)) }
    }

    /// Writes the entry of an index.
    #[inline(always)]
    pub fn store(&self, index: u32, entry: E) {
        // SAFETY: a slot is a whole entry.
        unsafe { copy::store(self.slot(index), entry) }
    }

    /// The entries from the index `from` on, up to the index `to` or the end of the memory,
    /// whichever comes first. The two are at most a ring's length apart.
    #[inline]
    pub fn run(&self, from: u32, to: u32) -> Run<E> {
        let position = from & self.mask;
        let length = to.wrapping_sub(from).min(self.count() - position);
        // SAFETY: position and length together are not more than there are entries, and all
        // of those are alive for `'m`, which the run is not used beyond.
        unsafe {
            let first = self.words.add(position as usize * E::WORDS);
            Run::new(first, from, length)
        }
    }
}

/// Both halves of a new, empty ring in memory of this process. It has as many entries as fit into
/// the words, and the first of them has the index `start`.
///
/// # Errors
///
/// [`Refused::Count`] if the number of entries is not allowed, or words are left over.
///
/// ```
/// use spillway_ring::{RingHeader, Word, split};
///
/// let (mut header, mut words) = (RingHeader::default(), [const { Word::new(0) }; 64]);
/// let (mut producer, mut consumer) = split::<[u64; 8]>(&mut header, &mut words, 0).unwrap();
/// producer.push([7; 8]).unwrap();
/// producer.publish();
/// assert_eq!(consumer.pop(), Ok(Some([7; 8])));
/// consumer.release();
/// ```
pub fn split<'m, E: Entry>(
    header: &'m mut RingHeader,
    words: &'m mut [Word],
    start: u32,
) -> Result<(Producer<'m, E>, Consumer<'m, E>), Refused> {
    let count = u32::try_from(words.len() / E::WORDS).unwrap_or(u32::MAX);
    if !words.len().is_multiple_of(E::WORDS) {
        return Err(Refused::Count(count));
    }
    header.initialise::<E>(count, start);
    let header = NonNull::from_ref(&*header);
    let words = NonNull::from_mut(words).cast();
    // SAFETY: borrowed for `'m` and long enough, and nobody else can make halves meanwhile.
    unsafe {
        let producer = Producer::resume(header, words, count, start, start)?;
        let consumer = Consumer::resume(header, words, count, start, start)?;
        Ok((producer, consumer))
    }
}

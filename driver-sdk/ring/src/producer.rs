//! The half that writes.

use core::ptr::NonNull;

#[cfg(not(loom))]
use core::sync::atomic::Ordering;
#[cfg(loom)]
use loom::sync::atomic::Ordering;

use crate::{Corrupt, Entry, PushError, Refused, RingHeader, Word, shared::Shared, wake};

/// The half of a ring that writes entries of type `E` into memory that lives for `'m`.
pub struct Producer<'m, E> {
    pub(crate) ring: Shared<'m, E>,
    /// The index of the next entry.
    pub(crate) tail: u32,
    /// The tail at which the ring is full: `head`, and a ring's length. Equal to `tail` for ever
    /// once the ring is corrupt, so that `push` has one comparison to make.
    pub(crate) limit: u32,
    /// The head as last seen.
    head: u32,
    /// The tail as the consumer knows it.
    published: u32,
    corrupt: bool,
}

impl<'m, E: Entry> Producer<'m, E> {
    /// Takes the producing half of a new ring, whose indices are 0.
    ///
    /// # Errors
    ///
    /// [`Refused`], if `count` is not allowed, the pointers are not aligned, or the header was not
    /// initialised for `count` entries of this type.
    ///
    /// # Safety
    ///
    /// The header, and `count` entries from `words` on, are memory that can be read and written for
    /// all of `'m`. In this process it is accessed by atomic operations only, and there is
    /// one half of this kind. Other processes may do with the memory what they like.
    pub unsafe fn new(
        header: NonNull<RingHeader>,
        words: NonNull<Word>,
        count: u32,
    ) -> Result<Self, Refused> {
        // SAFETY: the same promise.
        unsafe { Self::resume(header, words, count, 0, 0) }
    }

    /// Goes on where another producing half has stopped: with `tail` as it last published it, and
    /// `head` as it last saw it. The indices are the caller's own knowledge, not read from the
    /// header.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new), and [`Refused::Indices`] if the two are further apart than the
    /// ring is long.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new).
    pub unsafe fn resume(
        header: NonNull<RingHeader>,
        words: NonNull<Word>,
        count: u32,
        head: u32,
        tail: u32,
    ) -> Result<Self, Refused> {
        // SAFETY: the same promise.
        let ring = unsafe { Shared::new(header, words, count) }?;
        let used = tail.wrapping_sub(head);
        if used > count {
            return Err(Refused::Indices(used));
        }
        Ok(Self {
            ring,
            tail,
            limit: head.wrapping_add(count),
            head,
            published: tail,
            corrupt: false,
        })
    }

    /// Writes an entry, which the consumer sees after [`publish`](Self::publish).
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] if the consumer has not released an entry for it,
    /// [`PushError::Corrupt`] if it pretends to have released what it cannot have.
    #[inline]
    pub fn push(&mut self, entry: E) -> Result<(), PushError> {
        let tail = self.tail;
        if tail == self.limit && self.free()? == 0 {
            return Err(PushError::Full);
        }
        self.ring.store(tail, entry);
        self.tail = tail.wrapping_add(1);
        Ok(())
    }

    /// Writes entries until there are no more, or the ring is full. Returns how many. None is
    /// taken from the iterator that finds no room: lend it with `by_ref` to keep the rest.
    ///
    /// # Errors
    ///
    /// [`Corrupt`], if the ring looked full and the consumer's index is impossible.
    #[inline]
    pub fn extend(&mut self, entries: impl IntoIterator<Item = E>) -> Result<u32, Corrupt> {
        let mut entries = entries.into_iter();
        let (start, mut tail) = (self.tail, self.tail);
        loop {
            let mut room = self.ring.run(tail, self.limit);
            let all = room.fill(&mut entries);
            tail = room.index();
            self.tail = tail;
            // The room that was known may have ended with the memory.
            if all || tail == self.limit && self.free()? == 0 {
                return Ok(tail.wrapping_sub(start));
            }
        }
    }

    /// Writes as many of the entries as there is room for. Returns how many.
    ///
    /// # Errors
    ///
    /// [`Corrupt`], if the ring looked full and the consumer's index is impossible.
    #[inline]
    pub fn push_slice(&mut self, entries: &[E]) -> Result<usize, Corrupt> {
        let mut rest = entries;
        loop {
            let count = self.ring.run(self.tail, self.limit).store_slice(rest);
            self.tail = self.tail.wrapping_add(count as u32);
            rest = rest.get(count..).unwrap_or_default();
            // The room that was known may have ended with the memory.
            if rest.is_empty() || self.tail == self.limit && self.free()? == 0 {
                return Ok(entries.len() - rest.len());
            }
        }
    }

    /// How many entries there is room for, after a look at what the consumer has released.
    ///
    /// # Errors
    ///
    /// [`Corrupt`], now and for ever, if the consumer's index is impossible.
    #[inline]
    pub fn free(&mut self) -> Result<u32, Corrupt> {
        if self.corrupt {
            return Err(Corrupt);
        }
        // Acquire: the consumer has read the entries before we write new ones.
        let head = self.ring.header.consumer.index.load(Ordering::Acquire);
        // It can have gone from where it was to what we have published, and nowhere else.
        if head.wrapping_sub(self.head) > self.published.wrapping_sub(self.head) {
            self.corrupt = true;
            self.limit = self.tail;
            return Err(Corrupt);
        }
        self.head = head;
        self.limit = head.wrapping_add(self.ring.count());
        Ok(self.limit.wrapping_sub(self.tail))
    }

    /// Whether there is room for so many entries. Looks at what the consumer has released only if
    /// there did not seem to be.
    ///
    /// # Errors
    ///
    /// As for [`free`](Self::free).
    #[inline]
    pub fn has_room(&mut self, entries: u32) -> Result<bool, Corrupt> {
        Ok(self.limit.wrapping_sub(self.tail) >= entries.max(1) || self.free()? >= entries)
    }

    /// What both sides write to.
    #[inline]
    pub fn header(&self) -> &'m RingHeader {
        self.ring.header
    }

    /// How many entries the ring has.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.ring.count()
    }

    /// Shows the consumer what was pushed. A consumer that may sleep needs
    /// [`must_wake`](Self::must_wake) afterwards; one that polls does not.
    #[inline]
    pub fn publish(&mut self) {
        let tail = self.tail;
        // Without news the line stays with whoever reads it.
        if tail != self.published {
            // Release: the entries are written before the consumer sees the index.
            self.ring
                .header
                .producer
                .index
                .store(tail, Ordering::Release);
            self.published = tail;
        }
    }

    /// Whether the consumer sleeps and has to be woken by the caller for what was
    /// [published](Self::publish): true once per sleep.
    #[inline]
    #[must_use = "nobody else wakes the consumer"]
    pub fn must_wake(&mut self) -> bool {
        wake::take(&self.ring.header.consumer.sleeps)
    }

    /// Asks to be woken when the ring has room. If it says true, the ring is still full, and the
    /// caller may sleep until it is woken, and then calls [`disarm`](Self::disarm). If it says
    /// false, there is room, and nothing else is to be done.
    ///
    /// # Errors
    ///
    /// [`Corrupt`], if the consumer's index is impossible.
    #[inline]
    #[must_use = "there may be room now"]
    pub fn arm(&mut self) -> Result<bool, Corrupt> {
        wake::raise(&self.ring.header.producer.sleeps);
        let free = self.free();
        if free != Ok(0) {
            wake::lower(&self.ring.header.producer.sleeps);
        }
        Ok(free? == 0)
    }

    /// Takes the wish to be woken back, after a sleep however it ended. Says whether a wake-up was
    /// sent or is on its way: after a time-out it may still come, and must not be mistaken for the
    /// next one.
    #[inline]
    pub fn disarm(&mut self) -> bool {
        wake::lower(&self.ring.header.producer.sleeps)
    }
}

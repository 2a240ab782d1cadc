//! The half that reads.

use core::{iter::FusedIterator, ptr::NonNull};

#[cfg(not(loom))]
use core::sync::atomic::Ordering;
#[cfg(loom)]
use loom::sync::atomic::Ordering;

use crate::{Corrupt, Entry, InPlace, Refused, RingHeader, Word, run::Run, shared::Shared, wake};

/// The half of a ring that reads entries of type `E` from memory that lives for `'m`.
pub struct Consumer<'m, E> {
    pub(crate) ring: Shared<'m, E>,
    /// The index of the next entry.
    pub(crate) head: u32,
    /// The tail as last seen. Equal to `head` for ever once the ring is corrupt, so that `pop` has
    /// one comparison to make.
    pub(crate) tail: u32,
    /// The tail at which the ring is full: the head as the producer knows it, and a ring's length.
    limit: u32,
    corrupt: bool,
}

impl<'m, E: Entry> Consumer<'m, E> {
    /// Takes the consuming half of a new ring, whose indices are 0.
    ///
    /// # Errors
    ///
    /// As for [`Producer::new`](crate::Producer::new).
    ///
    /// # Safety
    ///
    /// As for [`Producer::new`](crate::Producer::new).
    pub unsafe fn new(
        header: NonNull<RingHeader>,
        words: NonNull<Word>,
        count: u32,
    ) -> Result<Self, Refused> {
        // SAFETY: the same promise.
        unsafe { Self::resume(header, words, count, 0, 0) }
    }

    /// Goes on where another consuming half has stopped: with `head` as it last released it, and
    /// `tail` as it last saw it. The indices are the caller's own knowledge, not read from the
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
            head,
            tail,
            limit: head.wrapping_add(count),
            corrupt: false,
        })
    }

    /// A copy of the next entry, if there is one. The producer may use its room again after
    /// [`release`](Self::release).
    ///
    /// # Errors
    ///
    /// [`Corrupt`], if the ring looked empty and the producer's index is impossible.
    #[inline]
    pub fn pop(&mut self) -> Result<Option<E>, Corrupt> {
        let head = self.head;
        if head == self.tail && self.look()? == head {
            return Ok(None);
        }
        self.head = head.wrapping_add(1);
        Ok(Some(self.ring.load(head)))
    }

    /// Like [`pop`](Self::pop), but the entry stays the next one. A hostile producer may change it
    /// meanwhile: only what is popped counts.
    ///
    /// # Errors
    ///
    /// As for [`pop`](Self::pop).
    #[inline]
    pub fn peek(&mut self) -> Result<Option<E>, Corrupt> {
        let head = self.head;
        if head == self.tail && self.look()? == head {
            return Ok(None);
        }
        Ok(Some(self.ring.load(head)))
    }

    /// Everything that there is now, as an iterator. What it has yielded is popped.
    ///
    /// # Errors
    ///
    /// [`Corrupt`], if the producer's index is impossible.
    #[inline]
    pub fn ready(&mut self) -> Result<Ready<'_, 'm, E>, Corrupt> {
        let head = self.head;
        let tail = self.look()?;
        Ok(Ready {
            entries: self.ring.run(head, tail),
            consumer: self,
        })
    }

    /// The next entry where it lies, if there is one.
    ///
    /// # Errors
    ///
    /// As for [`pop`](Self::pop).
    #[inline]
    pub fn front(&mut self) -> Result<Option<InPlace<'_, E>>, Corrupt> {
        if self.head == self.tail && self.available()? == 0 {
            return Ok(None);
        }
        Ok(Some(self.ring.in_place(self.head)))
    }

    /// Takes the next entry without a look at it. Nothing if there was none at the last look.
    #[inline]
    pub const fn skip(&mut self) {
        if self.head != self.tail {
            self.head = self.head.wrapping_add(1);
        }
    }

    /// Pops as many entries as there are and fit into the slice. Returns how many.
    ///
    /// # Errors
    ///
    /// [`Corrupt`], if the producer's index is impossible.
    #[inline]
    pub fn pop_slice(&mut self, entries: &mut [E]) -> Result<usize, Corrupt> {
        let tail = self.look()?;
        let length = entries.len();
        let mut rest = entries;
        while !rest.is_empty() && self.head != tail {
            let count = self.ring.run(self.head, tail).load_slice(rest);
            self.head = self.head.wrapping_add(count as u32);
            rest = rest.get_mut(count..).unwrap_or_default();
        }
        Ok(length - rest.len())
    }

    /// How many entries can be popped, after a look at what the producer has published.
    ///
    /// # Errors
    ///
    /// [`Corrupt`], now and for ever, if the producer's index is impossible.
    #[inline]
    pub fn available(&mut self) -> Result<u32, Corrupt> {
        let head = self.head;
        Ok(self.look()?.wrapping_sub(head))
    }

    /// The tail, after a look at what the producer has published.
    #[inline(always)]
    fn look(&mut self) -> Result<u32, Corrupt> {
        if self.corrupt {
            return Err(Corrupt);
        }
        // Acquire: we read the entries after the index that speaks of them.
        let tail = self.ring.header.producer.index.load(Ordering::Acquire);
        // It can have gone from where it was to a ring's length past what we have released, and
        // nowhere else.
        if tail.wrapping_sub(self.tail) > self.limit.wrapping_sub(self.tail) {
            self.corrupt = true;
            self.tail = self.head;
            return Err(Corrupt);
        }
        self.tail = tail;
        Ok(tail)
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

    /// Gives the room of what was popped back. A producer that may sleep needs
    /// [`must_wake`](Self::must_wake) afterwards; one that polls does not.
    #[inline]
    pub fn release(&mut self) {
        let limit = self.head.wrapping_add(self.ring.count());
        // Without news the line stays with whoever reads it.
        if limit != self.limit {
            // Release: the entries are read before the producer sees the index.
            self.ring
                .header
                .consumer
                .index
                .store(self.head, Ordering::Release);
            self.limit = limit;
        }
    }

    /// Whether the producer sleeps and has to be woken by the caller for the room that was
    /// [released](Self::release): true once per sleep.
    #[inline]
    #[must_use = "nobody else wakes the producer"]
    pub fn must_wake(&mut self) -> bool {
        wake::take(&self.ring.header.producer.sleeps)
    }

    /// Asks to be woken when there is an entry. If it says true, the ring is still empty, and the
    /// caller may sleep until it is woken, and then calls [`disarm`](Self::disarm). If it says
    /// false, there is an entry, and nothing else is to be done.
    ///
    /// # Errors
    ///
    /// [`Corrupt`], if the producer's index is impossible.
    #[inline]
    #[must_use = "there may be an entry now"]
    pub fn arm(&mut self) -> Result<bool, Corrupt> {
        wake::raise(&self.ring.header.consumer.sleeps);
        let available = self.available();
        if available != Ok(0) {
            wake::lower(&self.ring.header.consumer.sleeps);
        }
        Ok(available? == 0)
    }

    /// Takes the wish to be woken back, after a sleep however it ended. Says whether a wake-up was
    /// sent or is on its way: after a time-out it may still come, and must not be mistaken for the
    /// next one.
    #[inline]
    pub fn disarm(&mut self) -> bool {
        wake::lower(&self.ring.header.consumer.sleeps)
    }
}

/// What was in the ring when [`Consumer::ready`] looked.
pub struct Ready<'c, 'm, E: Entry> {
    consumer: &'c mut Consumer<'m, E>,
    entries: Run<E>,
}

impl<E: Entry> Iterator for Ready<'_, '_, E> {
    type Item = E;

    #[inline]
    fn next(&mut self) -> Option<E> {
        if self.entries.is_over() && !self.go_on() {
            return None;
        }
        self.entries.load()
    }

    #[inline]
    fn fold<A, F: FnMut(A, E) -> A>(mut self, start: A, mut each: F) -> A {
        let mut result = self.entries.fold(start, &mut each);
        if self.go_on() {
            result = self.entries.fold(result, &mut each);
        }
        result
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.consumer.tail.wrapping_sub(self.entries.index()) as usize;
        (left, Some(left))
    }
}

impl<E: Entry> Ready<'_, '_, E> {
    /// At the end of a run: goes on at the beginning of the memory, if there is more.
    #[inline(always)]
    fn go_on(&mut self) -> bool {
        let (next, end) = (self.entries.index(), self.consumer.tail);
        if next == end {
            return false;
        }
        self.entries = self.consumer.ring.run(next, end);
        true
    }
}

impl<E: Entry> ExactSizeIterator for Ready<'_, '_, E> {}
impl<E: Entry> FusedIterator for Ready<'_, '_, E> {}

impl<E: Entry> Drop for Ready<'_, '_, E> {
    #[inline]
    fn drop(&mut self) {
        self.consumer.head = self.entries.index();
    }
}

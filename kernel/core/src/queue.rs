//! Lists of threads, and the run queue made of them.
//!
//! A thread is on at most one list at a time: ready on a core, waiting on a word, waiting for an
//! end. So one array of neighbours ([`Links`]), indexed by thread slot, serves every list of the
//! system, and a [`List`] itself is two numbers. Adding and removing are a few instructions and
//! cannot fail. Which list a thread is on is for the owner to know.
//!
//! The [`RunQueue`] is a list per priority and a bit per list that has somebody: the next thread
//! is found by one bit scan.

use alloc::vec::Vec;
use spillway_abi::{Error, limits::MAX_PRIORITY};

/// No neighbour.
const NONE: u16 = u16::MAX;
/// In `next` of a thread that is on no list.
const UNLINKED: u16 = u16::MAX - 1;

#[derive(Clone, Copy, Debug)]
struct Link {
    next: u16,
    previous: u16,
}

const OFF: Link = Link {
    next: UNLINKED,
    previous: NONE,
};

/// The neighbours of every thread on whichever list it is.
#[derive(Debug)]
pub struct Links(Vec<Link>);

impl Links {
    /// Room for no thread: what a static begins with.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Neighbours for the slots below `capacity`, none on a list.
    ///
    /// [`Error::BadArgument`] if `capacity` is more than 65534, [`Error::OutOfMemory`].
    pub fn new(capacity: usize) -> Result<Self, Error> {
        if capacity > UNLINKED as usize {
            return Err(Error::BadArgument);
        }
        crate::filled(capacity, OFF).map(Self)
    }

    /// Whether the thread is on a list.
    #[inline]
    pub fn is_linked(&self, slot: u16) -> bool {
        self.0[slot as usize].next != UNLINKED
    }

    #[inline]
    fn at(&mut self, slot: u16) -> &mut Link {
        &mut self.0[slot as usize]
    }
}

/// Threads in an order. Must be used with the same [`Links`] always.
#[derive(Debug)]
pub struct List {
    head: u16,
    tail: u16,
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    /// An empty list.
    pub const fn new() -> Self {
        Self {
            head: NONE,
            tail: NONE,
        }
    }

    /// Adds a thread that is on no list at the end.
    #[inline]
    pub fn push_back(&mut self, links: &mut Links, slot: u16) {
        debug_assert!(!links.is_linked(slot), "slot {slot} is on a list already");
        let previous = self.tail;
        *links.at(slot) = Link {
            next: NONE,
            previous,
        };
        self.tail = slot;
        if previous == NONE {
            self.head = slot;
        } else {
            links.at(previous).next = slot;
        }
    }

    /// Adds a thread that is on no list at the front.
    #[inline]
    pub fn push_front(&mut self, links: &mut Links, slot: u16) {
        debug_assert!(!links.is_linked(slot), "slot {slot} is on a list already");
        let next = self.head;
        *links.at(slot) = Link {
            next,
            previous: NONE,
        };
        self.head = slot;
        if next == NONE {
            self.tail = slot;
        } else {
            links.at(next).previous = slot;
        }
    }

    /// Takes the first thread off.
    #[inline]
    pub fn pop_front(&mut self, links: &mut Links) -> Option<u16> {
        let slot = self.front()?;
        let next = links.at(slot).next;
        *links.at(slot) = OFF;
        self.head = next;
        if next == NONE {
            self.tail = NONE;
        } else {
            links.at(next).previous = NONE;
        }
        Some(slot)
    }

    /// Takes a thread off that is on this list.
    #[inline]
    pub fn remove(&mut self, links: &mut Links, slot: u16) {
        debug_assert!(links.is_linked(slot), "slot {slot} is on no list");
        let Link { next, previous } = core::mem::replace(links.at(slot), OFF);
        if previous == NONE {
            debug_assert_eq!(self.head, slot, "slot {slot} is on another list");
            self.head = next;
        } else {
            links.at(previous).next = next;
        }
        if next == NONE {
            debug_assert_eq!(self.tail, slot, "slot {slot} is on another list");
            self.tail = previous;
        } else {
            links.at(next).previous = previous;
        }
    }

    /// The first thread.
    #[inline]
    pub const fn front(&self) -> Option<u16> {
        if self.head == NONE {
            None
        } else {
            Some(self.head)
        }
    }

    /// Whether there is no thread.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// The thread behind one that is on this list.
    #[inline]
    pub fn next(&self, links: &Links, slot: u16) -> Option<u16> {
        debug_assert!(links.is_linked(slot), "slot {slot} is on no list");
        Some(links.0[slot as usize].next).filter(|&next| next != NONE)
    }

    /// The threads from the first to the last.
    #[inline]
    pub fn iter<'a>(&'a self, links: &'a Links) -> impl Iterator<Item = u16> + 'a {
        core::iter::successors(self.front(), move |&slot| self.next(links, slot))
    }
}

const PRIORITIES: usize = MAX_PRIORITY as usize + 1;
const _: () = assert!(PRIORITIES == 32);

/// The threads that are ready to run on a core, a list per priority.
#[derive(Debug)]
pub struct RunQueue {
    /// A bit per list that is not empty.
    occupied: u32,
    len: u32,
    lists: [List; PRIORITIES],
}

impl Default for RunQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl RunQueue {
    /// Nobody is ready.
    pub const fn new() -> Self {
        Self {
            occupied: 0,
            len: 0,
            lists: [const { List::new() }; PRIORITIES],
        }
    }

    /// Adds a thread behind those of its priority: one that was woken, or used up its time.
    #[inline]
    pub fn push(&mut self, links: &mut Links, slot: u16, priority: u8) {
        self.enter(priority).push_back(links, slot);
    }

    /// Adds a thread before those of its priority: one that had to make way for a higher one.
    #[inline]
    pub fn push_front(&mut self, links: &mut Links, slot: u16, priority: u8) {
        self.enter(priority).push_front(links, slot);
    }

    /// Counts a thread in and returns its list.
    #[inline]
    fn enter(&mut self, priority: u8) -> &mut List {
        debug_assert!((priority as usize) < PRIORITIES);
        let index = priority as usize % PRIORITIES;
        self.occupied |= 1 << index;
        self.len += 1;
        &mut self.lists[index]
    }

    /// Takes off the thread that is to run next, with its priority.
    #[inline]
    pub fn pop_highest(&mut self, links: &mut Links) -> Option<(u16, u8)> {
        let priority = self.highest()?;
        let index = priority as usize % PRIORITIES;
        let slot = self.lists[index].pop_front(links)?;
        self.leave(index);
        Some((slot, priority))
    }

    /// Takes off a thread that is ready with this priority.
    #[inline]
    pub fn remove(&mut self, links: &mut Links, slot: u16, priority: u8) {
        debug_assert!((priority as usize) < PRIORITIES);
        let index = priority as usize % PRIORITIES;
        self.lists[index].remove(links, slot);
        self.leave(index);
    }

    /// Counts a thread out that is off its list.
    #[inline]
    fn leave(&mut self, index: usize) {
        self.len -= 1;
        if self.lists[index].is_empty() {
            self.occupied &= !(1 << index);
        }
    }

    /// The highest priority at which somebody is ready.
    #[inline]
    pub const fn highest(&self) -> Option<u8> {
        match self.occupied.checked_ilog2() {
            Some(priority) => Some(priority as u8),
            None => None,
        }
    }

    /// Whether somebody is ready at a higher priority than this.
    #[inline]
    pub const fn has_above(&self, priority: u8) -> bool {
        debug_assert!((priority as usize) < PRIORITIES);
        self.occupied >> (priority as u32 % 32) > 1
    }

    /// Whether somebody is ready at this priority.
    #[inline]
    pub const fn has_at(&self, priority: u8) -> bool {
        debug_assert!((priority as usize) < PRIORITIES);
        self.occupied >> (priority as u32 % 32) & 1 != 0
    }

    /// How many threads are ready.
    #[inline]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether nobody is ready.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// The first thread in running order that `wanted` accepts, with its priority: for a core that
    /// looks for work at another one. Visits every ready thread in the worst case.
    pub fn find(&self, links: &Links, mut wanted: impl FnMut(u16) -> bool) -> Option<(u16, u8)> {
        let mut rest = self.occupied;
        while let Some(priority) = rest.checked_ilog2() {
            rest &= !(1 << priority);
            let list = &self.lists[priority as usize % PRIORITIES];
            if let Some(slot) = list.iter(links).find(|&slot| wanted(slot)) {
                return Some((slot, priority as u8));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;

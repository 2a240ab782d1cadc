//! The handle table of a process.
//!
//! A vector of slots; a [`Handle`] is an index and the slot's generation. Looking one up is a
//! bounds check, a comparison of generations and a test for emptiness. Closing a handle moves its
//! slot to the end of a first-in-first-out free list and its generation on by one, so a slot is
//! used again as late as possible and a stale handle meets another generation. Generations run
//! from 1 to 65535 and then begin again: a stale handle is valid again only after its very slot
//! was given out 65535 times more, and even then in the process that kept it, never in another.
//!
//! The vector grows by doubling up to the limit, and shrinks only when it is dropped.

use alloc::vec::Vec;
use spillway_abi::{Error, Handle, Rights};

/// The end of the free list.
const NONE: u32 = u32::MAX;
/// A handle has 16 bits of index.
const MAX_SLOTS: u32 = 1 << 16;
/// Slots of the first allocation.
const FIRST_SLOTS: usize = 8;

#[derive(Debug)]
struct Slot<T> {
    object: Option<T>,
    /// Of the object; of no meaning in a free slot.
    rights: Rights,
    /// The next free slot; of no meaning in a slot that is in use.
    next_free: u32,
    /// Of the handle that is out, or of the next one.
    generation: u16,
}

/// What a process reaches, by handle; `T` is a reference to a kernel object.
#[derive(Debug)]
pub struct HandleTable<T> {
    slots: Vec<Slot<T>>,
    /// The ends of the free list.
    first_free: u32,
    last_free: u32,
    len: u32,
    limit: u32,
    /// No slot from here on is in use: where [`HandleTable::pop_any`] goes on.
    ceiling: u32,
}

impl<T> HandleTable<T> {
    /// An empty table for `limit` handles; more than 65536 are not possible.
    pub const fn new(limit: u32) -> Self {
        Self {
            slots: Vec::new(),
            first_free: NONE,
            last_free: NONE,
            len: 0,
            limit: if limit < MAX_SLOTS { limit } else { MAX_SLOTS },
            ceiling: 0,
        }
    }

    /// Gives out a handle for an object.
    ///
    /// [`Error::LimitReached`] if the table is full, [`Error::OutOfMemory`] if it cannot grow; the
    /// object is dropped then.
    pub fn insert(&mut self, object: T, rights: Rights) -> Result<Handle, Error> {
        let index = self.first_free;
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return self.insert_new(object, rights);
        };
        debug_assert!(slot.object.is_none());
        slot.object = Some(object);
        slot.rights = rights;
        let generation = slot.generation;
        self.first_free = slot.next_free;
        if self.first_free == NONE {
            self.last_free = NONE;
        }
        self.len += 1;
        self.ceiling = self.ceiling.max(index + 1);
        Ok(Handle::new(index as u16, generation))
    }

    /// [`insert`](Self::insert) without a free slot.
    #[cold]
    fn insert_new(&mut self, object: T, rights: Rights) -> Result<Handle, Error> {
        let index = self.slots.len();
        if index as u32 >= self.limit {
            return Err(Error::LimitReached);
        }
        if index == self.slots.capacity() {
            let more = index.max(FIRST_SLOTS).min(self.limit as usize - index);
            self.slots
                .try_reserve_exact(more)
                .map_err(|_| Error::OutOfMemory)?;
        }
        self.slots.push(Slot {
            object: Some(object),
            rights,
            next_free: NONE,
            generation: 1,
        });
        self.len += 1;
        self.ceiling = index as u32 + 1;
        Ok(Handle::new(index as u16, 1))
    }

    /// The object behind a handle, and what the handle allows. [`Error::BadHandle`] if there is
    /// none.
    #[inline]
    pub fn get(&self, handle: Handle) -> Result<(&T, Rights), Error> {
        match self.slots.get(handle.index() as usize) {
            Some(Slot {
                object: Some(object),
                rights,
                generation,
                ..
            }) if *generation == handle.generation() => Ok((object, *rights)),
            _ => Err(Error::BadHandle),
        }
    }

    /// The same for a handle as it stands in a register, if the object is of a kind.
    #[inline(always)]
    pub fn get_raw<'a, U>(
        &'a self,
        raw: u64,
        kind: impl FnOnce(&'a T) -> Option<U>,
    ) -> Option<(U, Rights)> {
        let slot = self.slots.get(usize::from(raw as u16))?;
        let object = kind(slot.object.as_ref()?)?;
        (u64::from(slot.generation) == raw >> 16).then_some((object, slot.rights))
    }

    /// Takes a handle back and returns what it named. [`Error::BadHandle`] if there is nothing.
    pub fn remove(&mut self, handle: Handle) -> Result<(T, Rights), Error> {
        self.get(handle)?;
        self.clear(handle.index().into()).ok_or(Error::BadHandle)
    }

    /// Empties a slot and puts it at the end of the free list. `None` if it is empty already.
    fn clear(&mut self, index: u32) -> Option<(T, Rights)> {
        let slot = self.slots.get_mut(index as usize)?;
        let object = slot.object.take()?;
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        slot.next_free = NONE;
        let rights = slot.rights;
        match self.slots.get_mut(self.last_free as usize) {
            Some(last) => last.next_free = index,
            None => self.first_free = index,
        }
        self.last_free = index;
        self.len -= 1;
        Some((object, rights))
    }

    /// Removes any one handle, for taking a process apart in steps. Emptying a table this way
    /// looks at each slot once, however many calls it takes.
    pub fn pop_any(&mut self) -> Option<(T, Rights)> {
        while self.len > 0 && self.ceiling > 0 {
            self.ceiling -= 1;
            if let Some(entry) = self.clear(self.ceiling) {
                return Some(entry);
            }
        }
        None
    }

    /// Handles that are out.
    #[inline]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether no handle is out.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most handles that can be out at a time.
    #[inline]
    pub const fn limit(&self) -> u32 {
        self.limit
    }
}

/// The rights of a second handle: `wanted`, if the first one has them all, or
/// [`Error::MissingRight`]. Rights only shrink.
#[inline]
pub fn restrict(have: Rights, wanted: Rights) -> Result<Rights, Error> {
    if have.contains(wanted) {
        Ok(wanted)
    } else {
        Err(Error::MissingRight)
    }
}

#[cfg(test)]
mod tests;

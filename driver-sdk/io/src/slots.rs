//! What is in flight on a queue, by slot.
//!
//! The table has its final size from the start, so no request allocates. A slot fills one cache
//! line, and idle ones are a list, the last used first. The name of a request is the index of its
//! slot and the number of the request on its queue, 48 bits together, so a completion that comes twice, or for a request that
//! never was, finds nothing.

use alloc::boxed::Box;
use core::mem;

use crate::{Buffers, Completion, Error, RequestId, TraceId};

/// In a name the index is below these bits, and 32 bits that count requests are above.
const INDEX_BITS: u32 = 16;
/// More slots there cannot be.
const MOST: u32 = 1 << 15;
/// The name that an idle slot has: no index is so large.
const IDLE: u64 = u64::MAX;

/// A place for one request, while the other side has it.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    /// `None` in an idle slot.
    buffers: Buffers,
    /// The request's; in an idle slot the index of the next one.
    user_data: u64,
    trace: TraceId,
    /// The name of the request that is here, or [`IDLE`].
    id: u64,
    /// A note of who keeps the request.
    note: bool,
}

const _: () = assert!(size_of::<Slot>() == 64);

/// The requests in flight on one queue.
#[derive(Debug)]
pub(crate) struct Slots {
    slots: Box<[Slot]>,
    /// The first idle slot; past the end if there is none.
    idle: u64,
    /// Requests so far, modulo 2^32.
    count: u32,
}

/// An idle slot that has the memory of a request already, so that it is moved only once.
pub(crate) struct Filled<'a> {
    slot: &'a mut Slot,
    idle: &'a mut u64,
    count: &'a mut u32,
    id: u64,
}

/// A slot in use.
pub(crate) struct Kept<'a> {
    slot: &'a mut Slot,
    idle: &'a mut u64,
    id: RequestId,
}

/// A request that is no longer kept.
pub(crate) struct Taken {
    pub(crate) id: RequestId,
    pub(crate) user_data: u64,
    pub(crate) trace: TraceId,
    pub(crate) buffers: Buffers,
    #[cfg_attr(not(feature = "native"), allow(dead_code))]
    pub(crate) note: bool,
}

impl Slots {
    /// Room for `capacity` requests, at most 2^15.
    pub(crate) fn new(capacity: u32) -> Self {
        let slot = |index| Slot {
            buffers: Buffers::None,
            user_data: u64::from(index) + 1,
            trace: TraceId(0),
            id: IDLE,
            note: false,
        };
        Self {
            slots: (0..capacity.min(MOST)).map(slot).collect(),
            idle: 0,
            count: 0,
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Requests that were kept so far, modulo 2^32.
    #[inline(always)]
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Puts the memory of the next request where it goes; it comes back if there is no room.
    #[inline(always)]
    pub(crate) fn fill(&mut self, buffers: Buffers) -> Result<Filled<'_>, Buffers> {
        let Some(slot) = self.slots.get_mut(self.idle as usize) else {
            return Err(buffers);
        };
        // There was nothing, so there is nothing to drop.
        mem::forget(mem::replace(&mut slot.buffers, buffers));
        Ok(Filled {
            id: u64::from(self.count) << INDEX_BITS | self.idle,
            slot,
            idle: &mut self.idle,
            count: &mut self.count,
        })
    }

    /// The request of this name, to be taken out; `None` if there is none.
    #[inline(always)]
    pub(crate) fn find(&mut self, id: RequestId) -> Option<Kept<'_>> {
        let slot = self.slots.get_mut(usize::from(id.0 as u16))?;
        let idle = &mut self.idle;
        (slot.id == id.0).then_some(Kept { slot, idle, id })
    }

    /// The names of all requests that are here.
    #[cfg_attr(not(feature = "native"), allow(dead_code))]
    pub(crate) fn names(&self) -> impl Iterator<Item = RequestId> {
        let used = self.slots.iter().filter(|slot| slot.id != IDLE);
        used.map(|slot| RequestId(slot.id))
    }

    /// Whether there is a request of this name.
    pub(crate) fn contains(&self, id: RequestId) -> bool {
        let slot = self.slots.get(usize::from(id.0 as u16));
        slot.is_some_and(|slot| slot.id == id.0)
    }
}

impl Filled<'_> {
    /// The name that the request will have.
    #[inline(always)]
    pub(crate) fn id(&self) -> RequestId {
        RequestId(self.id)
    }

    /// The request's memory.
    #[inline(always)]
    pub(crate) fn buffers(&self) -> &Buffers {
        &self.slot.buffers
    }

    /// Keeps the request: the other side has it.
    #[inline(always)]
    pub(crate) fn keep(self, user_data: u64, trace: TraceId) -> RequestId {
        let id = self.id();
        *self.count = self.count.wrapping_add(1);
        *self.idle = mem::replace(&mut self.slot.user_data, user_data);
        self.slot.id = id.0;
        self.slot.trace = trace;
        id
    }

    /// The same, with a note.
    #[cfg_attr(not(feature = "native"), allow(dead_code))]
    #[inline(always)]
    pub(crate) fn keep_with(self, user_data: u64, trace: TraceId, note: bool) -> RequestId {
        self.slot.note = note;
        self.keep(user_data, trace)
    }

    /// Gives the memory back, and leaves the slot idle.
    pub(crate) fn empty(self) -> Buffers {
        mem::take(&mut self.slot.buffers)
    }
}

impl Kept<'_> {
    /// Takes the request out.
    #[inline(always)]
    pub(crate) fn take(self) -> Taken {
        let Self { slot, idle, id } = self;
        slot.id = IDLE;
        let next = mem::replace(idle, u64::from(id.0 as u16));
        Taken {
            id,
            user_data: mem::replace(&mut slot.user_data, next),
            trace: slot.trace,
            buffers: mem::take(&mut slot.buffers),
            note: slot.note,
        }
    }

    /// Takes the request out, as a completion.
    #[inline(always)]
    pub(crate) fn complete(self, result: Result<(), Error>) -> Completion {
        let Taken {
            id,
            user_data,
            trace,
            buffers,
            ..
        } = self.take();
        Completion {
            id,
            user_data,
            trace,
            result,
            buffers,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every request comes out once, under its own name, and names are not repeated.
        #[test]
        fn each_comes_out_once(
            capacity in 1u32..20,
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let mut slots = Slots::new(capacity);
            let mut held = alloc::vec::Vec::new();
            let mut seen = alloc::collections::BTreeSet::new();
            for (number, (insert, which)) in steps.into_iter().enumerate() {
                let number = number as u64;
                if insert {
                    let Ok(filled) = slots.fill(Buffers::None) else {
                        prop_assert_eq!(held.len(), capacity as usize);
                        continue;
                    };
                    if number.is_multiple_of(3) {
                        filled.empty();
                        continue;
                    }
                    let name = filled.id();
                    let id = filled.keep(number, TraceId(0));
                    prop_assert_eq!(name, id);
                    prop_assert!(seen.insert(id.0));
                    held.push((id, number));
                } else if !held.is_empty() {
                    let (id, number) = held.swap_remove(which.index(held.len()));
                    prop_assert!(slots.contains(id));
                    let completion = slots.find(id).unwrap().complete(Ok(()));
                    prop_assert_eq!(completion.user_data, number);
                    prop_assert!(slots.find(id).is_none());
                }
                prop_assert_eq!(slots.fill(Buffers::None).is_ok(), held.len() < capacity as usize);
            }
        }
    }

    fn keep(slots: &mut Slots) -> RequestId {
        let filled = slots.fill(Buffers::None).ok().unwrap();
        filled.keep(0, TraceId(0))
    }

    #[test]
    fn names_wrap_around() {
        let mut slots = Slots::new(1);
        slots.count = u32::MAX;
        let id = keep(&mut slots);
        assert_eq!(id, RequestId(u64::from(u32::MAX) << INDEX_BITS));
        assert!(slots.contains(id));
        let _ = slots.find(id).unwrap().complete(Ok(()));
        assert!(!slots.contains(id));
        assert_eq!(keep(&mut slots), RequestId(0));
    }

    #[test]
    fn unknown_names_find_nothing() {
        let mut slots = Slots::new(2);
        let id = keep(&mut slots);
        let next = 1 << INDEX_BITS;
        for name in [
            1,
            2,
            next,
            next | 1,
            IDLE,
            IDLE >> INDEX_BITS,
            1 << 15,
            1 << 63,
        ] {
            assert!(slots.find(RequestId(name)).is_none(), "{name:#x}");
        }
        let _ = slots.find(id).unwrap().complete(Ok(()));
        assert!(slots.find(id).is_none());
    }

    #[test]
    fn there_are_as_many_as_an_index_can_name() {
        let mut slots = Slots::new(u32::MAX);
        assert_eq!(slots.capacity(), MOST as usize);
        let names: alloc::collections::BTreeSet<_> =
            (0..1 << 15).map(|_| keep(&mut slots).0).collect();
        assert_eq!(names.len(), 1 << 15);
        assert!(slots.fill(Buffers::None).is_err());
    }
}

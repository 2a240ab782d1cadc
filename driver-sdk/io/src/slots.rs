//! What is in flight on a queue, by slot.
//!
//! The table has its final size from the start, so no request allocates. A slot fills one cache
//! line. The name of a request is the index of its slot and how often that has been used, so a
//! completion that comes twice, or for a request that never was, finds nothing.

use alloc::boxed::Box;
use core::mem;

use crate::{Buffers, Completion, Error, Request, RequestId, TraceId};

/// Added to a name for its next use.
const USE: u64 = 1 << 32;

/// A place for one request, while the other side has it.
#[derive(Debug)]
struct Slot {
    buffers: Buffers,
    user_data: u64,
    trace: TraceId,
    /// The name of the request that is here. In an idle slot: that of the next one, inverted. No
    /// name leads here and is equal to that, because the lower half of a name is the slot's index.
    id: u64,
}

const _: () = assert!(size_of::<Slot>() == 64);

/// The requests in flight on one queue.
#[derive(Debug)]
pub(crate) struct Slots {
    slots: Box<[Slot]>,
    /// Indices of idle slots, as a stack of `idle` entries.
    stack: Box<[u32]>,
    idle: usize,
}

impl Slots {
    /// Room for `capacity` requests.
    pub(crate) fn new(capacity: u32) -> Self {
        let slot = |index| Slot {
            buffers: Buffers::None,
            user_data: 0,
            trace: TraceId(0),
            id: !u64::from(index),
        };
        Self {
            slots: (0..capacity).map(slot).collect(),
            stack: (0..capacity).rev().collect(),
            idle: capacity as usize,
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.slots.len() - self.idle
    }

    /// The name that the next request will have, or `None` if there is no room.
    #[inline]
    pub(crate) fn next(&self) -> Option<RequestId> {
        let index = *self.stack.get(self.idle.wrapping_sub(1))?;
        Some(RequestId(!self.slots.get(index as usize)?.id))
    }

    /// Keeps a request under the name that [`next`](Self::next) gave.
    #[inline]
    pub(crate) fn insert(&mut self, id: RequestId, request: Request) {
        if let Some(slot) = self.slots.get_mut(id.0 as u32 as usize) {
            self.idle -= 1;
            slot.id = id.0;
            slot.user_data = request.user_data;
            slot.trace = request.trace;
            slot.buffers = request.buffers;
        }
    }

    /// Takes the request of this name out, as a completion; `None` if there is none.
    #[inline]
    pub(crate) fn remove(
        &mut self,
        id: RequestId,
        result: Result<(), Error>,
    ) -> Option<Completion> {
        let slot = self.slots.get_mut(id.0 as u32 as usize)?;
        if slot.id != id.0 {
            return None;
        }
        slot.id = !id.0.wrapping_add(USE);
        *self.stack.get_mut(self.idle)? = id.0 as u32;
        self.idle += 1;
        Some(Completion {
            id,
            user_data: slot.user_data,
            trace: slot.trace,
            result,
            buffers: mem::take(&mut slot.buffers),
        })
    }

    /// Whether there is a request of this name.
    pub(crate) fn contains(&self, id: RequestId) -> bool {
        let slot = self.slots.get(id.0 as u32 as usize);
        slot.is_some_and(|slot| slot.id == id.0)
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
                    let Some(id) = slots.next() else {
                        prop_assert_eq!(held.len(), capacity as usize);
                        continue;
                    };
                    slots.insert(id, Request::flush().with_user_data(number));
                    prop_assert!(seen.insert(id.0));
                    held.push((id, number));
                } else if !held.is_empty() {
                    let (id, number) = held.swap_remove(which.index(held.len()));
                    prop_assert!(slots.contains(id));
                    let completion = slots.remove(id, Ok(())).unwrap();
                    prop_assert_eq!(completion.user_data, number);
                    prop_assert!(slots.remove(id, Ok(())).is_none());
                }
                prop_assert_eq!(slots.in_flight(), held.len());
            }
        }
    }

    #[test]
    fn names_wrap_around() {
        let mut slots = Slots::new(1);
        slots.slots[0].id = !(u64::from(u32::MAX) << 32);
        let id = slots.next().unwrap();
        slots.insert(id, Request::flush());
        assert!(slots.contains(id));
        assert!(slots.remove(id, Ok(())).is_some());
        assert_eq!(slots.next(), Some(RequestId(0)));
    }

    #[test]
    fn unknown_names_find_nothing() {
        let mut slots = Slots::new(2);
        let id = slots.next().unwrap();
        slots.insert(id, Request::flush());
        for name in [1, 2, USE, USE + 1, !0, !1, 1 << 63] {
            assert!(slots.remove(RequestId(name), Ok(())).is_none(), "{name:#x}");
        }
    }
}

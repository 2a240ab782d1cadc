extern crate std;

use super::*;
use crate::Random;
use proptest::prelude::*;
use spillway_abi::limits::MAX_HANDLES;
use std::{collections::HashMap, rc::Rc, vec::Vec};

#[derive(Clone, Debug)]
enum Step {
    Insert(u32),
    Remove(usize),
    RemoveWild(u32),
    PopAny,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u32>().prop_map(Step::Insert),
        3 => any::<usize>().prop_map(Step::Remove),
        1 => (0..40u16, 0..4u16).prop_map(|(i, g)| Step::RemoveWild(Handle::new(i, g).raw())),
        1 => Just(Step::PopAny),
    ]
}

/// The table next to a map, and every handle that was ever given out.
struct Pair {
    table: HandleTable<u32>,
    model: HashMap<Handle, (u32, Rights)>,
    seen: Vec<Handle>,
}

impl Pair {
    fn new(limit: u32) -> Self {
        Self {
            table: HandleTable::new(limit),
            model: HashMap::new(),
            seen: Vec::new(),
        }
    }

    fn perform(&mut self, step: &Step) {
        match *step {
            Step::Insert(object) => {
                let rights = Rights::from_bits_truncate(object);
                let result = self.table.insert(object, rights);
                if self.model.len() as u32 == self.table.limit() {
                    assert_eq!(result, Err(Error::LimitReached));
                    return;
                }
                let handle = result.unwrap();
                assert_ne!(handle.generation(), 0);
                assert!(self.model.insert(handle, (object, rights)).is_none());
                self.seen.push(handle);
            }
            Step::Remove(which) if !self.seen.is_empty() => {
                self.remove(self.seen[which % self.seen.len()]);
            }
            Step::Remove(_) => {}
            Step::RemoveWild(raw) => self.remove(Handle::from_raw(raw)),
            Step::PopAny => {
                let Some(entry) = self.table.pop_any() else {
                    assert!(self.model.is_empty());
                    return;
                };
                let gone = |handle: &&Handle| self.table.get(**handle).is_err();
                let handle = *self.model.keys().find(gone).unwrap();
                assert_eq!(self.model.remove(&handle), Some(entry));
            }
        }
    }

    fn remove(&mut self, handle: Handle) {
        let expected = self.model.remove(&handle).ok_or(Error::BadHandle);
        assert_eq!(self.table.remove(handle), expected);
    }

    fn check(&self) {
        assert_eq!(self.table.len() as usize, self.model.len());
        assert_eq!(self.table.is_empty(), self.model.is_empty());
        for handle in &self.seen {
            let expected = self.model.get(handle).copied().ok_or(Error::BadHandle);
            assert_eq!(self.table.get(*handle).map(|(o, r)| (*o, r)), expected);
        }
    }
}

proptest! {
    #[test]
    fn behaves_like_a_map(limit in 0..20u32, steps in prop::collection::vec(step(), 1..200)) {
        let mut pair = Pair::new(limit);
        for step in &steps {
            pair.perform(step);
            pair.check();
        }
    }

    #[test]
    fn any_number_at_all_is_a_handle_or_refused(raw: u32) {
        let mut table = HandleTable::new(4);
        let handle = table.insert((), Rights::READ).unwrap();
        let expected = if raw == handle.raw() { Ok(()) } else { Err(Error::BadHandle) };
        prop_assert_eq!(table.get(Handle::from_raw(raw)).map(|_| ()), expected);
    }

    #[test]
    fn rights_only_shrink(have: u32, wanted: u32) {
        let (have, wanted) = (Rights::from_bits_truncate(have), Rights::from_bits_truncate(wanted));
        match restrict(have, wanted) {
            Ok(got) => prop_assert!(got == wanted && have.contains(got)),
            Err(error) => {
                prop_assert_eq!(error, Error::MissingRight);
                prop_assert!(!have.contains(wanted));
            }
        }
    }
}

#[test]
fn long_random_use_never_confuses_two_handles() {
    for seed in 0..4 {
        let mut random = Random(seed);
        let mut pair = Pair::new(50);
        for round in 0..50_000 {
            let step = match random.below(100) {
                0 => Step::PopAny,
                1..10 => Step::RemoveWild(random.next() as u32 & 0x001f_003f),
                10..50 => Step::Remove(random.next() as usize),
                _ => Step::Insert(random.next() as u32),
            };
            pair.perform(&step);
            if round % 1024 == 0 {
                pair.check();
                pair.seen.retain(|handle| pair.model.contains_key(handle));
            }
        }
        pair.check();
    }
}

#[test]
fn the_limit_is_exact_and_room_comes_back() {
    let mut table = HandleTable::new(MAX_HANDLES);
    let handles: Vec<_> = (0..MAX_HANDLES)
        .map(|object| table.insert(object, Rights::empty()).unwrap())
        .collect();
    assert_eq!(table.insert(0, Rights::empty()), Err(Error::LimitReached));
    assert_eq!(table.remove(handles[9]), Ok((9, Rights::empty())));
    let again = table.insert(99, Rights::empty()).unwrap();
    assert_eq!((again.index(), again.generation()), (handles[9].index(), 2));
    assert_eq!(table.get(handles[9]), Err(Error::BadHandle));
    assert_eq!(table.insert(0, Rights::empty()), Err(Error::LimitReached));
    assert!(table.slots.capacity() <= MAX_HANDLES as usize);
}

#[test]
fn more_than_sixteen_bits_of_handles_are_not_promised() {
    let mut table = HandleTable::new(u32::MAX);
    assert_eq!(table.limit(), 1 << 16);
    for _ in 0..1 << 16 {
        table.insert((), Rights::empty()).unwrap();
    }
    assert_eq!(table.insert((), Rights::empty()), Err(Error::LimitReached));
}

#[test]
fn slots_are_reused_in_the_order_in_which_they_were_freed() {
    let mut table = HandleTable::new(8);
    let handles: Vec<_> = (0..8)
        .map(|object| table.insert(object, Rights::empty()).unwrap())
        .collect();
    for index in [5, 1, 6] {
        table.remove(handles[index]).unwrap();
    }
    for index in [5, 1, 6] {
        let handle = table.insert(0, Rights::empty()).unwrap();
        assert_eq!(handle, Handle::new(index, 2));
    }
}

#[test]
fn generations_wrap_past_zero() {
    let mut table = HandleTable::new(1);
    let mut last = table.insert((), Rights::empty()).unwrap();
    for _ in 0..u16::MAX {
        table.remove(last).unwrap();
        let next = table.insert((), Rights::empty()).unwrap();
        let expected = last.generation().checked_add(1).unwrap_or(1);
        assert_eq!(next.generation(), expected);
        assert_eq!(table.get(last), Err(Error::BadHandle));
        assert_eq!(table.get(Handle::NULL), Err(Error::BadHandle));
        last = next;
    }
    assert_eq!(last.generation(), 1);
}

#[test]
fn a_free_slot_cannot_be_guessed() {
    let mut table = HandleTable::new(2);
    let handle = table.insert((), Rights::all()).unwrap();
    table.remove(handle).unwrap();
    // The generation that the slot will give out next.
    let next = Handle::new(0, 2);
    assert_eq!(table.get(next), Err(Error::BadHandle));
    assert_eq!(table.remove(next), Err(Error::BadHandle));
    assert_eq!(table.insert((), Rights::all()), Ok(next));
}

#[test]
fn objects_are_dropped_exactly_once() {
    let object = Rc::new(());
    let mut table = HandleTable::new(10);
    for _ in 0..10 {
        table.insert(Rc::clone(&object), Rights::empty()).unwrap();
    }
    assert!(table.insert(Rc::clone(&object), Rights::empty()).is_err());
    assert_eq!(Rc::strong_count(&object), 11);
    drop(table.pop_any().unwrap());
    assert_eq!(Rc::strong_count(&object), 10);
    drop(table);
    assert_eq!(Rc::strong_count(&object), 1);
}

#[test]
fn a_table_is_emptied_step_by_step_and_still_works() {
    let mut table = HandleTable::new(100);
    for object in 0..100 {
        table.insert(object, Rights::empty()).unwrap();
    }
    for _ in 0..50 {
        table.pop_any().unwrap();
    }
    table.insert(1000, Rights::empty()).unwrap();
    let rest: Vec<_> = core::iter::from_fn(|| table.pop_any()).collect();
    assert_eq!(rest.len(), 51);
    assert!(rest.contains(&(1000, Rights::empty())));
    assert!(table.is_empty());
    table.insert(1, Rights::empty()).unwrap();
    assert_eq!(table.len(), 1);
}

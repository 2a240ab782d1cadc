extern crate std;

use super::*;
use proptest::prelude::*;
use std::{collections::VecDeque, vec::Vec};

const SLOTS: u16 = 12;

#[derive(Clone, Debug)]
enum Step {
    PushBack(u16, u8),
    PushFront(u16, u8),
    Pop,
    Remove(u16),
    Find(u16),
}

fn step() -> impl Strategy<Value = Step> {
    // Few priorities, so that they collide, with the ends of the range.
    let priority = prop_oneof![Just(0u8), Just(1), Just(16), Just(30), Just(31)];
    prop_oneof![
        4 => (0..SLOTS, priority.clone()).prop_map(|(s, p)| Step::PushBack(s, p)),
        2 => (0..SLOTS, priority).prop_map(|(s, p)| Step::PushFront(s, p)),
        3 => Just(Step::Pop),
        2 => (0..SLOTS).prop_map(Step::Remove),
        1 => (0..SLOTS).prop_map(Step::Find),
    ]
}

/// A list per priority, as the standard library has them.
struct Model([VecDeque<u16>; PRIORITIES]);

impl Model {
    fn priority_of(&self, slot: u16) -> Option<u8> {
        let index = self.0.iter().position(|list| list.contains(&slot));
        index.map(|index| index as u8)
    }

    fn in_order(&self) -> impl Iterator<Item = (u16, u8)> {
        let lists = self.0.iter().enumerate().rev();
        lists.flat_map(|(p, list)| list.iter().map(move |&slot| (slot, p as u8)))
    }
}

fn perform(queue: &mut RunQueue, links: &mut Links, model: &mut Model, step: &Step) {
    match *step {
        Step::PushBack(slot, priority) if model.priority_of(slot).is_none() => {
            queue.push(links, slot, priority);
            model.0[priority as usize].push_back(slot);
        }
        Step::PushFront(slot, priority) if model.priority_of(slot).is_none() => {
            queue.push_front(links, slot, priority);
            model.0[priority as usize].push_front(slot);
        }
        Step::PushBack(..) | Step::PushFront(..) => {}
        Step::Pop => {
            let expected = model.in_order().next();
            if let Some((_, priority)) = expected {
                model.0[priority as usize].pop_front();
            }
            assert_eq!(queue.pop_highest(links), expected);
        }
        Step::Remove(slot) => {
            if let Some(priority) = model.priority_of(slot) {
                queue.remove(links, slot, priority);
                model.0[priority as usize].retain(|&other| other != slot);
            }
        }
        Step::Find(from) => {
            let expected = model.in_order().find(|&(slot, _)| slot >= from);
            assert_eq!(queue.find(links, |slot| slot >= from), expected);
        }
    }
}

proptest! {
    #[test]
    fn a_run_queue_behaves_like_a_list_per_priority(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut links = Links::new(SLOTS as usize).unwrap();
        let mut queue = RunQueue::new();
        let mut model = Model(Default::default());
        for step in &steps {
            perform(&mut queue, &mut links, &mut model, step);
            prop_assert_eq!(queue.len() as usize, model.in_order().count());
            prop_assert_eq!(queue.is_empty(), model.in_order().next().is_none());
            prop_assert_eq!(queue.highest(), model.in_order().next().map(|(_, p)| p));
            for (priority, list) in model.0.iter().enumerate() {
                prop_assert_eq!(queue.has_at(priority as u8), !list.is_empty());
                let found = queue.lists[priority].iter(&links).collect::<VecDeque<_>>();
                prop_assert_eq!(&found, list);
            }
            for slot in 0..SLOTS {
                prop_assert_eq!(links.is_linked(slot), model.priority_of(slot).is_some());
            }
        }
    }
}

#[test]
fn lists_share_their_links_and_keep_apart() {
    let mut links = Links::new(6).unwrap();
    let (mut even, mut odd) = (List::new(), List::default());
    for slot in 0..6 {
        let list = if slot % 2 == 0 { &mut even } else { &mut odd };
        list.push_back(&mut links, slot);
    }
    even.remove(&mut links, 2);
    odd.push_front(&mut links, 2);
    assert_eq!(even.iter(&links).collect::<Vec<_>>(), [0, 4]);
    assert_eq!(odd.iter(&links).collect::<Vec<_>>(), [2, 1, 3, 5]);
    assert_eq!((odd.front(), odd.next(&links, 1)), (Some(2), Some(3)));
    assert_eq!(odd.next(&links, 5), None);
    assert_eq!(even.pop_front(&mut links), Some(0));
    assert_eq!(even.pop_front(&mut links), Some(4));
    assert_eq!(even.pop_front(&mut links), None);
    assert!(even.is_empty() && !odd.is_empty());
}

#[test]
fn round_robin_within_a_priority_and_the_front_for_who_made_way() {
    let mut links = Links::new(3).unwrap();
    let mut queue = RunQueue::default();
    for slot in [0, 1] {
        queue.push(&mut links, slot, 16);
    }
    queue.push_front(&mut links, 2, 16);
    for slot in [2, 0, 1, 2, 0] {
        assert_eq!(queue.pop_highest(&mut links), Some((slot, 16)));
        queue.push(&mut links, slot, 16);
    }
}

#[test]
fn every_slot_up_to_the_limit_works() {
    assert_eq!(Links::new(65535).unwrap_err(), Error::BadArgument);
    assert_eq!(Links::new(usize::MAX).unwrap_err(), Error::BadArgument);
    let mut links = Links::new(65534).unwrap();
    let mut queue = RunQueue::new();
    for slot in 0..65534 {
        queue.push(&mut links, slot, (slot % 32) as u8);
    }
    assert_eq!(queue.len(), 65534);
    let mut count = 0;
    let mut last = 31;
    while let Some((slot, priority)) = queue.pop_highest(&mut links) {
        assert!(priority <= last && slot % 32 == priority as u16);
        last = priority;
        count += 1;
    }
    assert_eq!(count, 65534);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "on a list already")]
fn a_thread_on_two_lists_is_noticed() {
    let mut links = Links::new(2).unwrap();
    List::new().push_back(&mut links, 1);
    List::new().push_back(&mut links, 1);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "on another list")]
fn removal_from_the_wrong_list_is_noticed() {
    let mut links = Links::new(2).unwrap();
    let (mut right, mut wrong) = (List::new(), List::new());
    right.push_back(&mut links, 0);
    wrong.push_back(&mut links, 1);
    wrong.remove(&mut links, 0);
}

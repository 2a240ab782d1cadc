use alloc::{collections::BTreeMap, rc::Rc, vec::Vec};
use proptest::prelude::*;

use super::*;

type Tested = Places<u64, Rc<u32>>;

/// Places for so many requests, all free.
fn places(count: u16) -> (Tested, Free) {
    let (mut places, mut free) = (Tested::new(count.into()).unwrap(), Free::none());
    (0..count).for_each(|place| places.give(&mut free, place));
    (places, free)
}

#[test]
fn places_are_given_out_once() {
    let (mut places, mut free) = places(100);
    let mut taken: Vec<u16> = core::iter::from_fn(|| Some(places.take(&mut free)?.0)).collect();
    taken.sort_unstable();
    assert_eq!(taken, (0..100).collect::<Vec<_>>());
    places.give(&mut free, 7);
    assert_eq!(places.take(&mut free).map(|(place, _)| place), Some(7));
    assert!(places.take(&mut free).is_none());
}

#[test]
fn there_are_no_more_than_numbers() {
    assert!(Tested::empty().get(0).is_none());
    assert!(matches!(Tested::new(65535), Err(Error::BadArgument)));
    assert!(Tested::new(65534).is_ok());
    let mut places = Tested::new(64).unwrap();
    assert!(places.get(63).is_some() && places.get(64).is_none());
    assert!(places.get(NONE).is_none());
}

#[test]
fn each_request_finds_a_group_and_one_is_left() {
    let (mut places, _) = places(4);
    let groups: Vec<_> = (0..5).map(|group| places.open(Rc::new(group))).collect();
    assert!(groups.iter().all(Option::is_some));
    assert!(places.open(Rc::new(9)).is_none());
}

#[test]
fn a_group_goes_with_the_last_who_holds_it() {
    let (mut places, _) = places(4);
    let shared = Rc::new(1);
    let group = places.open(shared.clone()).unwrap();
    places.hold(group, 3);
    assert!(places.let_go(group, 2).is_none());
    assert!(places.let_go(group, 1).is_none());
    assert_eq!(places.group(group), Some(&shared));
    assert_eq!(places.let_go(group, 1), Some(shared.clone()));
    assert_eq!(places.group(group), None);
    assert_eq!(Rc::strong_count(&shared), 1);
    assert_eq!(places.open(shared), Some(group));
}

proptest! {
    /// Requests begin and end in any order, each in a group of some.
    #[test]
    fn what_is_put_in_comes_out(steps in prop::collection::vec((0..3u8, 0..8u16), 0..300)) {
        let (mut places, mut free) = places(20);
        let mut groups: BTreeMap<u16, (u16, u32)> = BTreeMap::new();
        let mut under_way: Vec<(u16, u16, u64)> = Vec::new();
        for (number, (what, choice)) in steps.into_iter().enumerate() {
            match what {
                // A request begins, in the group of its choice, which comes to be with the first.
                0 => {
                    let Some((place, slot)) = places.take(&mut free) else {
                        prop_assert_eq!(under_way.len(), 20);
                        continue;
                    };
                    prop_assert!(slot.group().is_none());
                    let entry = groups.get_mut(&choice);
                    let group = match entry {
                        Some((group, count)) => {
                            *count += 1;
                            places.hold(*group, 1);
                            *group
                        }
                        None => {
                            let group = places.open(Rc::new(choice.into())).unwrap();
                            groups.insert(choice, (group, 1));
                            group
                        }
                    };
                    places.get(place).unwrap().fill(group, number as u64);
                    under_way.push((place, choice, number as u64));
                }
                // One ends.
                _ if !under_way.is_empty() => {
                    let index = usize::from(choice) % under_way.len();
                    let (place, choice, payload) = under_way.swap_remove(index);
                    let (group, count) = groups.get_mut(&choice).unwrap();
                    let slot = places.get(place).unwrap();
                    prop_assert!(slot.is_of(*group));
                    prop_assert_eq!(slot.payload, payload);
                    slot.clear();
                    places.give(&mut free, place);
                    *count -= 1;
                    let gone = places.let_go(*group, 1);
                    prop_assert_eq!(gone.map(|shared| *shared), (*count == 0).then_some(choice.into()));
                    if *count == 0 {
                        groups.remove(&choice);
                    }
                }
                _ => {}
            }
        }
    }
}

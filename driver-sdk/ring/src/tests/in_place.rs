//! Entries that are looked at where they lie, and passed from ring to ring.

use std::{collections::VecDeque, vec::Vec};

use proptest::prelude::*;

use super::plain::Memory;
use crate::*;

type Pair = Words<2>;
type Triple = Words<3>;

#[test]
fn the_front_stays_until_it_is_skipped() {
    let mut memory = Memory::new::<Pair>(4);
    let (mut producer, mut consumer) = memory.split::<Pair>(u32::MAX);
    assert!(consumer.front().unwrap().is_none());
    consumer.skip();
    for value in 0..2 {
        producer.push(Words([value, 10 + value])).unwrap();
    }
    producer.publish();
    for _ in 0..2 {
        let front = consumer.front().unwrap().unwrap();
        assert_eq!((front.load(0), front.load(1)), (0, 10));
    }
    consumer.skip();
    assert_eq!(consumer.front().unwrap().unwrap().load(0), 1);
    assert_eq!(consumer.pop(), Ok(Some(Words([1, 11]))));
    // There is nothing to skip any more.
    consumer.skip();
    assert_eq!(consumer.available(), Ok(0));
}

#[test]
#[should_panic(expected = "an entry has 2 words")]
fn there_is_no_word_behind_an_entry() {
    let mut memory = Memory::new::<Pair>(4);
    let (mut producer, mut consumer) = memory.split::<Pair>(0);
    producer.push(Words([1, 2])).unwrap();
    producer.publish();
    consumer.front().unwrap().unwrap().load(2);
}

#[test]
fn what_was_not_published_is_not_passed_on() {
    let (mut first, mut second) = (Memory::new::<Pair>(4), Memory::new::<Pair>(4));
    let (mut producer, mut from) = first.split::<Pair>(0);
    let (mut to, mut consumer) = second.split::<Pair>(0);
    producer.push(Words([1, 2])).unwrap();
    assert_eq!(from.available(), Ok(0));
    assert_eq!(pass(&mut from, &mut to, 4, |_, _| true), 0);
    producer.publish();
    // Nobody has looked since.
    assert_eq!(pass(&mut from, &mut to, 4, |_, _| true), 0);
    assert_eq!(from.available(), Ok(1));
    assert_eq!(pass(&mut from, &mut to, 0, |_, _| true), 0);
    assert_eq!(pass(&mut from, &mut to, 4, |_, _| true), 1);
    assert_eq!(consumer.available(), Ok(0));
    to.publish();
    assert_eq!(consumer.available(), Ok(1));
}

proptest! {
    /// In any steps, from any index, what is passed on comes out of the other ring in order, and
    /// nothing is lost or there twice.
    #[test]
    fn what_is_passed_on_arrives_in_order(
        starts: (u32, u32),
        steps in prop::collection::vec((0..3u8, 0..12u32, 0..12u32), 1..100),
    ) {
        let (mut first, mut second) = (Memory::new::<Pair>(8), Memory::new::<Triple>(4));
        let (mut producer, mut from) = first.split::<Pair>(starts.0);
        let (mut to, mut consumer) = second.split::<Triple>(starts.1);
        let (mut waiting, mut passed) = (VecDeque::new(), VecDeque::new());
        let mut next = 0;
        for (step, most, stop) in steps {
            match step {
                0 => {
                    for _ in 0..most {
                        if producer.push(Words([next, next + 7])).is_ok() {
                            waiting.push_back(next);
                            next += 1;
                        }
                    }
                    producer.publish();
                }
                1 => {
                    let there = from.available().unwrap();
                    let room = to.free().unwrap();
                    let mut seen = Vec::new();
                    let count = pass(&mut from, &mut to, most, |entry, place| {
                        if seen.len() as u32 == stop {
                            return false;
                        }
                        seen.push(entry.load(0));
                        place.store(0, entry.load(0));
                        place.store(2, entry.load(1));
                        true
                    });
                    prop_assert_eq!(count, there.min(room).min(most).min(stop));
                    let expected: Vec<_> = waiting.drain(..count as usize).collect();
                    prop_assert_eq!(&seen, &expected);
                    passed.extend(expected);
                    from.release();
                    to.publish();
                }
                _ => {
                    for _ in 0..most {
                        let entry = consumer.pop().unwrap();
                        let value = passed.pop_front();
                        // The word in the middle keeps what it had.
                        prop_assert_eq!(entry, value.map(|value| Words([value, 0, value + 7])));
                    }
                    consumer.release();
                }
            }
        }
    }
}

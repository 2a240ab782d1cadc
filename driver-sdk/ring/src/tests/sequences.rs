//! Random sequences of everything that the two halves can do, beside a queue that cannot be wrong.
//! The indices begin just before they wrap, so that they do.

use std::{collections::VecDeque, vec, vec::Vec};

use proptest::prelude::*;

use super::{numbered::Numbered, plain::Memory};
use crate::*;

/// What one of the halves does, with as many entries as are named.
#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Extend(usize),
    PushSlice(usize),
    Publish,
    Pop(usize),
    Ready(usize),
    Fold,
    PopSlice(usize),
    Release,
    Counts,
}

fn step() -> impl Strategy<Value = Step> {
    let some = 0..20usize;
    prop_oneof![
        some.clone().prop_map(Step::Push),
        some.clone().prop_map(Step::Extend),
        some.clone().prop_map(Step::PushSlice),
        Just(Step::Publish),
        some.clone().prop_map(Step::Pop),
        some.clone().prop_map(Step::Ready),
        Just(Step::Fold),
        some.prop_map(Step::PopSlice),
        Just(Step::Release),
        Just(Step::Counts),
    ]
}

/// What is right.
#[derive(Default)]
struct Model {
    next: u64,
    pushed: VecDeque<u64>,
    published: VecDeque<u64>,
    popped: usize,
}

impl Model {
    fn room(&self, count: usize) -> usize {
        count - self.pushed.len() - self.published.len() - self.popped
    }

    /// The next numbers to be pushed, of which so many find room.
    fn push(&mut self, count: usize) -> u64 {
        let first = self.next;
        self.next += count as u64;
        self.pushed.extend(first..self.next);
        first
    }

    fn pop<E: Numbered>(&mut self, count: usize) -> Vec<E> {
        self.popped += count;
        self.published.drain(..count).map(E::of).collect()
    }
}

fn check<E: Numbered>(count: usize, start: u32, steps: &[Step]) {
    let mut memory = Memory::new::<E>(count);
    let (mut producer, mut consumer) = memory.split::<E>(start);
    let mut model = Model::default();
    for step in steps {
        let room = model.room(count);
        let there = model.published.len();
        match *step {
            Step::Push(most) => {
                for _ in 0..most.min(room) {
                    let number = model.push(1);
                    assert_eq!(producer.push(E::of(number)), Ok(()));
                }
                if most > room {
                    assert_eq!(producer.push(E::of(0)), Err(PushError::Full));
                }
            }
            Step::Extend(most) => {
                let first = model.push(most.min(room));
                let mut entries = (first..).map(E::of).take(most);
                let pushed = producer.extend(entries.by_ref());
                assert_eq!(pushed, Ok(most.min(room) as u32));
                assert_eq!(entries.count(), most - most.min(room), "one was lost");
            }
            Step::PushSlice(most) => {
                let first = model.push(most.min(room));
                let entries: Vec<E> = (first..).map(E::of).take(most).collect();
                assert_eq!(producer.push_slice(&entries), Ok(most.min(room)));
            }
            Step::Publish => {
                producer.publish();
                model.published.append(&mut model.pushed);
            }
            Step::Pop(most) => {
                for expected in model.pop::<E>(most.min(there)) {
                    assert_eq!(consumer.peek(), Ok(Some(expected)));
                    assert_eq!(consumer.pop(), Ok(Some(expected)));
                }
                if most > there {
                    assert_eq!(consumer.pop(), Ok(None));
                }
            }
            Step::Ready(most) => {
                let mut ready = consumer.ready().unwrap();
                assert_eq!(ready.len(), there);
                let some: Vec<E> = ready.by_ref().take(most).collect();
                assert_eq!(ready.len(), there - some.len());
                drop(ready);
                assert_eq!(some, model.pop::<E>(most.min(there)));
            }
            Step::Fold => {
                let mut all = vec![];
                consumer.ready().unwrap().for_each(|entry| all.push(entry));
                assert_eq!(all, model.pop::<E>(there));
            }
            Step::PopSlice(most) => {
                let mut some = vec![E::of(u64::MAX); most];
                assert_eq!(consumer.pop_slice(&mut some), Ok(most.min(there)));
                some.truncate(there);
                assert_eq!(some, model.pop::<E>(some.len()));
            }
            Step::Release => {
                consumer.release();
                model.popped = 0;
            }
            Step::Counts => {
                assert_eq!(consumer.available(), Ok(there as u32));
                assert_eq!(producer.free(), Ok(room as u32));
                assert_eq!(producer.has_room(room as u32), Ok(true));
                assert_eq!(producer.has_room(room as u32 + 1), Ok(false));
            }
        }
    }
}

proptest! {
    #[test]
    fn a_ring_is_a_queue_of_bounded_length(
        power in 0..5u32,
        before in 0..40u32,
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let (count, start) = (1 << power, 0u32.wrapping_sub(before));
        check::<u64>(count, start, &steps);
        check::<[u64; 2]>(count, start, &steps);
        check::<[u64; 3]>(count, start, &steps);
        check::<[u64; 8]>(count, start, &steps);
        check::<[u64; 11]>(count, start, &steps);
        check::<Words<8>>(count, start, &steps);
    }
}

extern crate std;

use super::*;
use crate::Random;
use proptest::prelude::*;
use std::{collections::HashSet, vec, vec::Vec};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Foreign,
    Used,
    Free,
}

/// The allocator next to the simplest thing that does the same: an array of states.
struct Pair {
    allocator: FrameAllocator<'static>,
    model: Vec<State>,
}

impl Pair {
    fn new(block_count: usize) -> Self {
        let blocks = vec![Block::EMPTY; block_count].leak();
        let model = vec![State::Foreign; block_count * 512];
        let allocator = FrameAllocator::new(blocks);
        Self { allocator, model }
    }

    fn add(&mut self, start: u64, count: u64) {
        let mut new = 0;
        for state in self.range(Extent { start, count }) {
            if *state == State::Foreign {
                *state = State::Free;
                new += 1;
            }
        }
        assert_eq!(self.allocator.add(Extent { start, count }), new);
    }

    /// The states of as much of an extent as the model has.
    fn range(&mut self, extent: Extent) -> &mut [State] {
        let length = self.model.len();
        let start = usize::try_from(extent.start).unwrap().min(length);
        let count = usize::try_from(extent.count).unwrap().min(length - start);
        &mut self.model[start..start + count]
    }

    /// Marks what the allocator gave out; it must have been free.
    fn given(&mut self, extent: Extent) {
        assert!(extent.start + extent.count <= self.model.len() as u64);
        for state in self.range(extent) {
            assert_eq!(*state, State::Free, "{extent:?} was not free");
            *state = State::Used;
        }
    }

    fn allocate(&mut self) -> Option<Extent> {
        let start = self.allocator.allocate();
        assert_eq!(start.is_none(), self.free() == 0);
        let extent = Extent {
            start: start?,
            count: 1,
        };
        self.given(extent);
        Some(extent)
    }

    fn allocate_extent(&mut self, most: u64) -> Option<Extent> {
        let extent = self.allocator.allocate_extent(most);
        assert_eq!(extent.is_none(), self.free() == 0 || most == 0);
        let extent = extent?;
        assert!((1..=most).contains(&extent.count));
        self.given(extent);
        Some(extent)
    }

    fn allocate_run(&mut self, count: u64, align: u64, below: u64) -> Option<Extent> {
        let end = below.min(self.model.len() as u64);
        let all_free = |start: u64| {
            let run = &self.model[start as usize..(start + count) as usize];
            run.iter().all(|&state| state == State::Free)
        };
        let lowest = (0..end)
            .step_by(align.max(1) as usize)
            .take_while(|start| start + count <= end)
            .find(|&start| count > 0 && all_free(start));
        let run = self.allocator.allocate_run(count, align, below);
        assert_eq!(run.is_some(), lowest.is_some());
        let run = run?;
        assert_eq!((run.count, run.start % align.max(1)), (count, 0));
        assert!(run.start + count <= end);
        if end < self.model.len() as u64 {
            assert_eq!(Some(run.start), lowest);
        }
        self.given(run);
        Some(run)
    }

    fn release(&mut self, extent: Extent) -> Result<(), FreeError> {
        let all_there = extent
            .start
            .checked_add(extent.count)
            .is_some_and(|end| end <= self.model.len() as u64);
        let expected = if extent.count == 0 {
            Ok(())
        } else if !all_there {
            Err(())
        } else if self.range(extent).iter().all(|&s| s == State::Used) {
            self.range(extent).fill(State::Free);
            Ok(())
        } else {
            Err(())
        };
        let result = self.allocator.free(extent);
        assert_eq!(result.is_ok(), expected.is_ok(), "{extent:?}: {result:?}");
        result
    }

    fn free(&self) -> usize {
        self.model.iter().filter(|&&s| s == State::Free).count()
    }

    /// Every bit, count, summary and list agrees with the model.
    fn check(&self) {
        assert_eq!(self.allocator.free_count(), self.free() as u64);
        let mut expected = [HashSet::new(), HashSet::new()];
        for (index, block) in self.allocator.blocks.iter().enumerate() {
            let states = &self.model[index * 512..][..512];
            for (frame, &state) in states.iter().enumerate() {
                let bit = |words: &[u64; 8]| words[frame / 64] >> (frame % 64) & 1 == 1;
                assert_eq!(bit(&block.free), state == State::Free);
                assert_eq!(bit(&block.ours), state != State::Foreign);
            }
            let free = states.iter().filter(|&&s| s == State::Free).count();
            assert_eq!(block.count as usize, free);
            for word in 0..8 {
                assert_eq!(block.words >> word & 1 == 1, block.free[word] != 0);
            }
            if free > 0 {
                expected[list_for(block.count)].insert(index);
            }
        }
        for (list, expected) in expected.iter().enumerate() {
            let mut found = HashSet::new();
            let mut previous = 0;
            let mut number = self.allocator.heads[list];
            while number != 0 {
                let block = &self.allocator.blocks[number as usize - 1];
                assert_eq!(block.previous, previous);
                assert!(found.insert(number as usize - 1), "a list runs in a circle");
                (previous, number) = (number, block.next);
            }
            assert_eq!(&found, expected);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add(u64, u64),
    Allocate,
    Extent(u64),
    Run(u64, u64, u64),
    Free(usize),
    FreePart(usize, u64, u64),
    FreeWild(u64, u64),
}

const BLOCKS: usize = 5;
const END: u64 = BLOCKS as u64 * 512;

fn step() -> impl Strategy<Value = Step> {
    let run = (
        prop_oneof![1..10u64, 400..1200u64],
        prop_oneof![Just(1u64), Just(2), Just(8), Just(512), 0..100u64],
        prop_oneof![Just(u64::MAX), 0..END + 100],
    );
    prop_oneof![
        1 => (0..END + 300, 0..1200u64).prop_map(|(start, count)| Step::Add(start, count)),
        4 => Just(Step::Allocate),
        3 => prop_oneof![0..70u64, 500..2000u64].prop_map(Step::Extent),
        2 => run.prop_map(|(count, align, below)| Step::Run(count, align, below)),
        3 => any::<usize>().prop_map(Step::Free),
        2 => (any::<usize>(), 0..100u64, 0..100u64).prop_map(|(i, s, c)| Step::FreePart(i, s, c)),
        2 => (0..END + 600, 0..600u64).prop_map(|(start, count)| Step::FreeWild(start, count)),
    ]
}

/// Does one step on both sides; `out` has what is given out, as far as it is known.
fn perform(pair: &mut Pair, out: &mut Vec<Extent>, step: &Step) {
    match *step {
        Step::Add(start, count) => pair.add(start, count),
        Step::Allocate => out.extend(pair.allocate()),
        Step::Extent(most) => out.extend(pair.allocate_extent(most)),
        Step::Run(count, align, below) => out.extend(pair.allocate_run(count, align, below)),
        Step::Free(which) if !out.is_empty() => {
            let extent = out.swap_remove(which % out.len());
            let _ = pair.release(extent);
        }
        Step::FreePart(which, skip, count) if !out.is_empty() => {
            let extent = out[which % out.len()];
            let start = extent.start + skip.min(extent.count);
            let _ = pair.release(Extent { start, count });
        }
        Step::Free(_) | Step::FreePart(..) => {}
        Step::FreeWild(start, count) => {
            let _ = pair.release(Extent { start, count });
        }
    }
}

proptest! {
    // Each case checks every bit after every step, which takes its time.
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn behaves_like_an_array_of_states(steps in prop::collection::vec(step(), 1..60)) {
        let mut pair = Pair::new(BLOCKS);
        pair.add(3, 1500);
        let mut out = Vec::new();
        for step in &steps {
            perform(&mut pair, &mut out, step);
            pair.check();
        }
    }
}

#[test]
fn long_random_use_keeps_every_frame_accounted_for() {
    for seed in 0..4 {
        let mut random = Random(seed);
        let mut pair = Pair::new(BLOCKS);
        pair.add(7, END / 2);
        pair.add(END / 2 + 70, END);
        let mut out = Vec::new();
        for round in 0..5_000 {
            let step = match random.below(8) {
                0 => Step::Extent(random.below(600)),
                1 => Step::Extent(random.below(8)),
                2 => Step::Run(1 + random.below(40), 1 << random.below(6), u64::MAX),
                3 => Step::FreePart(random.next() as usize, random.below(20), random.below(20)),
                4 => Step::FreeWild(random.below(END + 9), random.below(9)),
                5 | 6 => Step::Free(random.next() as usize),
                _ => Step::Allocate,
            };
            perform(&mut pair, &mut out, &step);
            if round % 512 == 0 {
                pair.check();
            }
        }
        pair.check();
    }
}

#[test]
fn every_frame_can_be_taken_and_given_back() {
    let mut pair = Pair::new(3);
    pair.add(0, 1536);
    let taken: Vec<_> = core::iter::from_fn(|| pair.allocate()).collect();
    assert_eq!(taken.len(), 1536);
    assert_eq!(pair.allocator.allocate_extent(1), None);
    assert_eq!(pair.allocator.allocate_run(1, 1, u64::MAX), None);
    for extent in taken {
        pair.release(extent).unwrap();
    }
    pair.check();
    let whole = pair.allocate_extent(u64::MAX).unwrap();
    assert_eq!((whole.start, whole.count), (0, 1536));
}

#[test]
fn a_frame_is_never_freed_twice_or_by_a_stranger() {
    let mut pair = Pair::new(2);
    pair.add(10, 500);
    let extent = pair.allocate_extent(20).unwrap();
    let one = |start| Extent { start, count: 1 };
    pair.release(extent).unwrap();
    assert_eq!(
        pair.allocator.free(one(extent.start)),
        Err(FreeError::AlreadyFree)
    );
    assert_eq!(pair.allocator.free(one(9)), Err(FreeError::Foreign));
    assert_eq!(pair.allocator.free(one(600)), Err(FreeError::Foreign));
    assert_eq!(pair.allocator.free(one(1024)), Err(FreeError::Foreign));
    assert_eq!(pair.allocator.free(one(u64::MAX)), Err(FreeError::Foreign));
    let wrapping = Extent {
        start: u64::MAX,
        count: u64::MAX,
    };
    assert_eq!(pair.allocator.free(wrapping), Err(FreeError::Foreign));
    pair.check();
}

#[test]
fn a_whole_block_of_strangers_is_refused() {
    let mut pair = Pair::new(3);
    pair.add(0, 512);
    pair.add(1030, 500);
    while pair.allocate().is_some() {}
    for start in [512, 1024] {
        let block = Extent { start, count: 512 };
        assert_eq!(pair.allocator.free(block), Err(FreeError::Foreign));
    }
    let all = Extent {
        start: 0,
        count: 1536,
    };
    assert_eq!(pair.allocator.free(all), Err(FreeError::Foreign));
    pair.check();
}

#[test]
fn a_refused_extent_changes_nothing() {
    let mut pair = Pair::new(2);
    pair.add(0, 1024);
    while pair.allocate().is_some() {}
    pair.release(Extent {
        start: 700,
        count: 1,
    })
    .unwrap();
    // All but the 700th could be taken back.
    let all = Extent {
        start: 0,
        count: 1024,
    };
    assert_eq!(pair.release(all), Err(FreeError::AlreadyFree));
    pair.check();
}

#[test]
fn single_frames_leave_whole_blocks_whole() {
    let mut pair = Pair::new(4);
    pair.add(0, 2048);
    let frame = pair.allocate().unwrap();
    pair.allocate().unwrap();
    pair.release(frame).unwrap();
    for _ in 0..510 {
        pair.allocate().unwrap();
    }
    assert_eq!(pair.allocate_extent(u64::MAX).unwrap().count, 3 * 512);
}

#[test]
fn low_memory_is_used_last_and_runs_stay_below_their_limit() {
    let mut pair = Pair::new(4);
    pair.add(0, 2048);
    assert!(pair.allocate().unwrap().start >= 1536);
    assert_eq!(pair.allocate_run(512, 512, 1024).unwrap().start, 0);
    assert_eq!(pair.allocate_run(512, 512, 1024).unwrap().start, 512);
    assert_eq!(pair.allocate_run(512, 512, 1024), None);
    assert_eq!(pair.allocate_run(0, 1, u64::MAX), None);
    assert_eq!(pair.allocate_run(1, u64::MAX, u64::MAX), None);
    assert_eq!(pair.allocate_run(u64::MAX, 1, u64::MAX), None);
}

#[test]
fn one_call_takes_a_bounded_number_of_blocks() {
    let mut pair = Pair::new(MOST_BLOCKS + 2);
    pair.add(0, u64::MAX);
    let extent = pair.allocate_extent(u64::MAX).unwrap();
    assert_eq!(extent.count, MOST_BLOCKS as u64 * 512);
    assert_eq!(pair.allocate_extent(u64::MAX).unwrap().count, 1024);
    assert_eq!(pair.allocate_extent(u64::MAX), None);
}

#[test]
fn without_bookkeeping_there_are_no_frames() {
    let mut allocator = FrameAllocator::new(&mut []);
    let all = Extent {
        start: 0,
        count: u64::MAX,
    };
    assert_eq!(allocator.add(all), 0);
    assert_eq!(allocator.allocate(), None);
    assert_eq!(allocator.allocate_extent(9), None);
    assert_eq!(allocator.allocate_run(9, 1, u64::MAX), None);
    assert_eq!(FrameAllocator::blocks_for(0), 0);
    assert_eq!(FrameAllocator::blocks_for(512), 1);
    assert_eq!(FrameAllocator::blocks_for(513), 2);
}

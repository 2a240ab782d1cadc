//! The other side writes whatever it likes, wherever it can, at any time: what is promised must
//! hold without any good will.

use core::{ptr::NonNull, sync::atomic::Ordering};
use std::{
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
    vec,
    vec::Vec,
};

use proptest::prelude::*;

use super::numbered::Numbered;
use crate::*;

/// Words before and behind the entries, which nobody may touch.
const GUARD: usize = 64;
/// What is in them.
const UNTOUCHED: u64 = 0x5afe_5afe_5afe_5afe;

/// A ring with guards around its entries, and no promise about who writes to it.
struct Open {
    header: RingHeader,
    words: Vec<Word>,
    count: u32,
}

impl Open {
    fn new<E: Entry>(count: u32, start: u32) -> Self {
        let header = RingHeader::default();
        header.initialise::<E>(count, start);
        let guarded = count as usize * E::WORDS + 2 * GUARD;
        let words = (0..guarded).map(|_| Word::new(UNTOUCHED)).collect();
        Self {
            header,
            words,
            count,
        }
    }

    /// Both halves. Neither is used with the other: each has a hostile side.
    fn halves<E: Entry>(&self, start: u32) -> (Producer<'_, E>, Consumer<'_, E>) {
        let header = NonNull::from_ref(&self.header);
        let words = NonNull::from_ref(&self.words[GUARD]);
        // SAFETY: borrowed from `self`, and all of it is atomic.
        unsafe {
            let producer = Producer::resume(header, words, self.count, start, start).unwrap();
            let consumer = Consumer::resume(header, words, self.count, start, start).unwrap();
            (producer, consumer)
        }
    }

    fn assert_untouched(&self) {
        let (last, first) = (self.words.len() - GUARD, GUARD);
        let guards = self.words[..first].iter().chain(&self.words[last..]);
        for word in guards {
            assert_eq!(word.load(Ordering::Relaxed), UNTOUCHED, "out of the ring");
        }
    }

    /// What a peer can reach: every word of the header, and every entry.
    fn scribble(&self, place: usize, value: u64) {
        let inner = self.words.len() - 2 * GUARD;
        let RingHeader {
            info,
            producer,
            consumer,
            ..
        } = &self.header;
        let fields = [
            &producer.index,
            &consumer.index,
            &producer.sleeps,
            &consumer.sleeps,
            &info.version,
            &info.entries,
            &info.entry_size,
            &info.features,
        ];
        // The fields as often as the entries.
        match fields.get(place % (2 * fields.len())) {
            Some(field) => field.store(value as u32, Ordering::Relaxed),
            None => self.words[GUARD + place % inner].store(value, Ordering::Relaxed),
        }
    }
}

/// What a half is asked for, and what the other side writes before.
#[derive(Clone, Debug)]
struct Step {
    writes: Vec<(usize, u64)>,
    act: u8,
    count: usize,
}

fn step(start: u32) -> impl Strategy<Value = Step> {
    // Near the truth as often as anywhere.
    let value = prop_oneof![
        (0..40u32).prop_map(move |more| u64::from(start.wrapping_sub(8).wrapping_add(more))),
        any::<u64>(),
    ];
    let writes = prop::collection::vec((any::<usize>(), value), 0..4);
    (writes, 0..6u8, 0..20usize).prop_map(|(writes, act, count)| Step { writes, act, count })
}

/// A consumer: how many entries it got, or that the ring is corrupt. It gives no room back, so that
/// what it gets is bounded.
fn consume<E: Numbered>(
    consumer: &mut Consumer<'_, E>,
    act: u8,
    count: usize,
) -> Result<u32, Corrupt> {
    let got = match act {
        0 => consumer.pop()?.map_or(0, |_| 1),
        1 => consumer.ready()?.take(count).count(),
        2 => consumer.ready()?.fold(0, |count, _| count + 1),
        3 => consumer.pop_slice(&mut vec![E::of(0); count])?,
        4 => consumer.arm().map(|_| 0)?,
        _ => consumer.available().map(|_| 0)?,
    };
    Ok(got as u32)
}

/// A producer: how many entries it got rid of, none of them published.
fn produce<E: Numbered>(
    producer: &mut Producer<'_, E>,
    act: u8,
    count: usize,
) -> Result<u32, Corrupt> {
    match act {
        0 => match producer.push(E::of(1)) {
            Ok(()) => Ok(1),
            Err(PushError::Full) => Ok(0),
            Err(PushError::Corrupt) => Err(Corrupt),
        },
        1 | 2 => producer.extend((0..count as u64).map(E::of)),
        3 => Ok(producer.push_slice(&vec![E::of(2); count])? as u32),
        4 => producer.arm().map(|_| 0),
        _ => producer.has_room(count as u32).map(|_| 0),
    }
}

fn survive<E: Numbered>(count: u32, start: u32, steps: &[Step]) {
    let ring = Open::new::<E>(count, start);
    let (mut producer, mut consumer) = ring.halves::<E>(start);
    let (mut pushed, mut popped, mut corrupt) = (0, 0, [false; 2]);
    for Step { writes, act, count } in steps {
        for &(place, value) in writes {
            ring.scribble(place, value);
        }
        match produce(&mut producer, *act, *count) {
            Ok(some) => {
                // Nothing finds no room even there, if it is a slice.
                let nothing = *act == 3 && *count == 0;
                assert!(!corrupt[0] || nothing, "an error that went away");
                pushed += some;
            }
            Err(Corrupt) => corrupt[0] = true,
        }
        match consume(&mut consumer, *act, *count) {
            Ok(some) => {
                assert!(!corrupt[1], "an error that went away");
                popped += some;
            }
            Err(Corrupt) => corrupt[1] = true,
        }
    }
    assert!(
        pushed <= ring.count,
        "nothing was published, so nothing came back"
    );
    assert!(
        popped <= ring.count,
        "more than the ring has, and nothing was released"
    );
    ring.assert_untouched();
}

proptest! {
    #[test]
    fn nothing_that_is_written_between_two_calls_does_harm(
        (power, start, steps) in (0..4u32, prop_oneof![Just(0), Just(u32::MAX - 3), any::<u32>()])
            .prop_flat_map(|(power, start)| {
                let steps = prop::collection::vec(step(start), 1..60);
                (Just(power), Just(start), steps)
            }),
    ) {
        survive::<u64>(1 << power, start, &steps);
        survive::<[u64; 3]>(1 << power, start, &steps);
        survive::<[u64; 8]>(1 << power, start, &steps);
        survive::<Words<8>>(1 << power, start, &steps);
    }
}

/// Stops the thread, also when something has panicked.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The same while the calls are under way, by another thread. How far the two come depends on the
/// host; what is asserted does not.
#[test]
fn nothing_that_is_written_during_a_call_does_harm() {
    let end = Instant::now() + Duration::from_millis(300);
    let mut seed = 1u64;
    while Instant::now() < end {
        let start = seed as u32;
        let ring = Open::new::<[u64; 8]>(8, start);
        let (mut producer, mut consumer) = ring.halves::<[u64; 8]>(start);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = seed;
                while !stop.load(Ordering::Relaxed) {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let near = start.wrapping_add((random >> 40) as u32 % 12);
                    ring.scribble((random >> 33) as usize, near.into());
                }
            });
            let stopped = Stop(&stop);
            let (mut pushed, mut popped) = (0, 0);
            for round in 0..2000u32 {
                let (act, count) = ((round % 6) as u8, (round % 11) as usize);
                let made = produce(&mut producer, act, count);
                let got = consume(&mut consumer, act, count);
                pushed += made.unwrap_or(0);
                popped += got.unwrap_or(0);
                if made.is_err() && got.is_err() {
                    break;
                }
            }
            drop(stopped);
            assert!(pushed <= ring.count && popped <= ring.count);
        });
        ring.assert_untouched();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    }
}

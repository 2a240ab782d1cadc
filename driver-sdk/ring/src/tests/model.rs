//! The two halves on two threads, in every order of memory accesses.
//!
//! An entry has two words, so that a torn one shows. Rings have one or two entries and begin just
//! before the indices wrap. A wake-up is modelled as the kernel's Event is: it is remembered until
//! somebody waits for it.

use core::ptr::NonNull;
use std::boxed::Box;

use loom::{
    sync::{Arc, Condvar, Mutex, atomic::Ordering},
    thread,
};

use crate::*;

type Pair = [u64; 2];

/// The first index: the second entry wraps.
const START: u32 = u32::MAX;

fn entry(number: u64) -> Pair {
    [number, !number]
}

/// Tries every order with at most so many preemptions. Without a bound, these models take hours.
fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[derive(Default)]
struct Event {
    signals: Mutex<(u32, u32)>,
    condition: Condvar,
}

impl Event {
    fn signal(&self) {
        let mut signals = self.signals.lock().unwrap();
        signals.0 += 1;
        signals.1 += 1;
        self.condition.notify_one();
    }

    fn wait(&self) {
        let mut signals = self.signals.lock().unwrap();
        while signals.0 == 0 {
            signals = self.condition.wait(signals).unwrap();
        }
        signals.0 -= 1;
    }

    /// How often it was signalled in all.
    fn total(&self) -> u32 {
        self.signals.lock().unwrap().1
    }
}

/// The memory, and what wakes the two.
struct World {
    header: RingHeader,
    words: Box<[Word]>,
    entry_there: Event,
    room_there: Event,
}

impl World {
    fn new(count: u32) -> Arc<Self> {
        let words = count as usize * Pair::WORDS;
        let world = Self {
            header: RingHeader::default(),
            words: (0..words).map(|_| Word::new(0)).collect(),
            entry_there: Event::default(),
            room_there: Event::default(),
        };
        world.header.initialise::<Pair>(count, START);
        Arc::new(world)
    }

    fn parts(&self) -> (NonNull<RingHeader>, NonNull<Word>, u32) {
        let count = self.words.len() / Pair::WORDS;
        let words = NonNull::from_ref(&*self.words).cast();
        ((&self.header).into(), words, count as u32)
    }

    fn producer(&self) -> Producer<'_, Pair> {
        let (header, words, count) = self.parts();
        // SAFETY: borrowed from the world; each model makes one.
        unsafe { Producer::resume(header, words, count, START, START) }.unwrap()
    }

    fn consumer(&self) -> Consumer<'_, Pair> {
        let (header, words, count) = self.parts();
        // SAFETY: borrowed from the world; each model makes one.
        unsafe { Consumer::resume(header, words, count, START, START) }.unwrap()
    }

    /// Pushes one entry, asleep while the ring is full. Returns how often it slept.
    fn push_asleep(&self, producer: &mut Producer<'_, Pair>, number: u64) -> u32 {
        let mut slept = 0;
        while producer.push(entry(number)) == Err(PushError::Full) {
            if producer.arm().unwrap() {
                self.room_there.wait();
                producer.disarm();
                slept += 1;
            }
        }
        producer.publish();
        if producer.must_wake() {
            self.entry_there.signal();
        }
        slept
    }

    /// Pops one entry, asleep while the ring is empty. Returns how often it slept.
    fn pop_asleep(&self, consumer: &mut Consumer<'_, Pair>, number: u64) -> u32 {
        let mut slept = 0;
        let popped = loop {
            if let Some(popped) = consumer.pop().unwrap() {
                break popped;
            }
            if consumer.arm().unwrap() {
                self.entry_there.wait();
                consumer.disarm();
                slept += 1;
            }
        };
        assert_eq!(popped, entry(number));
        consumer.release();
        if consumer.must_wake() {
            self.room_there.signal();
        }
        slept
    }
}

#[test]
fn entries_arrive_whole_and_in_order_across_the_wrap() {
    loom::model(|| {
        let world = World::new(2);
        let theirs = world.clone();
        let thread = thread::spawn(move || {
            let mut producer = theirs.producer();
            for number in 1..=3 {
                while producer.push(entry(number)) == Err(PushError::Full) {
                    thread::yield_now();
                }
                producer.publish();
            }
        });
        let mut consumer = world.consumer();
        for number in 1..=3 {
            let popped = loop {
                match consumer.pop().unwrap() {
                    Some(popped) => break popped,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(popped, entry(number));
            consumer.release();
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_batch_is_seen_as_a_whole_and_given_back_as_a_whole() {
    bounded(3, || {
        let world = World::new(2);
        let theirs = world.clone();
        let thread = thread::spawn(move || {
            let mut producer = theirs.producer();
            let mut numbers = (1..=4).map(entry);
            let mut pushed = producer.extend(numbers.by_ref()).unwrap();
            producer.publish();
            while pushed < 4 {
                match producer.extend(numbers.by_ref()).unwrap() {
                    0 => thread::yield_now(),
                    more => {
                        assert_eq!(more, 2, "half a batch was given back");
                        pushed += more;
                        producer.publish();
                    }
                }
            }
        });
        let mut consumer = world.consumer();
        let mut next = 1;
        while next <= 4 {
            let ready = consumer.ready().unwrap();
            assert!([0, 2].contains(&ready.len()), "half a batch was published");
            for popped in ready {
                assert_eq!(popped, entry(next));
                next += 1;
            }
            consumer.release();
            thread::yield_now();
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_consumer_asleep_is_woken_once_per_sleep() {
    loom::model(|| {
        let world = World::new(2);
        let theirs = world.clone();
        let thread = thread::spawn(move || {
            let mut producer = theirs.producer();
            for number in 1..=2 {
                assert_eq!(
                    theirs.push_asleep(&mut producer, number),
                    0,
                    "it was not full"
                );
            }
        });
        let mut consumer = world.consumer();
        let mut slept = 0;
        for number in 1..=2 {
            slept += world.pop_asleep(&mut consumer, number);
        }
        thread.join().unwrap();
        // A wake-up that found the sleeper awake is left over, and wakes the next sleep early.
        assert!(world.entry_there.total() >= slept);
    });
}

#[test]
fn both_may_sleep_and_neither_sleeps_for_ever() {
    bounded(3, || {
        let world = World::new(1);
        let theirs = world.clone();
        let thread = thread::spawn(move || {
            let mut producer = theirs.producer();
            for number in 1..=3 {
                theirs.push_asleep(&mut producer, number);
            }
        });
        let mut consumer = world.consumer();
        for number in 1..=3 {
            world.pop_asleep(&mut consumer, number);
        }
        thread.join().unwrap();
    });
}

#[test]
fn after_a_time_out_disarm_says_whether_a_wake_up_comes() {
    loom::model(|| {
        let world = World::new(2);
        let theirs = world.clone();
        let thread = thread::spawn(move || {
            let mut producer = theirs.producer();
            theirs.push_asleep(&mut producer, 1);
        });
        let mut consumer = world.consumer();
        let armed = consumer.arm().unwrap();
        let coming = armed && consumer.disarm();
        thread.join().unwrap();
        if armed {
            assert_eq!(world.entry_there.total(), u32::from(coming));
        }
        assert_eq!(consumer.pop(), Ok(Some(entry(1))));
    });
}

/// The other side jumps, tears and goes back while we read. What comes out may be anything, but
/// never more than a ring holds, and after `Corrupt` nothing.
#[test]
fn a_hostile_producer_gets_an_error_and_no_more() {
    loom::model(|| {
        let world = World::new(2);
        let theirs = world.clone();
        let thread = thread::spawn(move || {
            for tail in [START.wrapping_add(2), START.wrapping_add(3), START] {
                theirs.words[0].store(tail.into(), Ordering::Relaxed);
                theirs.header.producer.index.store(tail, Ordering::Relaxed);
            }
        });
        let mut consumer = world.consumer();
        let (mut popped, mut corrupt) = (0, false);
        for _ in 0..3 {
            match consumer.pop() {
                Ok(entry) => {
                    assert!(!corrupt, "an error that went away");
                    popped += u32::from(entry.is_some());
                }
                Err(Corrupt) => corrupt = true,
            }
        }
        assert!(popped <= 2, "more than the ring holds");
        thread.join().unwrap();
    });
}

#[test]
fn a_hostile_consumer_gets_an_error_and_no_more() {
    loom::model(|| {
        let world = World::new(2);
        let theirs = world.clone();
        let thread = thread::spawn(move || {
            for head in [START.wrapping_add(1), START, START.wrapping_add(3)] {
                theirs.header.consumer.index.store(head, Ordering::Relaxed);
            }
        });
        let mut producer = world.producer();
        let mut corrupt = false;
        for number in 1..=4 {
            match producer.push(entry(number)) {
                Ok(()) => assert!(!corrupt, "an error that went away"),
                Err(PushError::Full) => assert!(number > 2 && !corrupt),
                Err(PushError::Corrupt) => corrupt = true,
            }
            producer.publish();
        }
        thread.join().unwrap();
    });
}

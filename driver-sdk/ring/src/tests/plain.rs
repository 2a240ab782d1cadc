//! What each half does by itself and with the other, step by step.

use core::sync::atomic::Ordering;
use std::{vec, vec::Vec};

use crate::*;

/// Memory for a ring.
pub struct Memory(pub RingHeader, pub Vec<Word>);

impl Memory {
    pub fn new<E: Entry>(count: usize) -> Self {
        let words = count * E::WORDS;
        Self(
            RingHeader::default(),
            (0..words).map(|_| Word::new(0)).collect(),
        )
    }

    pub fn split<E: Entry>(&mut self, start: u32) -> (Producer<'_, E>, Consumer<'_, E>) {
        split(&mut self.0, &mut self.1, start).unwrap()
    }
}

#[test]
fn entries_come_out_as_they_went_in_once_published() {
    let mut memory = Memory::new::<[u64; 2]>(4);
    let (mut producer, mut consumer) = memory.split::<[u64; 2]>(0);
    producer.push([1, 2]).unwrap();
    assert_eq!(consumer.pop(), Ok(None), "not published");
    producer.push([3, 4]).unwrap();
    producer.publish();
    assert_eq!(consumer.available(), Ok(2));
    assert_eq!(consumer.peek(), Ok(Some([1, 2])));
    assert_eq!(consumer.pop(), Ok(Some([1, 2])));
    assert_eq!(consumer.pop(), Ok(Some([3, 4])));
    assert_eq!(consumer.pop(), Ok(None));
}

#[test]
fn a_full_ring_takes_nothing_until_room_is_released() {
    for count in [1, 2, 8] {
        let mut memory = Memory::new::<u64>(count as usize);
        let (mut producer, mut consumer) = memory.split::<u64>(0u32.wrapping_sub(count / 2));
        for value in 0..count {
            assert_eq!(producer.free(), Ok(count - value));
            producer.push(value.into()).unwrap();
        }
        assert_eq!(producer.push(99), Err(PushError::Full));
        producer.publish();
        assert_eq!(consumer.pop(), Ok(Some(0)));
        assert_eq!(
            producer.push(99),
            Err(PushError::Full),
            "popped but not released"
        );
        consumer.release();
        producer.push(count.into()).unwrap();
        assert_eq!(producer.push(99), Err(PushError::Full));
        producer.publish();
        let rest: Vec<u64> = consumer.ready().unwrap().collect();
        assert_eq!(rest, (1..=u64::from(count)).collect::<Vec<_>>());
    }
}

#[test]
fn what_finds_no_room_stays_in_the_iterator() {
    let mut memory = Memory::new::<u64>(4);
    let (mut producer, mut consumer) = memory.split::<u64>(u32::MAX - 1);
    let mut values = 0..6;
    assert_eq!(producer.extend(values.by_ref()), Ok(4));
    assert_eq!(producer.extend(values.by_ref()), Ok(0));
    producer.publish();
    assert_eq!(
        consumer.ready().unwrap().take(3).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    consumer.release();
    assert_eq!(producer.extend(values), Ok(2));
    producer.publish();
    let ready = consumer.ready().unwrap();
    assert_eq!(ready.len(), 3);
    assert_eq!(ready.collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn a_half_goes_on_where_another_stopped() {
    let mut memory = Memory::new::<u64>(4);
    let start = u32::MAX - 2;
    let (mut producer, mut consumer) = memory.split::<u64>(start);
    assert_eq!(producer.extend(0..3), Ok(3));
    producer.publish();
    assert_eq!(consumer.pop(), Ok(Some(0)));
    consumer.release();
    let header = (&memory.0).into();
    let words = core::ptr::NonNull::from(&memory.1[..]).cast();
    let (head, tail) = (start + 1, start.wrapping_add(3));
    // SAFETY: the memory lives, and the first two halves are gone.
    let (mut producer, mut consumer) = unsafe {
        (
            Producer::<u64>::resume(header, words, 4, start, tail).unwrap(),
            Consumer::<u64>::resume(header, words, 4, head, head).unwrap(),
        )
    };
    assert_eq!(producer.extend(3..9), Ok(2));
    producer.publish();
    assert_eq!(consumer.ready().unwrap().collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn memory_that_is_no_such_ring_is_refused() {
    let header = RingHeader::default();
    let words = vec![0u64; 65];
    let attempt = |header: &RingHeader, count| {
        let words = core::ptr::NonNull::from(&words[..]).cast();
        // SAFETY: nothing is accessed but the header, as every attempt fails or is dropped.
        unsafe { Producer::<u64>::new(header.into(), words, count) }.map(|_| ())
    };
    assert_eq!(attempt(&header, 4), Err(Refused::Version(0)));
    header.initialise::<u64>(4, 0);
    assert_eq!(attempt(&header, 4), Ok(()));
    assert_eq!(attempt(&header, 8), Err(Refused::Entries(4)));
    for count in [0, 3, MAX_ENTRIES + 1, 2 * MAX_ENTRIES, u32::MAX] {
        header.initialise::<u64>(count, 0);
        assert_eq!(attempt(&header, count), Err(Refused::Count(count)));
    }
    for count in [1, MAX_ENTRIES] {
        header.initialise::<u64>(count, 0);
        assert_eq!(attempt(&header, count), Ok(()));
    }
    header.initialise::<[u64; 2]>(4, 0);
    assert_eq!(attempt(&header, 4), Err(Refused::EntrySize(16)));
    header.initialise::<u64>(4, 0);
    header.info.features.store(1, Ordering::Relaxed);
    assert_eq!(attempt(&header, 4), Err(Refused::Features(1)));
}

#[test]
fn misaligned_memory_and_impossible_indices_are_refused() {
    let header = RingHeader::default();
    header.initialise::<u64>(4, 0);
    let words = [0u64; 8];
    let good: core::ptr::NonNull<Word> = core::ptr::NonNull::from(&words[..]).cast();
    // SAFETY: within the vector.
    let bad = unsafe { good.byte_add(4) };
    // SAFETY: nothing is accessed but the header.
    unsafe {
        let refused = Consumer::<u64>::new((&header).into(), bad, 4).err();
        assert_eq!(refused, Some(Refused::Misaligned));
        let odd = core::ptr::NonNull::from(&header).byte_add(64);
        let refused = Consumer::<u64>::new(odd, good, 4).err();
        assert_eq!(refused, Some(Refused::Misaligned));
        for (head, tail) in [(0, 5), (1, 0), (u32::MAX, 4)] {
            let refused = Consumer::<u64>::resume((&header).into(), good, 4, head, tail).err();
            assert_eq!(refused, Some(Refused::Indices(tail.wrapping_sub(head))));
            let refused = Producer::<u64>::resume((&header).into(), good, 4, head, tail).err();
            assert_eq!(refused, Some(Refused::Indices(tail.wrapping_sub(head))));
        }
        assert!(Consumer::<u64>::resume((&header).into(), good, 4, u32::MAX, 3).is_ok());
    }
    let mut memory = Memory::new::<u64>(7);
    let refused = split::<[u64; 2]>(&mut memory.0, &mut memory.1, 0).err();
    assert_eq!(refused, Some(Refused::Count(3)), "a word is left over");
}

/// Both directions: a step back, a step too far, and half way around the number circle.
#[test]
fn an_impossible_index_of_the_consumer_ends_the_producer_for_good() {
    for start in [0, 1, u32::MAX - 1] {
        for lie in [u32::MAX, 3, 4, 1 << 31, (1 << 31) + 1] {
            let mut memory = Memory::new::<u64>(4);
            let (mut producer, consumer) = memory.split::<u64>(start);
            assert_eq!(producer.extend(0..2), Ok(2));
            producer.publish();
            let header = consumer.header();
            header
                .consumer
                .index
                .store(start.wrapping_add(lie), Ordering::Relaxed);
            assert_eq!(producer.push(2), Ok(()), "there was room without a look");
            assert_eq!(producer.free(), Err(Corrupt), "{start} {lie}");
            header.consumer.index.store(start, Ordering::Relaxed);
            assert_eq!(producer.free(), Err(Corrupt), "an apology does not help");
            assert_eq!(producer.push(3), Err(PushError::Corrupt));
            assert_eq!(producer.extend(0..1), Err(Corrupt));
            assert_eq!(producer.arm(), Err(Corrupt));
        }
    }
}

#[test]
fn an_impossible_index_of_the_producer_ends_the_consumer_for_good() {
    for start in [0, 1, u32::MAX - 1] {
        for lie in [u32::MAX, 1, 6, 1 << 31, (1 << 31) + 1] {
            let mut memory = Memory::new::<u64>(4);
            let (mut producer, mut consumer) = memory.split::<u64>(start);
            assert_eq!(producer.extend(0..2), Ok(2));
            producer.publish();
            assert_eq!(consumer.pop(), Ok(Some(0)));
            consumer.release();
            let header = producer.header();
            header
                .producer
                .index
                .store(start.wrapping_add(lie), Ordering::Relaxed);
            assert_eq!(consumer.available(), Err(Corrupt), "{start} {lie}");
            header
                .producer
                .index
                .store(start.wrapping_add(2), Ordering::Relaxed);
            assert_eq!(
                consumer.available(),
                Err(Corrupt),
                "an apology does not help"
            );
            assert_eq!(consumer.pop(), Err(Corrupt));
            assert_eq!(consumer.peek(), Err(Corrupt));
            assert!(consumer.ready().is_err());
            assert_eq!(consumer.arm(), Err(Corrupt));
        }
    }
}

/// What was popped but not released is still the consumer's: a producer that goes a ring's length
/// past the private head overwrites it.
#[test]
fn the_producer_may_not_go_past_what_was_released() {
    let mut memory = Memory::new::<u64>(4);
    let (mut producer, mut consumer) = memory.split::<u64>(0);
    assert_eq!(producer.extend(0..4), Ok(4));
    producer.publish();
    assert_eq!(consumer.ready().unwrap().count(), 4);
    let header = producer.header();
    header.producer.index.store(5, Ordering::Relaxed);
    assert_eq!(consumer.available(), Err(Corrupt));
}

/// What was pushed but not published cannot have been consumed.
#[test]
fn the_consumer_may_not_go_past_what_was_published() {
    let mut memory = Memory::new::<u64>(4);
    let (mut producer, consumer) = memory.split::<u64>(0);
    assert_eq!(producer.extend(0..4), Ok(4));
    consumer.header().consumer.index.store(1, Ordering::Relaxed);
    assert_eq!(producer.free(), Err(Corrupt));
}

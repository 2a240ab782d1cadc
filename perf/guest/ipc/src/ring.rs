//! Entries of 64 bytes through a ring, both halves by one thread: what a ring costs by itself.

use alloc::{boxed::Box, vec::Vec};

use bench_harness::{
    measure::samples,
    report::{Method, report},
};
use driver_sdk::prelude::*;
use spillway_ring::{Consumer, Corrupt, Entry as _, Producer, RingHeader, Word, split};

use crate::BATCH;

/// Batches in a sample: the ring wraps every eighth time.
const BATCHES: u32 = 64;
/// Entries in the ring.
const ENTRIES: usize = 8 * BATCH;

type Entry = [u64; 8];

/// Makes a batch and shows it.
#[inline(never)]
fn write(producer: &mut Producer<'_, Entry>, first: u64) -> Result<bool, Corrupt> {
    let entries = (0..BATCH as u64).map(|number| [first + number; Entry::WORDS]);
    let pushed = producer.extend(entries)?;
    producer.publish();
    Ok(pushed as usize == BATCH)
}

/// Takes a batch, looks at each entry, and gives its room back.
#[inline(never)]
fn read(consumer: &mut Consumer<'_, Entry>) -> Result<u64, Corrupt> {
    let sum = consumer
        .ready()?
        .fold(0, |sum: u64, entry| sum.wrapping_add(entry[7]));
    consumer.release();
    Ok(sum)
}

/// Makes an entry and shows it.
#[inline(never)]
fn write_one(producer: &mut Producer<'_, Entry>, number: u64) -> bool {
    let pushed = producer.push([number; Entry::WORDS]).is_ok();
    producer.publish();
    pushed
}

/// Takes an entry, looks at it, and gives its room back.
#[inline(never)]
fn read_one(consumer: &mut Consumer<'_, Entry>) -> Result<u64, Corrupt> {
    let entry = consumer.pop()?;
    consumer.release();
    Ok(entry.map_or(0, |entry| entry[7]))
}

/// Batches of 32, and one by one.
pub fn measure(method: Method) -> Result<(), Error> {
    let mut header = Box::<RingHeader>::default();
    let mut words: Vec<_> = (0..ENTRIES * Entry::WORDS).map(|_| Word::new(0)).collect();
    let (mut producer, mut consumer) =
        split::<Entry>(&mut header, &mut words, 0).map_err(|_| Error::Corrupt)?;
    let count = BATCHES * BATCH as u32;
    let (mut first, mut good) = (0, true);
    let ticks = samples(count, || {
        for _ in 0..BATCHES {
            good &= write(&mut producer, first) == Ok(true);
            let sum = (first..first + BATCH as u64).sum();
            good &= read(&mut consumer) == Ok(sum);
            first += BATCH as u64;
        }
    });
    report("ipc/ring_entry64", method, &ticks);
    let ticks = samples(count, || {
        for number in 1..=u64::from(count) {
            good &= write_one(&mut producer, number);
            good &= read_one(&mut consumer) == Ok(number);
        }
    });
    report("ipc/ring_entry64_single", method, &ticks);
    match good {
        true => Ok(()),
        false => Err(Error::Failed),
    }
}

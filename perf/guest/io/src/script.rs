//! What is asked for, one request after the other: it follows from the plan's seed, so it is the same
//! at every level.

use alloc::{format, string::String};

use bench_harness::plan::Pattern;
use driver_sdk::io::ByteOffset;

use crate::Terms;

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Where.
    pub offset: ByteOffset,
    /// Whether it writes.
    pub write: bool,
}

/// An endless sequence of requests. It is copied out for a batch, so that it is in registers.
pub trait Script: Copy + Send + 'static {
    /// The next one.
    fn next(&mut self) -> Step;
}

/// Knuth's MMIX generator, of which the upper bits are used.
#[derive(Clone, Copy)]
struct Random(u64);

impl Random {
    /// Another sequence for each thread.
    const fn new(seed: u64, thread: u32) -> Self {
        Self(seed ^ (thread as u64) << 48)
    }

    /// A number of 32 bits.
    #[inline(always)]
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.0 >> 32
    }
}

/// Reads of random places on the whole disk: as little as there can be beside what is measured.
#[derive(Clone, Copy)]
pub struct RandomReads {
    random: Random,
    /// The bits of a random number that make a place, in requests.
    mask: u64,
    bytes: u64,
}

impl RandomReads {
    /// The sequence of one thread on a disk of so many bytes.
    pub fn new(terms: &Terms, thread: u32, capacity: u64) -> Result<Self, String> {
        let bytes = u64::from(terms.case.block_size);
        Ok(Self {
            random: Random::new(terms.before, thread),
            mask: places(capacity / bytes)? - 1,
            bytes,
        })
    }
}

impl Script for RandomReads {
    #[inline(always)]
    fn next(&mut self) -> Step {
        Step {
            offset: ByteOffset((self.random.next() & self.mask) * self.bytes),
            write: false,
        }
    }
}

/// Any other sequence. Each thread has a part of the disk for itself, so that what it reads is what it
/// wrote.
#[derive(Clone, Copy)]
pub struct Mixed {
    random: Random,
    /// In requests: the thread's first place, the bits of the number of a place behind it, and the
    /// next one of a sequence.
    first: u64,
    mask: u64,
    next: u64,
    bytes: u64,
    read_percent: u64,
    sequential: bool,
}

impl Mixed {
    /// The sequence of one thread on a disk of so many bytes.
    pub fn new(terms: &Terms, thread: u32, capacity: u64) -> Result<Self, String> {
        let case = &terms.case;
        let bytes = u64::from(case.block_size);
        let places = places(capacity / bytes / u64::from(case.threads))?;
        // One that is written is not used twice at a time.
        if terms.writes_pattern() && places <= u64::from(terms.depth()) {
            return Err(format!(
                "a thread has {places} places of {bytes} bytes on the disk, which is too few for {} \
                 requests in flight",
                terms.depth()
            ));
        }
        Ok(Self {
            random: Random::new(terms.before, thread),
            first: u64::from(thread) * places,
            mask: places - 1,
            next: 0,
            bytes,
            read_percent: case.read_percent.into(),
            sequential: case.pattern == Pattern::Sequential,
        })
    }
}

impl Script for Mixed {
    #[inline]
    fn next(&mut self) -> Step {
        let number = match self.sequential {
            true => {
                self.next += 1;
                self.next - 1
            }
            false => self.random.next(),
        };
        let place = self.first + (number & self.mask);
        Step {
            offset: ByteOffset(place * self.bytes),
            write: self.random.next() % 100 >= self.read_percent,
        }
    }
}

/// The largest power of two that is not more; also not more than random numbers have.
fn places(most: u64) -> Result<u64, String> {
    match most.checked_ilog2() {
        Some(bits) => Ok(1 << bits.min(32)),
        None => Err("the disk is too small for requests of this size".into()),
    }
}

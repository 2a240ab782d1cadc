//! What is done with a request besides sending it and taking it back.

use alloc::{format, string::String, vec, vec::Vec};

use driver_sdk::{
    io::{Buffer, ByteOffset},
    prelude::*,
};

use bench_harness::report::Histogram;

use crate::{Terms, script::Step};

/// Sees each request begin and end.
pub trait Watch: Send + 'static {
    /// Whether a request may begin while those before it are in flight.
    fn may_begin(&self, _: Step) -> bool {
        true
    }

    /// A request that should have begun at `due` begins, with this buffer. Returns what comes back
    /// with its completion.
    fn begins(&mut self, step: Step, due: Due, buffer: &mut Buffer) -> u64;

    /// It has come back.
    fn ends(&mut self, name: u64, buffer: &Buffer);

    /// The latencies since the last time that somebody asked, in nanoseconds.
    fn latencies(&mut self) -> Option<Histogram> {
        None
    }

    /// A sentence about the first that went wrong.
    fn wrong(&self) -> Option<String> {
        None
    }
}

/// When a request should begin, in nanoseconds of the clock.
#[derive(Clone, Copy, Debug)]
pub enum Due {
    /// When it does.
    Now,
    /// At a moment that does not depend on those before it.
    At(u64),
}

/// Nothing is done.
pub struct Blind;

impl Watch for Blind {
    #[inline(always)]
    fn begins(&mut self, _: Step, _: Due, _: &mut Buffer) -> u64 {
        0
    }

    #[inline(always)]
    fn ends(&mut self, _: u64, _: &Buffer) {}
}

/// Takes latencies, and looks after data if there is a medium.
pub struct Careful {
    /// By the name of a request in flight.
    flights: Vec<Flight>,
    free: Vec<u32>,
    latencies: Histogram,
    before: u64,
    written: u64,
    fills: bool,
    verifies: bool,
    wrong: Option<u64>,
}

#[derive(Clone, Copy)]
struct Flight {
    begun: u64,
    offset: u64,
    write: bool,
    is_used: bool,
}

/// Bytes of the smallest request: a disk writes as much whole.
const BLOCK: usize = 512;

impl Careful {
    /// One for a thread's requests.
    pub fn new(terms: &Terms) -> Self {
        let none = Flight {
            begun: 0,
            offset: 0,
            write: false,
            is_used: false,
        };
        Self {
            flights: vec![none; terms.depth().into()],
            free: (0..terms.depth().into()).collect(),
            latencies: Histogram::new(),
            before: terms.before,
            written: terms.written,
            fills: terms.writes_pattern(),
            verifies: terms.case.verify,
            wrong: None,
        }
    }

    /// Where what was read is neither what was there nor what was written.
    #[cold]
    fn check(&mut self, offset: u64, buffer: &Buffer) {
        for (index, block) in buffer.chunks(BLOCK).enumerate() {
            let offset = offset + (index * BLOCK) as u64;
            let wrong = |seed| test_pattern::first_wrong(seed, offset, block);
            if wrong(self.before).is_some()
                && let Some(wrong) = wrong(self.written)
            {
                self.wrong.get_or_insert(wrong);
            }
        }
    }
}

impl Watch for Careful {
    fn may_begin(&self, step: Step) -> bool {
        let ByteOffset(offset) = step.offset;
        let is_same = |flight: &Flight| flight.is_used && flight.offset == offset;
        !self.fills || !self.flights.iter().any(is_same)
    }

    #[inline]
    fn begins(&mut self, step: Step, due: Due, buffer: &mut Buffer) -> u64 {
        let ByteOffset(offset) = step.offset;
        if self.fills && step.write {
            test_pattern::fill(self.written, offset, buffer);
        }
        // As many as the depth, which is also how many buffers there are.
        let name = self.free.pop().unwrap_or(0);
        self.flights[name as usize] = Flight {
            begun: match due {
                Due::Now => now(),
                Due::At(moment) => moment,
            },
            offset,
            write: step.write,
            is_used: true,
        };
        name.into()
    }

    #[inline]
    fn ends(&mut self, name: u64, buffer: &Buffer) {
        let taken = now();
        let Some(flight) = self.flights.get_mut(name as usize) else {
            return;
        };
        flight.is_used = false;
        let Flight {
            begun,
            offset,
            write,
            ..
        } = *flight;
        self.free.push(name as u32);
        self.latencies.record(taken.saturating_sub(begun));
        if self.verifies && !write {
            self.check(offset, buffer);
        }
    }

    fn latencies(&mut self) -> Option<Histogram> {
        let taken = self.latencies.clone();
        self.latencies.clear();
        Some(taken)
    }

    fn wrong(&self) -> Option<String> {
        let at = self.wrong?;
        Some(format!(
            "byte {at} was read as neither what was there before nor what was written"
        ))
    }
}

/// Nanoseconds of the clock.
#[inline]
pub fn now() -> u64 {
    Instant::now().as_nanoseconds()
}

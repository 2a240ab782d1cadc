//! Instructions for one operation, in closed batches: what everybody executes, without what was done in
//! vain, because how much of that there is depends on how fast the emulator's device is.
//!
//! | in vain | who says so |
//! |---|---|
//! | looks of the application | their number times the cost of one, measured apart by the same code |
//! | looks of the server | the server, by the time-stamp counter |
//! | idling of the kernel | its counter, times the cost of one turn, measured while nothing happens |

use alloc::{format, string::String};
use core::{
    mem::ManuallyDrop,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bench_harness::{
    measure::{begin_region, end, overhead},
    plan::{Pattern, Wait},
    report::{self, Quantity},
};
use driver_sdk::{abi::counters::Counter, io::BlockDevice, prelude::*, rt::object::Snapshot};

use crate::{
    Terms,
    crew::Crew,
    load::{Pace, Vain},
    script::{Mixed, RandomReads, Script},
    watch::{Blind, Careful, Watch},
    way::Way,
};

/// Regions that are tried for one in which batches came back in as few pieces as ever.
const ATTEMPTS: u32 = 4;

/// Warm-ups, until the device has enough time: then there is seldom a look in vain.
const WARM_UPS: u32 = 8;

/// The counters that are reported, and as what.
const COUNTERS: [(Counter, Quantity); 5] = [
    (Counter::SystemCalls, Quantity::SystemCalls),
    (
        Counter::AddressSpaceSwitches,
        Quantity::AddressSpaceSwitches,
    ),
    (Counter::Interrupts, Quantity::Interrupts),
    (Counter::WakeUps, Quantity::WakeUps),
    (Counter::BytesCopied, Quantity::BytesCopied),
];

/// Measures a case.
pub fn measure<D: BlockDevice + Send + 'static>(way: &Way<D>, terms: &Terms) -> Result<(), String> {
    let capacity = way.device.capacity();
    let case = &terms.case;
    if case.read_percent == 100 && case.pattern == Pattern::Random {
        let make = |thread| Ok((RandomReads::new(terms, thread, capacity)?, Blind));
        regions(way, terms, Crew::new(way, terms, make)?)
    } else {
        let make = |thread| Ok((Mixed::new(terms, thread, capacity)?, Careful::new(terms)));
        regions(way, terms, Crew::new(way, terms, make)?)
    }
}

fn regions<D: BlockDevice, S: Script, W: Watch>(
    way: &Way<D>,
    terms: &Terms,
    mut crew: Crew<D::Queue, S, W>,
) -> Result<(), String> {
    let case = &terms.case;
    let books = Books::open()?;
    let idle_turn = match case.wait {
        Wait::Poll => 0.0,
        Wait::Interrupt | Wait::Adaptive => books.idle_turn()?,
    };
    crew.calibrate(false);
    for _ in 0..WARM_UPS {
        crew.run(case.warm_up.into(), Pace::Batches);
        let vain = crew.take_vain();
        if vain.looks <= u64::from(case.warm_up) {
            break;
        }
        crew.calibrate(true);
    }
    let mut least = u64::MAX;
    for _ in 0..case.samples {
        let mut best: Option<Region> = None;
        for _ in 0..ATTEMPTS {
            let region = books.region(way, &mut crew, case.operations.into())?;
            let pieces = region.pieces;
            if best.as_ref().is_none_or(|best| pieces < best.pieces) {
                best = Some(region);
            }
            if pieces <= least {
                break;
            }
            crew.calibrate(true);
        }
        let region = best.ok_or("there was no attempt")?;
        least = least.min(region.pieces);
        crew.check()?;
        region.report(terms, idle_turn);
    }
    crew.end()
}

/// Where it is written down what the kernel did.
struct Books {
    counters: ManuallyDrop<Counters>,
    /// What one look at them adds to each.
    looking: [u64; COUNTERS.len()],
    /// Ticks of a region with nothing in it.
    overhead: u64,
}

/// What happened in a measured region.
struct Region {
    number: u64,
    ticks: u64,
    server_idle: u64,
    idles: u64,
    counts: [u64; COUNTERS.len()],
    vain: Vain,
    /// Looks that found something, of whoever looks at the device: a batch in pieces takes more of them,
    /// and into how many pieces one falls is the host's doing.
    pieces: u64,
}

impl Books {
    fn open() -> Result<Self, String> {
        let counters = object("counters").ok_or("the manifest grants no counters")?;
        let mut books = Self {
            counters,
            looking: [0; COUNTERS.len()],
            overhead: overhead(),
        };
        let before = books.look()?;
        books.looking = books.since(&before, &books.look()?);
        Ok(books)
    }

    fn look(&self) -> Result<Snapshot, String> {
        let snapshot = self.counters.snapshot();
        snapshot.map_err(|error| format!("the counters cannot be read: {}", error.describe()))
    }

    fn since(&self, before: &Snapshot, after: &Snapshot) -> [u64; COUNTERS.len()] {
        let mut counts = self.looking;
        for (count, (counter, _)) in counts.iter_mut().zip(COUNTERS) {
            let all = after.get(counter) - before.get(counter);
            *count = all.saturating_sub(*count);
        }
        counts
    }

    /// Ticks of one turn of the kernel's idle loop: sleeps of two lengths, so that what a sleep
    /// itself costs falls out.
    fn idle_turn(&self) -> Result<f64, String> {
        let sleep = |milliseconds| -> Result<(u64, u64), String> {
            let (before, start) = (self.look()?, time::tsc());
            thread::sleep(Duration::from_millis(milliseconds));
            let ticks = time::tsc() - start;
            Ok((
                ticks,
                self.look()?.get(Counter::Idles) - before.get(Counter::Idles),
            ))
        };
        sleep(1)?;
        let (short, long) = (sleep(1)?, sleep(5)?);
        let turns = long.1.saturating_sub(short.1).max(1);
        Ok(long.0.saturating_sub(short.0) as f64 / turns as f64)
    }

    /// Measures one region.
    fn region<D: BlockDevice, S: Script, W: Watch>(
        &self,
        way: &Way<D>,
        crew: &mut Crew<D::Queue, S, W>,
        operations: u64,
    ) -> Result<Region, String> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        crew.take_vain();
        let (server_before, looks_before) = (way.server_idle()?, way.server_looks()?);
        let before = self.look()?;
        let start = begin_region(number);
        crew.run(operations, Pace::Batches);
        let ticks = end() - start - self.overhead;
        let after = self.look()?;
        let vain = crew.take_vain();
        Ok(Region {
            number,
            ticks,
            server_idle: way.server_idle()? - server_before,
            idles: after.get(Counter::Idles) - before.get(Counter::Idles),
            counts: self.since(&before, &after),
            pieces: way.server_looks()? - looks_before + vain.torn,
            vain,
        })
    }
}

impl Region {
    fn report(&self, terms: &Terms, idle_turn: f64) {
        let empty = self.server_idle + self.vain.ticks + self.vain.rest;
        let idle = (self.idles as f64 * idle_turn) as u64;
        let work = self.ticks.saturating_sub(empty + idle);
        let mut totals = alloc::vec![
            (Quantity::Instructions, work),
            (Quantity::EmptyPollInstructions, empty),
            (Quantity::IdleInstructions, idle),
        ];
        if self.vain.looks > 0 {
            totals.push((Quantity::EmptyPolls, self.vain.looks));
        }
        let counts = COUNTERS.iter().zip(self.counts);
        totals.extend(counts.map(|((_, quantity), count)| (*quantity, count)));
        let case = &terms.case;
        report::region(case.id, case.operations.into(), &totals, Some(self.number));
    }
}

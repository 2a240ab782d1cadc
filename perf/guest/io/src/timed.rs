//! Throughput and latency: closed loop with a rolling depth, or open loop at a rate.

use alloc::string::String;

use bench_harness::{
    plan::Pattern,
    report::{self, Quantity},
};
use driver_sdk::{io::BlockDevice, prelude::*};

use crate::{
    Terms,
    crew::Crew,
    load::Pace,
    script::{Mixed, RandomReads, Script},
    watch::{Blind, Careful, Watch},
    way::Way,
};

/// Measures a case: its throughput without looking at the clock in between, then its latencies. At a
/// rate, and where data is looked after, both at once.
pub fn measure<D: BlockDevice + Send + 'static>(way: &Way<D>, terms: &Terms) -> Result<(), String> {
    let capacity = way.device.capacity();
    let case = &terms.case;
    let is_plain = case.read_percent == 100 && case.pattern == Pattern::Random && !case.verify;
    let interval = case.rate.map(|rate| 1_000_000_000 / u64::from(rate));
    if is_plain && interval.is_none() {
        let make = |thread| Ok((RandomReads::new(terms, thread, capacity)?, Blind));
        regions(terms, Crew::new(way, terms, make)?, Pace::Rolling, true)?;
        let make = |thread| {
            Ok((
                RandomReads::new(terms, thread, capacity)?,
                Careful::new(terms),
            ))
        };
        regions(terms, Crew::new(way, terms, make)?, Pace::Rolling, false)
    } else {
        let pace = interval.map_or(Pace::Rolling, Pace::Every);
        let make = |thread| Ok((Mixed::new(terms, thread, capacity)?, Careful::new(terms)));
        regions(terms, Crew::new(way, terms, make)?, pace, true)
    }
}

fn regions<D: driver_sdk::io::BlockQueue, S: Script, W: Watch>(
    terms: &Terms,
    mut crew: Crew<D, S, W>,
    pace: Pace,
    is_throughput: bool,
) -> Result<(), String> {
    let case = &terms.case;
    crew.run(case.warm_up.into(), pace);
    crew.latencies();
    for _ in 0..case.samples {
        let operations = u64::from(case.operations);
        let start = Instant::now();
        crew.run(operations, pace);
        let taken = Instant::now() - start;
        crew.check()?;
        if is_throughput {
            let nanoseconds = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
            report::case(case.id, operations, &[(Quantity::Nanoseconds, nanoseconds)]);
        }
        if let Some(latencies) = crew.latencies() {
            report::latencies(case.id, &latencies);
        }
    }
    crew.end()
}

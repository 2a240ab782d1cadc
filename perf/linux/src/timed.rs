//! Throughput and latencies with a rolling queue depth: whatever comes back is sent again.

use std::{cell::RefCell, time::Instant};

use anyhow::Result;
use spillway_wire::Histogram;

use crate::{
    measure::now,
    path::{
        Path,
        pread::{Latencies, Threads},
        roll,
    },
    places::Places,
    report::Subject,
};

/// Reads that show how fast a path is, and warm it up.
const FIRST_READS: u64 = 1_000;

/// A path with a queue.
pub fn path(path: &mut impl Path, places: &mut Places, subject: &Subject) -> Result<()> {
    let depth = subject.depth;
    let reads = throughput(subject, |reads| {
        let start = Instant::now();
        roll(path, places, depth, reads, |_| {}, |_| {})?;
        Ok(start.elapsed().as_secs_f64())
    })?;
    let begun = RefCell::new(vec![0; depth]);
    let mut ticks = Vec::with_capacity(reads as usize);
    let begin = |slot: usize| begun.borrow_mut()[slot] = now();
    let end = |slot: usize| ticks.push(now().saturating_sub(begun.borrow()[slot]));
    let clock = Clock::start();
    roll(path, places, depth, reads, begin, end)?;
    subject.report_latencies(&clock.nanoseconds(&ticks));
    Ok(())
}

/// `pread` by one or many threads.
pub fn threads(threads: &Threads, subject: &Subject) -> Result<()> {
    let count = threads.count as u64;
    let reads = throughput(subject, |reads| {
        let of_each = reads.div_ceil(count);
        let end = |start: Instant| start.elapsed().as_secs_f64();
        let (seconds, _) = threads.run::<_, _, ()>(of_each, Instant::now, end)?;
        Ok(seconds * reads as f64 / (of_each * count) as f64)
    })?;
    let clock = Clock::start();
    let ((), seen) = threads.run::<_, _, Latencies>(reads.div_ceil(count), || (), |()| ())?;
    let ticks: Vec<u64> = seen.into_iter().flat_map(|seen| seen.ticks).collect();
    subject.report_latencies(&clock.nanoseconds(&ticks));
    Ok(())
}

/// Reports the throughput of something that takes seconds for reads; returns of how many.
fn throughput(subject: &Subject, mut seconds: impl FnMut(u64) -> Result<f64>) -> Result<u64> {
    let rate = FIRST_READS as f64 / seconds(FIRST_READS)?;
    let reads = (rate * subject.extent.seconds).ceil().max(1.0);
    let throughput = reads / seconds(reads as u64)?;
    subject.report("_iops", "iops", true, &[throughput]);
    Ok(reads as u64)
}

/// What ticks of the time-stamp counter are. The clock of the kernel may take longer to read than
/// what is to be timed, so it is read only at the beginning and the end.
struct Clock {
    time: Instant,
    ticks: u64,
}

impl Clock {
    fn start() -> Self {
        Self {
            time: Instant::now(),
            ticks: now(),
        }
    }

    /// Times that were taken since the start.
    fn nanoseconds(&self, all: &[u64]) -> Histogram {
        let ticks = now().saturating_sub(self.ticks).max(1);
        scaled(all, self.time.elapsed().as_nanos() as f64 / ticks as f64)
    }
}

fn scaled(all: &[u64], nanoseconds_of_a_tick: f64) -> Histogram {
    let mut histogram = Histogram::new();
    for ticks in all {
        histogram.record((*ticks as f64 * nanoseconds_of_a_tick) as u64);
    }
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_nanoseconds() {
        let histogram = scaled(&[10, 300, 20], 0.5);
        assert_eq!(histogram.extremes(), Some((165, 5, 150)));
        assert_eq!(scaled(&[], 0.5).extremes(), None);
    }
}

//! Throughput with a rolling queue depth: whatever comes back is sent again.

use std::time::Instant;

use anyhow::Result;

use crate::{
    path::{Path, pread::Threads, roll},
    places::Places,
    report::Subject,
};

/// Reads that show how fast a path is, and warm it up.
const FIRST_READS: u64 = 1_000;
/// How long the measurement then takes, about.
const SECONDS: f64 = 0.15;

/// A path with a queue.
pub fn path(path: &mut impl Path, places: &mut Places, subject: &Subject) -> Result<()> {
    measure(subject, |reads| {
        let start = Instant::now();
        roll(path, places, subject.depth, reads)?;
        Ok(start.elapsed().as_secs_f64())
    })
}

/// `pread` by one or many threads.
pub fn threads(threads: &Threads, subject: &Subject) -> Result<()> {
    let count = threads.count as u64;
    measure(subject, |reads| {
        let of_each = reads.div_ceil(count);
        let seconds = threads.run(of_each, Instant::now, |start| start.elapsed().as_secs_f64())?;
        Ok(seconds * reads as f64 / (of_each * count) as f64)
    })
}

/// Reports the throughput of something that takes seconds for reads.
fn measure(subject: &Subject, mut seconds: impl FnMut(u64) -> Result<f64>) -> Result<()> {
    let rate = FIRST_READS as f64 / seconds(FIRST_READS)?;
    let reads = (rate * SECONDS).ceil().max(1.0);
    let throughput = reads / seconds(reads as u64)?;
    subject.report("_iops", "iops", true, &[throughput]);
    Ok(())
}

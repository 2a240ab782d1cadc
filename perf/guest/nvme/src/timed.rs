//! Throughput and latency with a rolling queue depth: whatever comes back is submitted again.

use alloc::{format, string::String, vec, vec::Vec};

use bench_harness::report::{Figure, Method};
use driver_sdk::prelude::*;
use spillway_nvme::Nvme;

use crate::{
    Disk, failed,
    load::{BYTES, Batches, Load},
};

/// Queue depths, and reads at each.
const DEPTHS: [(u16, u64); 4] = [(1, 20_000), (4, 50_000), (32, 100_000), (128, 100_000)];
/// What of the latencies is reported: the name, and how many in a thousand are not longer.
const PERCENTILES: [(&str, usize); 4] = [("p50", 500), ("p99", 990), ("p99.9", 999), ("max", 1000)];

/// Every timed figure.
pub fn all(disk: Disk, mut driver: Nvme<Disk>) -> Result<(), String> {
    for (depth, reads) in DEPTHS {
        let mut load = Load::new(disk, &mut driver, depth).map_err(failed)?;
        run(&mut load, depth, reads / 10, |_| {}, |_| {})?;
        let start = time::tsc();
        run(&mut load, depth, reads, |_| {}, |_| {})?;
        let seconds = (time::tsc() - start) as f64 / time::tsc_frequency() as f64;
        let latencies = latencies(&mut load, depth, reads)?;
        load.check()?;
        let figure = |name: &str, unit, more_is_better, value| {
            let figure = Figure {
                name,
                labels: crate::labels(depth),
                unit,
                method: Method::Timed,
                more_is_better,
            };
            figure.report(&[value]);
        };
        figure(
            &format!("nvme/iops_qd{depth}"),
            "iops",
            true,
            reads as f64 / seconds,
        );
        for (name, thousandth) in PERCENTILES {
            let index = (latencies.len() * thousandth).div_ceil(1000).max(1) - 1;
            let name = format!("nvme/latency_qd{depth}_{name}");
            let nanoseconds = f64::from(latencies[index]) * 1e9 / time::tsc_frequency() as f64;
            figure(&name, "nanoseconds", false, nanoseconds);
        }
    }
    Ok(())
}

/// Does `reads` reads, `depth` of them in flight; tells of each when it is submitted and when it
/// has come back.
#[inline(always)]
fn run(
    load: &mut Load<Disk>,
    depth: u16,
    reads: u64,
    mut submitted: impl FnMut(u64),
    mut reaped: impl FnMut(u64),
) -> Result<(), String> {
    let mut idle: Vec<u64> = (0..depth)
        .map(|slot| u64::from(slot) * u64::from(BYTES))
        .collect();
    let (mut left, mut in_flight) = (reads, 0);
    while left > 0 || in_flight > 0 {
        while left > 0
            && let Some(slot) = idle.pop()
        {
            submitted(slot);
            load.submit(slot).map_err(failed)?;
            (left, in_flight) = (left - 1, in_flight + 1);
        }
        load.kick();
        in_flight -= load.reap(|buffer| {
            reaped(buffer);
            idle.push(buffer);
        });
    }
    Ok(())
}

/// The latencies of so many reads in ticks, in ascending order.
fn latencies(load: &mut Load<Disk>, depth: u16, reads: u64) -> Result<Vec<u32>, String> {
    use core::cell::RefCell;
    let begun = RefCell::new(vec![0; depth.into()]);
    let mut ticks = Vec::with_capacity(reads as usize);
    let slot = |buffer: u64| (buffer / u64::from(BYTES)) as usize;
    let submitted = |buffer| begun.borrow_mut()[slot(buffer)] = time::tsc();
    let reaped = |buffer| {
        let taken = time::tsc() - begun.borrow()[slot(buffer)];
        ticks.push(u32::try_from(taken).unwrap_or(u32::MAX));
    };
    run(load, depth, reads, submitted, reaped)?;
    ticks.sort_unstable();
    Ok(ticks)
}

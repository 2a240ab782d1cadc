//! Measures random reads of 4 KiB through blk-server on the same core: everything that application,
//! server and kernel execute for one, without the looks at the device that were in vain.
//!
//! The server says how long it looked in vain; the client sleeps meanwhile. Batches are closed: all
//! reads of one are back before the next begins.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::{format, string::String, vec::Vec};
use core::mem::ManuallyDrop;

use bench_harness::{
    measure::{SAMPLES, begin, end, overhead},
    report::{self, Figure, Method},
};
use driver_sdk::{
    abi::counters::Counter,
    io::{
        Async, BlockDevice, BlockQueue, Buffer, ByteOffset, Level, QueueOptions, Request, Shared,
        Sync, protocol::key,
    },
    prelude::*,
};

driver_sdk::main!(main);

/// Bytes of a read.
const BYTES: u64 = 4096;
/// Batches in a sample.
const BATCHES: u64 = 50;

fn main() -> Result<(), String> {
    let method = Method::from_argument(arguments().next())
        .ok_or("the first argument must be `counted` or `timed`")?;
    let only = arguments().nth(1);
    report::begin("bench-levels", method, None);
    let wants = |name: &str| only.is_none_or(|only| only == name);
    if wants("sync") {
        measure("sync", Sync::named("disk").map_err(failed)?, 1, method)?;
    }
    if wants("async") {
        measure("async", Async::named("disk").map_err(failed)?, 1, method)?;
        measure("async", Async::named("disk").map_err(failed)?, 32, method)?;
    }
    if wants("shared") {
        measure("shared", Shared::named("disk").map_err(failed)?, 1, method)?;
        measure("shared", Shared::named("disk").map_err(failed)?, 32, method)?;
    }
    report::end();
    Ok(())
}

fn failed(error: driver_sdk::io::Error) -> String {
    format!("the disk failed: {error}")
}

/// What is done again and again.
struct Load<Q> {
    queue: Q,
    buffers: Vec<Buffer>,
    random: u64,
    places: u64,
    failed: bool,
}

impl<Q: BlockQueue> Load<Q> {
    /// A closed batch; how many times the queue was waited for. Knuth's MMIX generator, of which the
    /// upper bits are used.
    #[inline(always)]
    fn batch(&mut self) -> u64 {
        let mut random = self.random;
        for buffer in self.buffers.drain(..) {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let offset = ByteOffset((random >> 32 & self.places) * BYTES);
            self.failed |= self.queue.push(Request::read(offset, buffer)).is_err();
        }
        self.random = random;
        let mut waits = 0;
        while self.queue.in_flight() > 0 {
            let Self {
                queue,
                buffers,
                failed,
                ..
            } = self;
            let waited = queue.wait(u64::MAX, |completion| {
                *failed |= completion.result.is_err();
                if let Some(buffer) = completion.buffers.into_buffer() {
                    buffers.push(buffer);
                }
            });
            *failed |= waited.is_err();
            waits += 1;
        }
        waits
    }
}

fn measure(level: &str, device: impl Level, depth: u16, method: Method) -> Result<(), String> {
    let counters: ManuallyDrop<Counters> =
        object("counters").ok_or("the manifest grants no counters")?;
    let options = QueueOptions {
        depth,
        ..QueueOptions::default()
    };
    let pool = device
        .create_pool(usize::from(depth) * BYTES as usize)
        .map_err(failed)?;
    let buffers: Result<Vec<_>, _> = (0..depth).map(|_| pool.allocate(BYTES as usize)).collect();
    let mut load = Load {
        queue: device.open_queue(options).map_err(failed)?,
        buffers: buffers.map_err(failed)?,
        random: 0,
        places: (1 << (device.capacity() / BYTES).max(1).ilog2().min(30)) - 1,
        failed: false,
    };
    let server = |key| {
        let object = device.connection().object();
        object.get_meta(key).map_err(|failure| format!("{failure}"))
    };
    let idle = || server(key::IDLE_TICKS);
    let overhead = overhead();
    let reads = (BATCHES * u64::from(depth)) as f64;
    let (mut work, mut vain, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
    let mut looks = Vec::new();
    let mut counts = None;
    for sample in 0..=SAMPLES {
        if sample == 1 {
            counts = Some(counters.snapshot().map_err(|error| format!("{error}"))?);
        }
        let (before, looks_before) = (idle()?, server(key::LOOKS)?);
        let start = begin();
        let mut waits = 0;
        for _ in 0..BATCHES {
            waits += load.batch();
        }
        let ticks = end() - start - overhead;
        let looked = idle()? - before;
        // The first is to warm up.
        if sample > 0 {
            work.push((ticks - looked) as f64 / reads);
            looks.push((server(key::LOOKS)? - looks_before) as f64 / BATCHES as f64);
            vain.push(looked as f64 / reads);
            pieces.push(waits as f64 / BATCHES as f64);
        }
    }
    let after = counters.snapshot().map_err(|error| format!("{error}"))?;
    if load.failed {
        return Err(format!("a read failed at level {level}"));
    }
    let labels = format!("{depth}");
    let labels = [("level", level), ("qd", labels.as_str()), ("wait", "poll")];
    let figure = |suffix: &str, unit: &str, samples: &[f64]| {
        let name = format!("levels/{level}_qd{depth}{suffix}");
        Figure {
            name: &name,
            labels: &labels,
            unit,
            method,
            more_is_better: false,
        }
        .report(samples);
    };
    figure("", "instructions", &work);
    figure("_idle", "instructions", &vain);
    figure("_looks_per_batch", "looks", &looks);
    figure("_waits_per_batch", "calls", &pieces);
    let before = counts.ok_or("no samples")?;
    let batches = (BATCHES * SAMPLES as u64) as f64;
    for (counter, suffix, unit) in [
        (Counter::SystemCalls, "_system_calls_per_batch", "calls"),
        (
            Counter::AddressSpaceSwitches,
            "_address_space_switches_per_batch",
            "switches",
        ),
        (Counter::BytesCopied, "_bytes_copied_per_batch", "bytes"),
        (Counter::Interrupts, "_interrupts_per_batch", "interrupts"),
    ] {
        let count = after.get(counter) - before.get(counter);
        figure(suffix, unit, &[count as f64 / batches]);
    }
    Ok(())
}

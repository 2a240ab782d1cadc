//! Instructions for one read, in closed batches, without the polls in vain: how many of those there
//! are depends on how fast the emulator's device is.

use alloc::{string::String, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};

use bench_harness::{
    measure::{SAMPLES, begin, end, overhead},
    report::{Figure, Method},
};
use driver_sdk::{abi::counters::Counter, prelude::*, rt::object::Snapshot};
use spillway_hal::{Event, Traced};
use spillway_nvme::{Nvme, Options};

use crate::{Disk, failed, load::Load};

/// Batches in one sample.
const BATCHES: u64 = 100;
/// Polls whose mean is the cost of a poll in vain.
const POLLS: u64 = 6400;
/// What the kernel would be entered by.
const ENTRIES: [Counter; 3] = [Counter::SystemCalls, Counter::Interrupts, Counter::Faults];

/// Every counted figure.
pub fn all(disk: Disk, mut driver: Nvme<Disk>, confined: bool) -> Result<(), String> {
    let deep = subject(disk, &mut driver, 32)?;
    if !confined {
        figure("nvme/integrated_qd32_no_iommu", 32, "instructions").report(&deep.work);
        return Ok(());
    }
    let single = subject(disk, &mut driver, 1)?;
    drop(driver);
    figure("nvme/integrated_qd32", 32, "instructions").report(&deep.work);
    // None if there was no entry; else this is fewer than it was.
    figure("nvme/integrated_qd32_kernel", 32, "instructions").report(&[deep.entries as f64]);
    figure("nvme/integrated_qd1", 1, "instructions").report(&single.work);
    figure("nvme/poll_in_vain", 32, "instructions").report(&[deep.poll]);
    figure("nvme/polls_in_vain_qd32", 32, "polls").report(&deep.vain);
    figure("nvme/mmio_per_io_qd32", 32, "writes").report(&[register_writes(disk)?]);
    Ok(())
}

fn figure(name: &'static str, depth: u16, unit: &'static str) -> Figure<'static> {
    Figure {
        name,
        labels: crate::labels(depth),
        unit,
        method: Method::Counted,
        more_is_better: false,
    }
}

/// Samples of one queue depth, each the mean for a read.
struct Subject {
    /// Instructions of the program, without polls in vain.
    work: Vec<f64>,
    /// Entries to the kernel, in all samples together.
    entries: u64,
    /// Polls in vain.
    vain: Vec<f64>,
    /// Instructions of one of them.
    poll: f64,
}

fn subject(disk: Disk, driver: &mut Nvme<Disk>, depth: u16) -> Result<Subject, String> {
    let counters = object::<Counters>("counters").ok_or("the manifest grants no counters")?;
    let entries = || {
        let now = counters.snapshot().unwrap_or_default();
        ENTRIES
            .map(|counter| Snapshot::get(&now, counter))
            .iter()
            .sum::<u64>()
    };
    // What the looking itself adds.
    let looking = {
        let before = entries();
        entries() - before
    };
    let overhead = overhead();
    let mut load = Load::new(disk, driver, depth).map_err(failed)?;
    let poll = poll_in_vain(&mut load, overhead);
    let mut subject = Subject {
        work: Vec::with_capacity(SAMPLES),
        entries: 0,
        vain: Vec::with_capacity(SAMPLES),
        poll,
    };
    let reads = (BATCHES * u64::from(depth)) as f64;
    for sample in 0..=SAMPLES {
        let before = entries();
        let start = begin();
        let vain = batches(&mut load, depth)?;
        let ticks = end() - start;
        let entered = entries() - before - looking;
        // The first is to warm up.
        if sample > 0 {
            let work = (ticks - overhead) as f64 - vain as f64 * poll;
            subject.work.push(work / reads);
            subject.entries += entered;
            subject.vain.push(vain as f64 / reads);
        }
    }
    load.check().map_err(failed)?;
    Ok(subject)
}

#[inline(never)]
fn batches<D: spillway_hal::Device>(load: &mut Load<D>, depth: u16) -> Result<u64, String> {
    let mut vain = 0;
    for _ in 0..BATCHES {
        vain += load.batch(depth).map_err(failed)?;
    }
    Ok(vain)
}

/// Instructions of a poll that finds nothing, by the code that the batches use.
fn poll_in_vain(load: &mut Load<Disk>, overhead: u64) -> f64 {
    let start = begin();
    load.drain(1, POLLS);
    (end() - start - overhead) as f64 / POLLS as f64
}

/// Register writes for one read, by a driver that runs on a traced device.
fn register_writes(disk: Disk) -> Result<f64, String> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let trace = |event: Event| {
        if matches!(event, Event::Write { .. }) {
            WRITES.fetch_add(1, Ordering::Relaxed);
        }
    };
    let device = &Traced::new(disk, trace);
    let mut driver = Nvme::new(device, Options::default()).map_err(failed)?;
    let mut load = Load::new(device, &mut driver, 32).map_err(failed)?;
    let before = WRITES.load(Ordering::Relaxed);
    batches(&mut load, 32)?;
    let writes = WRITES.load(Ordering::Relaxed) - before;
    load.check().map_err(failed)?;
    Ok(writes as f64 / (BATCHES * 32) as f64)
}

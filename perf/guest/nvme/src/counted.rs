//! Instructions for one read, in closed batches that come back whole, without the polls in vain: how
//! many of those there are depends on how fast the emulator's device is.

use alloc::{string::String, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};

use bench_harness::{
    measure::{SAMPLES, begin, end, overhead},
    report::{Figure, Method},
};
use driver_sdk::{abi::counters::Counter, io::Integrated, prelude::*, rt::object::Snapshot};
use spillway_hal::{Event, Traced};
use spillway_nvme::{Nvme, Options};

use crate::{
    Disk, NAMESPACE, failed, io_failed,
    load::{Batches, Load},
    through_io::IoLoad,
};

/// Batches in one sample.
const BATCHES: u64 = 100;
/// Polls whose mean is the cost of a poll in vain.
const POLLS: u64 = 6400;
/// Turns of an idle loop between sending and reaping, at first and at most.
const FIRST_REST: u64 = 2_000;
const LAST_REST: u64 = 200_000;
/// Batches that are tried for one sample.
const MOST_ATTEMPTS: u64 = 50 * BATCHES;
/// What the kernel would be entered by.
const ENTRIES: [Counter; 3] = [Counter::SystemCalls, Counter::Interrupts, Counter::Faults];

/// Every counted figure.
pub fn all(disk: Disk, mut driver: Nvme<Disk>, confined: bool) -> Result<(), String> {
    let deep = subject(Load::new(disk, &mut driver, 32).map_err(failed)?, 32)?;
    if !confined {
        figure("nvme/integrated_qd32_no_iommu", 32, "instructions").report(&deep.work);
        return Ok(());
    }
    let single = subject(Load::new(disk, &mut driver, 1).map_err(failed)?, 1)?;
    let device = Integrated::new(driver, Nvme::device, NAMESPACE).map_err(io_failed)?;
    let deep_io = subject(IoLoad::new(&device, 32).map_err(io_failed)?, 32)?;
    let single_io = subject(IoLoad::new(&device, 1).map_err(io_failed)?, 1)?;
    drop(device);
    figure("nvme/integrated_qd32", 32, "instructions").report(&deep.work);
    // None if there was no entry; else this is fewer than it was.
    let entries = (deep.entries + deep_io.entries) as f64;
    figure("nvme/integrated_qd32_kernel", 32, "instructions").report(&[entries]);
    figure("nvme/integrated_qd1", 1, "instructions").report(&single.work);
    figure("nvme/io_integrated_qd32", 32, "instructions").report(&deep_io.work);
    figure("nvme/io_integrated_qd1", 1, "instructions").report(&single_io.work);
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

fn subject(mut load: impl Batches, depth: u16) -> Result<Subject, String> {
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
        let (ticks, vain) = whole_batches(&mut load, depth, overhead)?;
        let entered = entries() - before - looking;
        // The first is to warm up.
        if sample > 0 {
            let work = ticks as f64 - vain as f64 * poll;
            subject.work.push(work / reads);
            subject.entries += entered;
            subject.vain.push(vain as f64 / reads);
        }
    }
    load.check()?;
    Ok(subject)
}

/// The instructions of [`BATCHES`] batches that came back whole, and the polls in vain among them.
///
/// The device works in the host's time. A program that polls while it posts gets a batch in pieces,
/// as many as the host's scheduling makes, and each is a poll more. So the device gets time between
/// sending and reaping, which is not counted; a batch that comes in pieces all the same is not
/// counted either, and the next gets more time.
fn whole_batches(load: &mut impl Batches, depth: u16, overhead: u64) -> Result<(u64, u64), String> {
    let (mut ticks, mut vain, mut whole, mut rest) = (0, 0, 0, FIRST_REST);
    for _ in 0..MOST_ATTEMPTS {
        let start = begin();
        load.send(depth)?;
        idle(rest);
        let polls = load.drain(depth.into(), u64::MAX);
        let all = end() - start;
        if polls.pieces == 1 {
            ticks += all - overhead - idle_cost(rest, overhead);
            vain += polls.vain;
            whole += 1;
        } else {
            rest = (rest * 2).min(LAST_REST);
        }
        if whole == BATCHES {
            return Ok((ticks, vain));
        }
    }
    Err(String::from(
        "the device does not complete a batch at once, however long it has",
    ))
}

/// Lets the device work. Never inlined, so that it costs the same wherever it is counted.
#[inline(never)]
fn idle(turns: u64) {
    (0..turns).for_each(|_| core::hint::spin_loop());
}

/// Instructions of so long a rest.
fn idle_cost(turns: u64, overhead: u64) -> u64 {
    let start = begin();
    idle(turns);
    end() - start - overhead
}

/// Instructions of a poll that finds nothing, by the code that the batches use.
fn poll_in_vain(load: &mut impl Batches, overhead: u64) -> f64 {
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
    for _ in 0..BATCHES {
        load.send(32)?;
        load.drain(32, u64::MAX);
    }
    let writes = WRITES.load(Ordering::Relaxed) - before;
    load.check()?;
    Ok(writes as f64 / (BATCHES * 32) as f64)
}

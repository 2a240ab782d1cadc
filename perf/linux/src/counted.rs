//! Instructions for one read, in closed batches. Time in which nobody had anything to do, and polls
//! in vain, are taken off: how much of them there is depends on how fast the emulator's device is.

use anyhow::{Result, ensure};

use crate::{
    kernel::Account,
    measure::{SAMPLES, begin, end, overhead, rest},
    path::{Path, Polls, drain, pread::Threads, prepare},
    places::Places,
    report::Subject,
};

/// Reads in one sample, of all batches together.
const READS: usize = 1600;
/// Batches in one sample where the device gets time in each.
const BATCHES: u64 = 50;
/// Reads of each thread in one sample.
const READS_OF_A_THREAD: u64 = 100;
/// Polls whose mean is the cost of a poll in vain.
const POLLS: u64 = 6400;
/// Turns of an idle loop between sending and reaping, at first and at most.
const FIRST_REST: u64 = 2_000;
const LAST_REST: u64 = 200_000;
/// The turns where nobody can say whether there were polls in vain: enough for any batch.
const LONG_REST: u64 = 50_000;
/// Batches that are tried for one sample.
const MOST_ATTEMPTS: u64 = 50 * BATCHES;
/// How far from 2 the ticks of a loop of two instructions may be.
const TOLERANCE: f64 = 0.01;

/// Refuses a machine on which a tick is not an instruction.
pub fn check_the_counter() -> Result<()> {
    let ticks = crate::measure::ticks_of_a_turn();
    ensure!(
        (ticks - 2.0).abs() < TOLERANCE,
        "the time-stamp counter does not count instructions: {ticks} ticks for two of them"
    );
    Ok(())
}

/// A path on which the processor sleeps until an interrupt.
pub fn interrupted(path: &mut impl Path, places: &mut Places, subject: &Subject) -> Result<()> {
    let overhead = overhead();
    let batches = READS / subject.depth;
    account(subject, (batches * subject.depth) as u64, || {
        let mut ticks = 0;
        for _ in 0..batches {
            let start = begin();
            prepare(path, places, subject.depth);
            drain(path, subject.depth, u64::MAX)?;
            ticks += end() - start - overhead;
        }
        Ok(ticks)
    })
}

/// `pread` by one or many threads.
pub fn threads(threads: &Threads, subject: &Subject) -> Result<()> {
    let once = |reads| threads.run(reads, begin, |start| end() - start);
    let (reads, meeting) = match threads.count {
        1 => (READS as u64, overhead()),
        // What it takes that all start and end together.
        _ => (READS_OF_A_THREAD, median(&mut meetings(&once)?)),
    };
    account(subject, reads * threads.count as u64, || {
        Ok(once(reads)?.saturating_sub(meeting))
    })
}

/// The work of threads that read nothing.
fn meetings(once: &impl Fn(u64) -> Result<u64>) -> Result<Vec<u64>> {
    let measured = (0..SAMPLES).map(|_| {
        let before = Account::now()?;
        let ticks = once(0)?;
        Ok(ticks.saturating_sub(Account::now()?.since(before).idle))
    });
    measured.collect()
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Reports samples of something that takes `ticks`, idle time included, for `reads` reads.
fn account(subject: &Subject, reads: u64, mut ticks: impl FnMut() -> Result<u64>) -> Result<()> {
    let reads = reads as f64;
    let (mut work, mut idle) = (Vec::new(), Vec::new());
    let (mut interrupts, mut switches) = (Vec::new(), Vec::new());
    for sample in 0..=SAMPLES {
        let before = Account::now()?;
        let ticks = ticks()?;
        let account = Account::now()?.since(before);
        // The first is to warm up.
        if sample > 0 {
            work.push(ticks.saturating_sub(account.idle) as f64 / reads);
            idle.push(account.idle as f64 / reads);
            interrupts.push(account.interrupts as f64 / reads);
            switches.push(account.switches as f64 / reads);
        }
    }
    subject.report("", "instructions", false, &work);
    subject.report("_idle", "instructions", false, &idle);
    subject.report("_interrupts", "interrupts", false, &interrupts);
    subject.report("_switches", "switches", false, &switches);
    Ok(())
}

/// Who polls, where the processor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poller {
    /// The kernel, in the call by which a program waits. It does not say how often.
    Kernel,
    /// The program.
    Program,
}

/// A path on which somebody polls. The device gets time between sending and reaping, which is not
/// counted, so that the first poll finds everything.
pub fn polled(
    path: &mut impl Path,
    places: &mut Places,
    poller: Poller,
    subject: &Subject,
) -> Result<()> {
    let overhead = overhead();
    let poll = match poller {
        Poller::Kernel => 0.0,
        Poller::Program => poll_in_vain(path, overhead)?,
    };
    let reads = (BATCHES * subject.depth as u64) as f64;
    let (mut work, mut vain) = (Vec::new(), Vec::new());
    for sample in 0..=SAMPLES {
        let (ticks, polls) = whole_batches(path, places, poller, subject.depth, overhead)?;
        if sample > 0 {
            work.push((ticks as f64 - polls as f64 * poll) / reads);
            vain.push(polls as f64 / reads);
        }
    }
    subject.report("", "instructions", false, &work);
    if poller == Poller::Program {
        subject.report("_polls_in_vain", "polls", false, &vain);
    }
    Ok(())
}

/// The instructions of [`BATCHES`] batches that came back whole, and the polls in vain among them.
fn whole_batches(
    path: &mut impl Path,
    places: &mut Places,
    poller: Poller,
    depth: usize,
    overhead: u64,
) -> Result<(u64, u64)> {
    let (mut ticks, mut vain, mut whole) = (0, 0, 0);
    let mut turns = match poller {
        Poller::Kernel => LONG_REST,
        Poller::Program => FIRST_REST,
    };
    for _ in 0..MOST_ATTEMPTS {
        let (first, ()) = region(overhead, || {
            prepare(path, places, depth);
            path.send()
        })?;
        rest(turns);
        let (second, polls): (u64, Polls) = region(overhead, || drain(path, depth, u64::MAX))?;
        if polls.pieces == 1 {
            ticks += first + second;
            vain += polls.vain;
            whole += 1;
        } else {
            turns = (turns * 2).min(LAST_REST);
        }
        if whole == BATCHES {
            return Ok((ticks, vain));
        }
    }
    anyhow::bail!("the device does not complete a batch at once, however long it has")
}

/// The ticks that something takes, and what it yields.
#[inline(always)]
fn region<T>(overhead: u64, work: impl FnOnce() -> Result<T>) -> Result<(u64, T)> {
    let start = begin();
    let result = work();
    let ticks = end() - start;
    Ok((ticks.saturating_sub(overhead), result?))
}

/// Instructions of a poll that finds nothing, by the code that the batches use.
fn poll_in_vain(path: &mut impl Path, overhead: u64) -> Result<f64> {
    let (ticks, _) = region(overhead, || drain(path, 1, POLLS))?;
    Ok(ticks as f64 / POLLS as f64)
}

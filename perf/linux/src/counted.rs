//! Instructions for one read, in closed batches. Time in which nobody had anything to do, and polls
//! in vain, are taken off: how much of them there is depends on how fast the emulator's device is.

use anyhow::{Result, bail, ensure};

use crate::{
    kernel::Account,
    measure::{begin, end, overhead, rest},
    path::{Path, Polls, drain, pread::Threads, prepare},
    places::Places,
    report::Subject,
};

/// Reads in one sample, of all batches together.
const READS: usize = 1600;
/// Batches in one sample where the device gets time in each.
const BATCHES: usize = 20;
/// Reads of each thread in one sample.
const READS_OF_A_THREAD: u64 = 100;
/// How often threads meet to find out what that costs.
const MEETINGS: usize = 20;
/// Polls whose mean is the cost of a poll in vain.
const POLLS: u64 = 6400;
/// Turns of an idle loop between sending and reaping, at first and at most.
const FIRST_REST: u64 = 2_000;
const LAST_REST: u64 = 200_000;
/// The turns where nobody can say whether there were polls in vain: enough for any batch.
const LONG_REST: u64 = 50_000;
/// Batches that are tried for one sample.
const MOST_ATTEMPTS: usize = 100 * BATCHES;
/// What a driver in the program writes for a batch that comes back whole: one doorbell to send, one
/// for the completions.
const REGISTER_WRITES: f64 = 2.0;
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
pub fn interrupted<P: Path>(path: &mut P, places: &mut Places, subject: &Subject) -> Result<()> {
    let overhead = overhead();
    let batches = READS / subject.depth;
    account(subject, (batches * subject.depth) as u64, || {
        let (mut ticks, mut calls) = (0, 0);
        for _ in 0..batches {
            let start = begin();
            prepare(path, places, subject.depth);
            let polls = drain(path, subject.depth, u64::MAX)?;
            ticks += end() - start - overhead;
            // The first wait sends.
            calls += P::CALLS.both + P::CALLS.wait * (polls.all() - 1);
        }
        Ok((ticks, calls))
    })
}

/// `pread` by one or many threads.
pub fn threads(threads: &Threads, subject: &Subject) -> Result<()> {
    let once = |reads| {
        let run = threads.run::<_, _, ()>(reads, begin, |start| end() - start);
        run.map(|(ticks, _)| ticks)
    };
    let (reads, meeting) = match threads.count {
        1 => (READS as u64, overhead()),
        // What it takes that all start and end together.
        _ => (READS_OF_A_THREAD, meeting(&once)?),
    };
    let all = reads * threads.count as u64;
    account(subject, all, || {
        Ok((once(reads)?.saturating_sub(meeting), all))
    })
}

/// The work of threads that read nothing, without idling: the median of some.
fn meeting(once: &impl Fn(u64) -> Result<u64>) -> Result<u64> {
    let measured = (0..MEETINGS).map(|_| {
        let before = Account::now()?;
        let ticks = once(0)?;
        Ok(ticks.saturating_sub(Account::now()?.since(before).idle))
    });
    Ok(median(&mut measured.collect::<Result<Vec<_>>>()?))
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Reports samples of something that takes ticks, idle time included, and system calls for `reads`
/// reads.
fn account(
    subject: &Subject,
    reads: u64,
    mut once: impl FnMut() -> Result<(u64, u64)>,
) -> Result<()> {
    let reads = reads as f64;
    let (mut work, mut idle, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    let (mut interrupts, mut wake_ups) = (Vec::new(), Vec::new());
    for sample in 0..=subject.extent.samples {
        let before = Account::now()?;
        let (ticks, system_calls) = once()?;
        let account = Account::now()?.since(before);
        // The first is to warm up.
        if sample > 0 {
            work.push(ticks.saturating_sub(account.idle) as f64 / reads);
            idle.push(account.idle as f64 / reads);
            calls.push(system_calls as f64 / reads);
            interrupts.push(account.interrupts as f64 / reads);
            wake_ups.push(account.wake_ups as f64 / reads);
        }
    }
    subject.report("", "instructions", false, &work);
    subject.report("_idle_instructions", "instructions", false, &idle);
    subject.report("_system_calls", "calls", false, &calls);
    subject.report("_interrupts", "interrupts", false, &interrupts);
    subject.report("_wake_ups", "wake-ups", false, &wake_ups);
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
pub fn polled<P: Path>(
    path: &mut P,
    places: &mut Places,
    poller: Poller,
    subject: &Subject,
) -> Result<()> {
    let overhead = overhead();
    let poll = match poller {
        Poller::Kernel => 0.0,
        Poller::Program => poll_in_vain(path, overhead)?,
    };
    let depth = subject.depth as f64;
    let (mut work, mut vain) = (Vec::new(), Vec::new());
    for sample in 0..=subject.extent.samples {
        let batches = whole_batches(path, places, poller, subject.depth, overhead)?;
        if sample > 0 {
            let (batch_work, batch_vain) = batches.typical(poll);
            work.push(batch_work / depth);
            vain.push(batch_vain / depth);
        }
    }
    subject.report("", "instructions", false, &work);
    // One to send, and one that finds everything.
    let calls = (P::CALLS.send + P::CALLS.wait) as f64 / depth;
    subject.report("_system_calls", "calls", false, &[calls]);
    if poller == Poller::Program {
        subject.report("_empty_polls", "polls", false, &vain);
        let writes = REGISTER_WRITES / depth;
        subject.report("_mmio_writes", "writes", false, &[writes]);
    }
    Ok(())
}

/// What each batch took: instructions, and polls in vain among them.
struct Batches(Vec<(u64, u64)>);

impl Batches {
    /// The median of the work, and the mean of the polls in vain. The kernel does not tell of its
    /// polls in vain, so a batch for which the device was late all the same must not count.
    fn typical(&self, poll: f64) -> (f64, f64) {
        let without_polls = |&(ticks, vain): &(u64, u64)| ticks as f64 - vain as f64 * poll;
        let mut work: Vec<f64> = self.0.iter().map(without_polls).collect();
        work.sort_by(f64::total_cmp);
        let vain: u64 = self.0.iter().map(|(_, vain)| vain).sum();
        (work[work.len() / 2], vain as f64 / self.0.len() as f64)
    }
}

/// [`BATCHES`] batches that came back whole.
fn whole_batches(
    path: &mut impl Path,
    places: &mut Places,
    poller: Poller,
    depth: usize,
    overhead: u64,
) -> Result<Batches> {
    let mut batches = Vec::with_capacity(BATCHES);
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
            batches.push((first + second, polls.vain));
        } else {
            turns = (turns * 2).min(LAST_REST);
        }
        if batches.len() == BATCHES {
            return Ok(Batches(batches));
        }
    }
    bail!("the device does not complete a batch at once, however long it has")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_batch_does_not_count_and_polls_in_vain_are_taken_off() {
        let batches = Batches(vec![(100, 0), (130, 10), (90_000, 0), (101, 0), (99, 0)]);
        assert_eq!(batches.typical(3.0), (100.0, 2.0));
    }
}

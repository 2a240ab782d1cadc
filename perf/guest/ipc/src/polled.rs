//! A million requests through shared memory between two processes that poll, each on a core of its
//! own: nobody enters the kernel.

use core::time::Duration;

use bench_harness::report::{Figure, Method};
use driver_sdk::{
    abi::counters::Counter,
    prelude::*,
    rt::{
        object::{Counters, Operations, Remote, Snapshot},
        serve::{Answer, Ask, Server},
        thread,
        time::{Instant, core_count},
    },
};

use crate::{
    BATCH,
    shared::{ACCESS, BYTES, Rings},
};

/// Requests that are counted.
const REQUESTS: u64 = 1_000_000;
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The first word of the entry that ends the server.
const STOP: u64 = u64::MAX;
/// The server's core, as a bit; the client's is the first.
const SECOND_CORE: u64 = 1 << 1;

/// Takes the memory that the client shares, then answers what is in the ring, on the second core.
pub fn serve() -> Result<(), Error> {
    let server = Server::named("polled", 1, 64)?;
    let mut answer = Answer::later();
    let memory = loop {
        let mut request = server.next(answer, Deadline::NEVER)?;
        match request.ask {
            Ask::Share { .. } => {
                let memory = request.take_gift::<Memory>();
                request.done().send();
                break memory.ok_or(Error::Failed)?;
            }
            Ask::Closed => return Ok(()),
            _ => answer = request.done(),
        }
    };
    let poll = move || poll(&Rings::map(&memory)?);
    thread::Builder::new()
        .affinity(SECOND_CORE)
        .spawn(poll)?
        .join()
}

fn poll(rings: &Rings) -> Result<(), Error> {
    let (mut requests, mut replies) = (rings.consumer(0)?, rings.producer(1)?);
    loop {
        let mut is_over = false;
        for entry in requests.ready().map_err(|_| Error::Corrupt)? {
            is_over |= entry[0] == STOP;
            replies.push(entry).map_err(|_| Error::Corrupt)?;
        }
        requests.release();
        replies.publish();
        if is_over {
            return Ok(());
        }
        core::hint::spin_loop();
    }
}

/// What the whole machine has done, and when that was.
fn look(counters: &Counters) -> Result<(Snapshot, Instant), Error> {
    Ok((counters.snapshot()?, Instant::now()))
}

/// A million requests, 32 of them under way at most; nothing is measured with one core.
pub fn measure(method: Method) -> Result<(), Error> {
    if core_count() < 2 {
        return Ok(());
    }
    let server = object::<Remote>("polled").ok_or(Error::NotFound)?;
    let counters = object::<Counters>("counters").ok_or(Error::NotFound)?;
    let memory = Memory::new(BYTES)?;
    let rings = Rings::map(&memory)?;
    rings.initialise();
    server.share(&memory, ACCESS | Rights::MAP, 0)?;
    let (mut requests, mut replies) = (rings.producer(0)?, rings.consumer(1)?);
    let mut ask = |count: u64, first: u64| -> Result<(), Error> {
        let start = Instant::now();
        let (mut asked, mut answered, mut sum) = (0, 0, 0);
        while answered < count {
            while asked < count && asked - answered < BATCH as u64 {
                let entry = [first, asked, 0, 0, 0, 0, 0, 0];
                requests.push(entry).map_err(|_| Error::Corrupt)?;
                asked += 1;
            }
            requests.publish();
            let before = answered;
            for entry in replies.ready().map_err(|_| Error::Corrupt)? {
                sum += entry[1];
                answered += 1;
            }
            replies.release();
            if answered == before {
                core::hint::spin_loop();
                if start.elapsed() > PATIENCE {
                    return Err(Error::TimedOut);
                }
            }
        }
        match sum == count * (count - 1) / 2 {
            true => Ok(()),
            false => Err(Error::Failed),
        }
    };
    // The server is in its loop when it has answered.
    ask(1, 0)?;
    // A look is a system call itself, which the first of two does not see of itself.
    let (idle_before, _) = look(&counters)?;
    let (before, start) = look(&counters)?;
    ask(REQUESTS, 0)?;
    let (after, end) = look(&counters)?;
    ask(1, STOP)?;
    let looks = before.get(Counter::SystemCalls) - idle_before.get(Counter::SystemCalls);
    let figure = |suffix: &str, unit: &str, value: f64| {
        let name = alloc::format!("ipc/polled_two_cores{suffix}");
        Figure {
            name: &name,
            labels: &[("of", "machine"), ("requests", "1000000")],
            unit,
            method,
            more_is_better: false,
        }
        .report(&[value]);
    };
    let calls = after.get(Counter::SystemCalls) - before.get(Counter::SystemCalls) - looks;
    figure("_system_calls", "calls", calls as f64);
    let interrupts = after.get(Counter::Interrupts) - before.get(Counter::Interrupts);
    figure("_interrupts", "interrupts", interrupts as f64);
    let time = (end.as_nanoseconds() - start.as_nanoseconds()) as f64;
    figure("_request", "ns", time / REQUESTS as f64);
    Ok(())
}

//! Measures what programs say to each other: `do_io` to a server that waits and back, batches
//! through queues, and batches through shared memory.
//!
//! The program is its own servers, each a process of its own: `serve` and the way by which it is
//! reached are the second and third argument then. The first is `counted` or `timed`. With `only` and the name of a way, only that is measured.
#![no_std]
#![no_main]

extern crate alloc;

mod call;
mod polled;
mod queue;
mod ring;
mod shared;

use alloc::vec::Vec;

use bench_harness::report::{self, Figure, Method};
use driver_sdk::{
    abi::counters::Counter,
    prelude::*,
    rt::object::{Counters, Snapshot},
};

driver_sdk::main!(main);

/// Requests in a batch.
pub const BATCH: usize = 32;
/// How long anything may take.
pub fn patience() -> Deadline {
    Deadline::after(core::time::Duration::from_secs(20))
}

fn main() -> Result<(), Error> {
    let mut arguments = arguments();
    let method = Method::from_argument(arguments.next()).ok_or(Error::BadArgument)?;
    match (arguments.next(), arguments.next()) {
        (None, _) => client(method, None),
        (Some("only"), subject) => client(method, subject),
        (Some("serve"), Some("call")) => call::serve(),
        (Some("serve"), Some("queue")) => queue::serve(),
        (Some("serve"), Some("shared")) => shared::serve(),
        (Some("serve"), Some("polled")) => polled::serve(),
        _ => Err(Error::BadArgument),
    }
}

/// Measures everything, or one subject.
fn client(method: Method, only: Option<&str>) -> Result<(), Error> {
    report::begin("bench-ipc", method, None);
    let wants = |subject| only.is_none_or(|only| only == subject);
    if wants("call") {
        call::measure(method)?;
    }
    if wants("queue") {
        queue::measure(method)?;
    }
    if wants("shared") {
        shared::measure(method)?;
    }
    if wants("polled") {
        polled::measure(method)?;
    }
    if wants("ring") {
        ring::measure(method)?;
    }
    report::end();
    Ok(())
}

/// Samples of one subject, each the mean for one request, and what else a request cost.
pub struct Subject {
    /// Ticks.
    pub ticks: Vec<f64>,
    /// The counters of this process before.
    pub before: Snapshot,
    /// And afterwards.
    pub after: Snapshot,
    /// Requests between the two.
    pub requests: u64,
}

/// Takes the counters of this process around something that does `requests` requests.
pub fn counted(
    requests: u64,
    work: impl FnOnce() -> Result<Vec<f64>, Error>,
) -> Result<Subject, Error> {
    let counters: Counters = own_process().counters()?;
    let before = counters.snapshot()?;
    let ticks = work()?;
    let after = counters.snapshot()?;
    Ok(Subject {
        ticks,
        before,
        after,
        requests,
    })
}

impl Subject {
    /// Reports it, with what it cost besides in rows of the same name and a suffix.
    pub fn report(&self, name: &str, method: Method) {
        report::report(name, method, &self.ticks);
        for (counter, suffix, unit) in [
            (Counter::SystemCalls, "system_calls", "calls"),
            (
                Counter::AddressSpaceSwitches,
                "address_space_switches",
                "switches",
            ),
            (Counter::BytesCopied, "bytes_copied", "bytes"),
        ] {
            let count = self.after.get(counter) - self.before.get(counter);
            let name = alloc::format!("{name}_{suffix}");
            let figure = Figure {
                name: &name,
                labels: &[("of", "client")],
                unit,
                method,
                more_is_better: false,
            };
            figure.report(&[count as f64 / self.requests as f64]);
        }
    }
}

//! Runs the cases of a plan: the same loop of reads and writes at any of the four levels.
//!
//! | file | what it is |
//! |---|---|
//! | `way.rs` | a device, by whatever way |
//! | `script.rs` | what is asked for, and where |
//! | `watch.rs` | what is done with a request besides: its latency, its data |
//! | `load.rs` | the loop |
//! | `crew.rs` | one thread, or several |
//! | `counted.rs`, `timed.rs` | what is measured |
//!
//! The first argument is `counted` or `timed`; the cases are the module `plan`. All of a boot are at one
//! level, because a program owns a device or asks a server for it, not both.
#![no_std]
#![no_main]

extern crate alloc;

mod counted;
mod crew;
mod load;
mod script;
mod timed;
mod watch;
mod way;

use alloc::{format, string::String};
use core::time::Duration;

use bench_harness::{
    plan::{self, Backend, Buffers, Case, Cases, Level},
    report::{self, Method},
};
use driver_sdk::{
    io::{Async, BlockDevice, BlockQueue, Shared, Sync},
    prelude::*,
};
use way::Way;

driver_sdk::main!(main);

fn main() -> Result<(), String> {
    let method = Method::from_argument(arguments().next())
        .ok_or("the first argument must be `counted` or `timed`")?;
    let (cases, checksum) = plan::cases()?;
    report::begin("bench-io", method, Some(checksum));
    // Whoever started this program has its own work done by then.
    thread::sleep(Duration::from_millis(1));
    let level = cases.cases.first().map(|case| case.level);
    match level.ok_or("the plan has no case")? {
        Level::Sync => all(&cases, |case| {
            let device = Sync::named(DISK).map_err(failed)?;
            Ok(Way::served(match case.buffers {
                Buffers::Copied => device.copying().map_err(failed)?,
                Buffers::Registered => device,
            }))
        })?,
        Level::Async => {
            let way = Way::served(Async::named(DISK).map_err(failed)?);
            all(&cases, |_| Ok(way.clone()))?;
        }
        Level::Shared => {
            let way = Way::served(Shared::named(DISK).map_err(failed)?);
            all(&cases, |_| Ok(way.clone()))?;
        }
        Level::Integrated => {
            let way = Way::integrated(DISK)?;
            all(&cases, |_| Ok(way.clone()))?;
        }
    }
    report::end();
    Ok(())
}

/// What the manifest calls the disk: a service of a server, or a device of this process.
const DISK: &str = "disk";

/// Measures every case, each on the device that it wants.
fn all<D>(cases: &Cases, device: impl Fn(&Case) -> Result<Way<D>, String>) -> Result<(), String>
where
    D: BlockDevice + Send + 'static,
    D::Queue: BlockQueue,
{
    for case in &cases.cases {
        let terms = Terms {
            case: case.clone(),
            before: cases.seed_before(),
            written: cases.seed_written(),
        };
        let way = device(case)?;
        let measured = match case.method {
            Method::Counted => counted::measure(&way, &terms),
            _ => timed::measure(&way, &terms),
        };
        measured.map_err(|error| {
            let (level, depth) = (case.level.name(), case.queue_depth);
            format!("case {}, level {level} at depth {depth}: {error}", case.id)
        })?;
    }
    Ok(())
}

/// A case, and what is on the disk.
#[derive(Clone)]
struct Terms {
    case: Case,
    /// The seeds of what is there before, and of what is written.
    before: u64,
    written: u64,
}

impl Terms {
    /// Requests that a thread has in flight.
    fn depth(&self) -> u16 {
        (self.case.queue_depth / self.case.threads) as u16
    }

    /// Whether what is written must be the pattern: where there is a medium, somebody looks at it.
    fn writes_pattern(&self) -> bool {
        self.case.backend == Backend::File && self.case.read_percent < 100
    }
}

fn failed(error: driver_sdk::io::Error) -> String {
    format!("the disk failed: {error}")
}

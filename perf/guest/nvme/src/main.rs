//! Measures random reads of 4 KiB from an NVMe, by a program that has the driver linked in, polls,
//! and owns nothing else.
//!
//! The argument is `counted` or `timed`. For a counted run the machine's time-stamp counter must
//! advance by one with each instruction (QEMU's `-icount shift=0`).
//!
//! The first thing that happens is the first read, because the time from the kernel's first
//! instruction to its completion is one of the figures.
#![no_std]
#![no_main]

extern crate alloc;

mod counted;
mod load;
mod through_io;
mod timed;

use alloc::{boxed::Box, format, string::String};
use core::time::Duration;

use bench_harness::report::{self, Method, report};
use driver_sdk::{abi::object::ClockMeta, prelude::*};
use load::{Batches, Load};
use spillway_hal::{DriverError, block::NamespaceId};
use spillway_native::Function;
use spillway_nvme::{Nvme, Options};

driver_sdk::main!(main);

/// A device that outlives every driver for it.
type Disk = &'static Function;

fn main() -> Result<(), String> {
    let method = Method::from_argument(arguments().next())
        .ok_or("the first argument must be `counted` or `timed`")?;
    let disk: Disk = Box::leak(Box::new(
        Function::named("disk").map_err(|error| format!("no disk: {error}"))?,
    ));
    let mut driver = Nvme::new(disk, Options::default()).map_err(failed)?;
    let mut load = Load::new(disk, &mut driver, 1).map_err(failed)?;
    load.send(1)?;
    load.drain(1, u64::MAX);
    load.check()?;
    let ticks = time::tsc().checked_sub(kernel_entry()?);
    drop(load);
    let confined = disk
        .object()
        .dma_space()
        .and_then(|space| space.is_confined())
        .map_err(|error| error.describe())?;
    // Not earlier: the words would delay the first read.
    report::begin("bench-nvme", method, None);
    if let Some(ticks) = ticks.filter(|_| confined) {
        report("boot/first_nvme_read", method, &[ticks as f64]);
    }
    // Whoever started this program has its own work done by then.
    thread::sleep(Duration::from_millis(1));
    match method {
        Method::Counted => counted::all(disk, driver, confined)?,
        _ => timed::all(disk, driver)?,
    }
    report::end();
    Ok(())
}

/// The time-stamp counter at the kernel's first instruction.
fn kernel_entry() -> Result<u64, &'static str> {
    let clock = object::<Clock>("clock").ok_or("the manifest grants no clock")?;
    clock
        .meta(ClockMeta::KernelEntryTsc)
        .map_err(|error| error.describe())
}

fn failed(error: DriverError) -> String {
    format!("the disk failed: {error}")
}

fn io_failed(error: driver_sdk::io::Error) -> String {
    format!("the disk failed: {error}")
}

/// The namespace that is read, which the driver has found.
const NAMESPACE: NamespaceId = NamespaceId(1);

/// What all figures at a queue depth have in common.
const fn labels(depth: u16) -> &'static [(&'static str, &'static str)] {
    match depth {
        1 => &[
            ("level", "integrated"),
            ("qd", "1"),
            ("block_size", "4096"),
            ("wait", "poll"),
        ],
        4 => &[
            ("level", "integrated"),
            ("qd", "4"),
            ("block_size", "4096"),
            ("wait", "poll"),
        ],
        32 => &[
            ("level", "integrated"),
            ("qd", "32"),
            ("block_size", "4096"),
            ("wait", "poll"),
        ],
        _ => &[
            ("level", "integrated"),
            ("qd", "128"),
            ("block_size", "4096"),
            ("wait", "poll"),
        ],
    }
}

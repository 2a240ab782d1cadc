//! A small program: it reads a page, and reports how much memory it has. `src/sync.rs` and so on are the
//! same with the device of a level, so that the binaries differ by the level and nothing else.
#![no_std]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
};

use bench_harness::report::{self, Figure, Method};
use driver_sdk::{
    abi::object::ProcessMeta,
    io::{BlockDevice, BlockQueue, ByteOffset, QueueOptions, Request},
    prelude::*,
};

/// Bytes of a page.
const PAGE: usize = 4096;

/// Reads a page of a device, and reports. The program's second argument is what the device is.
///
/// # Errors
///
/// A sentence.
pub fn run(level: &str, device: &impl BlockDevice) -> Result<(), String> {
    let pool = device
        .create_pool(PAGE)
        .map_err(|error| error.to_string())?;
    let options = QueueOptions {
        depth: 1,
        ..QueueOptions::default()
    };
    let mut queue = device
        .open_queue(options)
        .map_err(|error| error.to_string())?;
    let page = pool.allocate(PAGE).map_err(|error| error.to_string())?;
    let pushed = queue.submit(Request::read(ByteOffset(0), page));
    pushed.map_err(|rejected| rejected.error.to_string())?;
    let mut result = Ok(());
    queue
        .wait(u64::MAX, |completion| result = completion.result)
        .map_err(|error| error.to_string())?;
    result.map_err(|error| error.to_string())?;
    let memory = own_process()
        .meta(ProcessMeta::MemoryUsed)
        .map_err(|error| error.describe())?;
    report::begin(&format!("small-{level}"), Method::Counted, None);
    Figure {
        name: &format!("size/{level}_memory"),
        labels: &[
            ("level", level),
            ("device", arguments().nth(1).unwrap_or("?")),
        ],
        unit: "bytes",
        method: Method::Counted,
        more_is_better: false,
    }
    .report(&[memory as f64]);
    report::end();
    Ok(())
}

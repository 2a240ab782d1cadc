//! The small program at level `sync`.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::{String, ToString};

use driver_sdk::io::Sync;

driver_sdk::main!(main);

fn main() -> Result<(), String> {
    let device = Sync::named("disk").map_err(|error| error.to_string())?;
    bench_small::run("sync", &device)
}

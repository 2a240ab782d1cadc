//! The small program at level `async`.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::{String, ToString};

use driver_sdk::io::Async;

driver_sdk::main!(main);

fn main() -> Result<(), String> {
    let device = Async::named("disk").map_err(|error| error.to_string())?;
    bench_small::run("async", &device)
}

//! The small program at level `shared`.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::{String, ToString};

use driver_sdk::io::Shared;

driver_sdk::main!(main);

fn main() -> Result<(), String> {
    let device = Shared::named("disk").map_err(|error| error.to_string())?;
    bench_small::run("shared", &device)
}

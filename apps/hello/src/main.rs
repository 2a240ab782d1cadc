//! The smallest useful program: a greeting, its arguments, the cores and the time.
//!
//! Copy this folder to begin a program of your own; `manifests/hello.toml` starts it.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;

use driver_sdk::prelude::*;

driver_sdk::main!(main);

fn main() {
    println!("Hello from an unprivileged program.");
    for (number, argument) in arguments().enumerate() {
        println!("argument {number}: {argument}");
    }

    // One thread per core, each of which may run only there.
    let threads: Vec<_> = (0..time::core_count())
        .map(|core| {
            thread::Builder::new()
                .affinity(1 << core)
                .spawn(|| println!("a thread on core {}", time::core_index()))
        })
        .collect();
    for thread in threads {
        match thread {
            Ok(thread) => thread.join(),
            Err(error) => println!("no thread: {error}"),
        }
    }

    let now = Instant::now().as_nanoseconds();
    println!(
        "{} cores, {} ms after the start",
        time::core_count(),
        now / 1_000_000
    );
}

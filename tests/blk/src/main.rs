//! Programs that reach a disk through blk-server, which they start and kill themselves: a RAM-disk
//! (`ram`), a real one whose every byte is checked (`data`), one whose server is killed (`killed`); or
//! which devmgr starts, and starts again (`managed`).
#![no_std]
#![no_main]

extern crate alloc;

mod data;
mod filtered;
mod killed;
mod managed;
mod ram;
mod server;

use driver_sdk::prelude::*;
use guest_harness::harness::{self, Outcome, Test};

driver_sdk::main!(main);

fn main() -> i32 {
    let tests: &[&[Test]] = match arguments().next() {
        Some("ram") => &[ram::TESTS, filtered::TESTS],
        Some("data") => &[data::TESTS],
        Some("killed") => &[killed::TESTS],
        Some("managed") => &[managed::TESTS],
        Some("victim") => return victim(),
        _ => {
            println!("the first argument is `ram`, `data`, `killed` or `managed`");
            return 1;
        }
    };
    harness::run(tests, None)
}

/// Plays a client.
fn victim() -> i32 {
    let outcome = match arguments().nth(1) {
        Some("holder") => ram::holder(),
        Some("reader") => data::client(),
        Some("writer") => killed::client(),
        Some("again") => managed::client(),
        Some("idle") => managed::idle(),
        other => {
            println!("no victim is called {other:?}");
            return 1;
        }
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            println!("the client failed: {failure:?}");
            1
        }
    }
}

/// A number among the arguments.
fn number(index: usize) -> Outcome<u64> {
    let argument = arguments().nth(index).ok_or("an argument is missing")?;
    Ok(argument.parse()?)
}

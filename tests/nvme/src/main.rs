//! Programs that own an NVMe: one that moves real data and checks every byte (`data`), and one
//! that kills owners at random instants and looks after what they leave (`owners`).
#![no_std]
#![no_main]

extern crate alloc;

mod data;
mod owners;
mod random;

use driver_sdk::prelude::*;
use guest_harness::harness::{self, Outcome, Test};

driver_sdk::main!(main);

/// Makes a test of a function.
macro_rules! test {
    ($function:path, $name:literal) => {
        &[Test {
            name: $name,
            module: module_path!(),
            cores: 1,
            run: $function,
        }]
    };
}

fn main() -> i32 {
    let tests: &[Test] = match arguments().next() {
        Some("data") => test!(data::every_byte, "every_byte_at_every_depth_and_size"),
        Some("owners") => test!(owners::killed, "owners_killed_with_writes_in_flight"),
        Some("victim") => return owners::victim(),
        _ => {
            println!("the first argument is `data` or `owners`");
            return 1;
        }
    };
    harness::run(&[tests], None)
}

/// A number among the arguments.
fn number(index: usize) -> Outcome<u64> {
    let argument = arguments().nth(index).ok_or("an argument is missing")?;
    Ok(argument.parse()?)
}

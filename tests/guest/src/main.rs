//! What the kernel promises to programs, checked by a program.
//!
//! Without arguments every test runs; an argument runs those whose name contains it, or with
//! `::` at its end those of a module; `soak` makes the long campaigns long. The program also plays the victims of its own tests: started as
//! `victim KIND`, it does one thing that it should not get away with ([`victims`]).
//!
//! The log has `tests N`, a line per test, and `tests done`; the exit code is 0 if all passed.
#![no_std]
#![no_main]

extern crate alloc;

mod raw;
mod serving;
mod tests;
mod vectors;
mod victims;
mod zoo;

use driver_sdk::prelude::*;
use guest_harness::{child, harness};

driver_sdk::main!(main);

fn main() -> i32 {
    let mut words = arguments();
    match (words.next(), words.next()) {
        (Some("victim"), Some(kind)) => victims::play(kind, words.next().unwrap_or("")),
        _ => harness::run(tests::ALL, arguments().find(|&word| word != "soak")),
    }
}

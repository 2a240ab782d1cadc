//! A program that lives outside the workspace: it depends on `driver-sdk` and nothing else.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;

use driver_sdk::prelude::*;

driver_sdk::main!(main);

fn main() {
    let words: Vec<_> = arguments().collect();
    println!("Greetings {}.", words.join(" "));
}

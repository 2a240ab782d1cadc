//! To come.
#![no_std]
#![no_main]

driver_sdk::main!(main);

fn main() {}

//! What the kernel promises about granted devices, checked by a program that owns some.
#![no_std]
#![no_main]

extern crate alloc;

mod tests;

use driver_sdk::prelude::*;
use guest_harness::harness;

driver_sdk::main!(main);

fn main() -> i32 {
    harness::run(tests::ALL, arguments().find(|&word| word != "soak"))
}

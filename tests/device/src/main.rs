//! What the kernel promises about granted devices, checked by a program that owns some.
//!
//! The first argument says what machine this is: `iommu`, `trust` (no IOMMU, devices are trusted),
//! `none` (no IOMMU, and none is), `reserved` (an IOMMU, and firmware that shares memory with
//! devices) or `hung` (an IOMMU that stops answering). The rest is as for the other test programs.
//! The machine has an NVMe disk, which can be reset and so can be owned again and again, and a
//! number of edus, which cannot: each serves one test.
#![no_std]
#![no_main]

extern crate alloc;

mod gun;
mod machine;
mod tests;
mod victims;

use driver_sdk::prelude::*;
use guest_harness::harness;

driver_sdk::main!(main);

fn main() -> i32 {
    let mut words = arguments();
    match (words.next(), words.next()) {
        (Some("victim"), Some(kind)) => victims::play(kind, words.next().unwrap_or("")),
        (Some(mode), _) => {
            let filter = arguments().skip(1).find(|&word| word != "soak");
            harness::run(&tests::of(mode), filter)
        }
        (None, _) => {
            println!("the first argument says what machine this is");
            1
        }
    }
}

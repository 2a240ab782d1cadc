//! The kernel's algorithms without hardware: no registers, no unsafe code, tested on the host.
//!
//! All of these structures are used under the one kernel lock, so none of them is atomic; the
//! exception is [`shootdown`], by which cores talk to each other without it. Threads go by their
//! *slot*, a number below [`MAX_THREADS`](spillway_abi::limits::MAX_THREADS): lists, deadlines and
//! waits are arrays indexed by slot, allocated once at boot, so that no wait can ever fail for
//! want of memory.
//!
//! What grows with what a program asks for ([`handles`], [`regions`]) has a limit, and grows by
//! fallible allocation: [`Error::OutOfMemory`], never a panic.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod aml;
pub mod deadlines;
pub mod frames;
pub mod handles;
pub mod holders;
pub mod iommu;
pub mod list;
pub mod log_text;
pub mod options;
pub mod pci;
pub mod places;
pub mod queue;
pub mod regions;
pub mod shootdown;
pub mod slice;
pub mod slots;
pub mod waits;

use alloc::vec::Vec;
use spillway_abi::Error;

/// A vector of `count` equal elements, or [`Error::OutOfMemory`].
fn filled<T: Clone>(count: usize, value: T) -> Result<Vec<T>, Error> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(count)
        .map_err(|_| Error::OutOfMemory)?;
    vec.resize(count, value);
    Ok(vec)
}

/// Reproducible random numbers for the long tests: SplitMix64, each seed another sequence.
#[cfg(test)]
struct Random(u64);

#[cfg(test)]
impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

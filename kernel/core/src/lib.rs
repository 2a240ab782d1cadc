//! The kernel's algorithms without hardware: no registers, no unsafe code, tested on the host.
//!
//! All of these structures are used under the one kernel lock, so none of them is atomic; the
//! exception is [`shootdown`], by which cores talk to each other without it. Threads go by their
//! *slot*, a number below [`MAX_THREADS`](spillway_abi::limits::MAX_THREADS): lists, deadlines and
//! waits are arrays indexed by slot, allocated once at boot, so that no wait can ever fail for
//! want of memory.
//!
//! What grows with what a program asks for ([`handles`], [`regions`]) has a limit, and grows by
//! fallible allocation: [`Error::OutOfMemory`](spillway_abi::Error::OutOfMemory), never a panic.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod deadlines;
pub mod frames;
pub mod handles;
pub mod options;
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

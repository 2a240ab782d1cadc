//! A ring for one producer and one consumer that share memory, and no trust.
//!
//! The same ring connects two processes (level 3) and a process with the kernel (level 2). Nobody
//! is entered to move an entry; a wake-up is needed only by a side that went to sleep.
//!
//! ```text
//!            RingHeader, 256 bytes                         entries, a power of two
//!      0  ┌──────────────────────────────────┐      ┌─────────┬─────────┬─────┬─────────┐
//!         │ version, features, entries,      │      │ entry 0 │ entry 1 │  …  │ entry n │
//!         │ entry size         set up once   │      └─────────┴─────────┴─────┴─────────┘
//!     64  ├──────────────────────────────────┤           ▲                  ▲
//!         │ tail, producer sleeps            │───────────┼──────────────────┘
//!    128  ├──────────────────────────────────┤           │   tail & (entries - 1): the next
//!         │ head, consumer sleeps            │───────────┘   to be written; head: to be read
//!    192  ├──────────────────────────────────┤
//!         │ reserved                         │
//!    256  └──────────────────────────────────┘
//! ```
//!
//! # What it promises
//!
//! - **Nothing that the other side writes causes undefined behaviour, a panic, or an access outside
//!   of the ring.** The size is a private copy, so are both indices; entries are copied out as
//!   atomic words before anybody looks at them, and every bit pattern is a valid [`Entry`]. An
//!   index that the other side cannot have reached is [`Corrupt`]: that half of the ring is then
//!   dead for good, and the connection has to end. *What an entry says* is still a claim: check the
//!   copy.
//! - **A batch costs one store.** [`Producer::push`] and [`Consumer::pop`] touch the other side's
//!   cache line only when the ring looks full or empty. [`Producer::publish`] and
//!   [`Consumer::release`] tell the other side, once per batch.
//! - **Who polls pays nothing for those who sleep.** The fence and the look at the other side's
//!   flag are in [`Producer::must_wake`] and [`Consumer::must_wake`], which only a connection with
//!   sleepers calls. No wake-up is lost, and no sleep gets two: see [`wake`].
//!
//! It has no allocation, no panic and no system call. Sleeping and waking is the caller's.
#![no_std]

#[cfg(test)]
extern crate std;

mod consumer;
mod copy;
mod entry;
mod error;
mod header;
mod in_place;
mod producer;
mod run;
mod shared;
pub mod wake;

#[cfg(test)]
mod tests;

pub use consumer::{Consumer, Ready};
pub use entry::{Entry, Words};
pub use error::{Corrupt, PushError, Refused};
pub use header::{FEATURES, Info, MAX_ENTRIES, RingHeader, Side, VERSION};
pub use in_place::{InPlace, pass};
pub use producer::Producer;
pub use shared::split;

/// A word of an entry, as both sides share it.
#[cfg(loom)]
pub type Word = loom::sync::atomic::AtomicU64;
/// A word of an entry, as both sides share it.
#[cfg(not(loom))]
pub type Word = core::sync::atomic::AtomicU64;

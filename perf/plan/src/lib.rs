//! Plans: what is measured, and under which conditions.
//!
//! People write a plan in TOML ([`source`], on the host), with a list of values for each axis. The
//! host makes a list of cases of it, sorts them into boots, and puts the cases of a boot into its
//! image ([`Cases::encode`]), where the program that measures reads them ([`Cases::decode`]). What
//! it reports names cases by their numbers; only the host has words for them.
//!
//! `docs/bench.md` describes every key.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "toml"))]
extern crate std;

mod axes;
#[cfg(feature = "toml")]
mod axis;
#[cfg(feature = "toml")]
mod boots;
mod compact;
mod rules;
#[cfg(feature = "toml")]
pub mod source;

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

pub use axes::{Backend, Buffers, Device, Level, Pattern, Topology, Wait};
#[cfg(feature = "toml")]
pub use boots::{Boot, Plan, Workload};
pub use compact::{DecodeError, MAGIC, VERSION};
pub use rules::Invalid;
pub use spillway_wire::Method;

/// Cases of a plan.
pub const MAX_CASES: usize = 4096;
/// Requests in flight, of all threads together.
pub const MAX_QUEUE_DEPTH: u32 = 1024;
/// Threads of a case.
pub const MAX_THREADS: u32 = 128;
/// Bytes of a request.
pub const MAX_BLOCK_SIZE: u32 = 1 << 20;
/// Operations of a measured region.
pub const MAX_OPERATIONS: u32 = 100_000_000;
/// Measured regions of a case in one boot.
pub const MAX_SAMPLES: u32 = 1000;

/// One thing that is measured: a workload under one set of conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Its number in the plan; results refer to it.
    pub id: u32,
    /// Whether instructions are counted or time is taken.
    pub method: Method,
    /// The way to the driver.
    pub level: Level,
    /// What is driven.
    pub device: Device,
    /// What the emulator has behind the device.
    pub backend: Backend,
    /// Requests in flight, of all threads together.
    pub queue_depth: u32,
    /// Threads of the application, each with a queue of its own for its part of the depth.
    pub threads: u32,
    /// Bytes of a request.
    pub block_size: u32,
    /// Reads in a hundred requests; the others are writes.
    pub read_percent: u32,
    /// Where requests go.
    pub pattern: Pattern,
    /// How completions are waited for, by the application and by the driver process.
    pub wait: Wait,
    /// Whether the driver process has a core of its own.
    pub topology: Topology,
    /// Whether the device is behind an IOMMU.
    pub iommu: bool,
    /// Whether data is copied between application and driver.
    pub buffers: Buffers,
    /// Requests that are submitted, and completions that are taken, at once at most, by a thread.
    pub batch: u32,
    /// Operations a second that are begun whether or not earlier ones have ended; of all threads
    /// together. `None` begins one when one has ended.
    pub rate: Option<u32>,
    /// Operations of a measured region.
    pub operations: u32,
    /// Operations before the first one.
    pub warm_up: u32,
    /// Measured regions.
    pub samples: u32,
    /// Whether every read is checked against the pattern.
    pub verify: bool,
}

/// The cases of one boot, in the order in which they are measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cases {
    /// What every random choice follows from: the same offsets at every level.
    pub seed: u64,
    /// The cases.
    pub cases: Vec<Case>,
}

impl Cases {
    /// The seed of the pattern on a disk with a medium before the first write.
    pub const fn seed_before(&self) -> u64 {
        self.seed
    }

    /// The seed of the pattern that writes write, at the place where it belongs.
    pub const fn seed_written(&self) -> u64 {
        self.seed ^ 0x5757_5757_5757_5757
    }
}

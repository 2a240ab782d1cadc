//! Which combinations are possible. A sentence for each that is not says what would be right.

use alloc::{format, string::String};
use core::fmt;

use crate::{
    Backend, Buffers, Case, Cases, Device, Level, MAX_BLOCK_SIZE, MAX_CASES, MAX_OPERATIONS,
    MAX_QUEUE_DEPTH, MAX_SAMPLES, MAX_THREADS, Method, Topology,
};

/// What is wrong with a plan, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Invalid {}

macro_rules! ensure {
    ($condition:expr, $($sentence:tt)*) => {
        if !$condition {
            return Err(Invalid(format!($($sentence)*)));
        }
    };
}

impl Cases {
    /// Whether all of it is possible.
    pub fn check(&self) -> Result<(), Invalid> {
        let count = self.cases.len();
        ensure!(
            (1..=MAX_CASES).contains(&count),
            "the plan has {count} cases; write 1 to {MAX_CASES}"
        );
        self.cases.iter().try_for_each(Case::check)
    }
}

impl Case {
    /// Whether this is possible.
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_ranges()?;
        self.check_level()?;
        self.check_device()?;
        self.check_method()?;
        ensure!(
            !self.verify || self.backend == Backend::File,
            "a null back end has no data to verify; write `backend = \"file\"` beside `verify`"
        );
        Ok(())
    }

    fn check_ranges(&self) -> Result<(), Invalid> {
        let within = |key: &str, value: u32, least: u32, most: u32| {
            ensure!(
                (least..=most).contains(&value),
                "`{key}` is {value}; write {least} to {most}"
            );
            Ok(())
        };
        within("queue_depth", self.queue_depth, 1, MAX_QUEUE_DEPTH)?;
        within("threads", self.threads, 1, MAX_THREADS)?;
        within("block_size", self.block_size, 512, MAX_BLOCK_SIZE)?;
        within("reads", self.read_percent, 0, 100)?;
        within("batch", self.batch, 1, MAX_QUEUE_DEPTH)?;
        within("operations", self.operations, 1, MAX_OPERATIONS)?;
        within("warm_up", self.warm_up, 0, MAX_OPERATIONS)?;
        within("samples", self.samples, 1, MAX_SAMPLES)?;
        within("rate", self.rate.unwrap_or(1), 1, MAX_OPERATIONS)?;
        ensure!(
            self.block_size.is_multiple_of(512),
            "`block_size` is {}; a disk has blocks of 512 bytes, so write a multiple of them",
            self.block_size
        );
        Ok(())
    }

    fn check_level(&self) -> Result<(), Invalid> {
        let (depth, threads) = (self.queue_depth, self.threads);
        match self.level {
            Level::Sync => ensure!(
                threads == depth,
                "level sync has one request in flight for each thread, so a queue depth of {depth} \
                 takes {depth} threads, not {threads}; leave `threads` out of this sweep"
            ),
            _ => ensure!(
                depth.is_multiple_of(threads),
                "{threads} threads cannot share a queue depth of {depth} evenly; write a depth that \
                 is a multiple of the threads"
            ),
        }
        ensure!(
            self.buffers == Buffers::Registered || self.level == Level::Sync,
            "level {} copies no data; write `buffers = \"registered\"`, or a [[sweep]] of its own for \
             level sync",
            self.level.name()
        );
        if self.level == Level::Integrated {
            ensure!(
                self.topology == Topology::SameCore,
                "level integrated has one process, which cannot be on two cores; write \
                 `topology = \"same-core\"`, or a [[sweep]] of its own for the other levels"
            );
        }
        Ok(())
    }

    /// A disk that is memory of the driver process has no medium, and nobody else can drive it.
    fn check_device(&self) -> Result<(), Invalid> {
        if self.device == Device::RamDisk {
            ensure!(
                self.level != Level::Integrated,
                "a ramdisk belongs to the driver process, which level integrated has not; write \
                 `device = \"nvme\"`, or a [[sweep]] of its own for the other levels"
            );
            ensure!(
                self.backend == Backend::Null,
                "a ramdisk has no medium; write `backend = \"null\"`, or `device = \"nvme\"`"
            );
        }
        Ok(())
    }

    fn check_method(&self) -> Result<(), Invalid> {
        match self.method {
            Method::Timed => {}
            Method::Counted => {
                ensure!(
                    self.topology == Topology::SameCore,
                    "a counted run has one core; write `topology = \"same-core\"`, or \
                     `method = \"timed\"`"
                );
                ensure!(
                    self.backend == Backend::Null,
                    "instructions are counted without a medium; write `backend = \"null\"`, or \
                     `method = \"timed\"`"
                );
                ensure!(
                    self.rate.is_none(),
                    "a rate is kept by a clock, which a counted run has not; write \
                     `method = \"timed\"`"
                );
            }
            Method::Modelled => {
                return Err(Invalid(
                    "nothing can be run as modelled; write `method = \"counted\"` or `\"timed\"`"
                        .into(),
                ));
            }
        }
        Ok(())
    }
}

//! The pages that every program can read: time without a system call, and a line per core.

use core::sync::atomic::{AtomicU32, AtomicU64};

use crate::limits::MAX_CORES;

/// The scale of the time-stamp counter. Read-only at [`crate::layout::TIME_PAGE`]; written once,
/// before the first program starts.
#[derive(Debug, Default)]
#[repr(C)]
pub struct TimePage {
    /// [`crate::ABI_VERSION`].
    pub version: AtomicU32,
    /// Cores that are running.
    pub cores: AtomicU32,
    /// Ticks per second.
    pub tsc_frequency: AtomicU64,
    /// The counter when the clock was 0.
    pub tsc_base: AtomicU64,
    /// Nanoseconds per tick, as a fraction of 2³².
    pub nanoseconds_per_tick: AtomicU64,
}

const _: () = assert!(size_of::<TimePage>() == 32);

/// One core's line in the page behind the [`TimePage`], indexed by the core's number, which
/// `rdtscp` returns in `ecx`.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct CoreLine {
    /// Threads that are ready to run on this core besides the running one. A server that polls
    /// should let go of the core when this is not 0.
    pub runnable: AtomicU32,
}

const _: () = assert!(size_of::<CoreLine>() * MAX_CORES == 4096);

/// The fraction of [`TimePage::nanoseconds_per_tick`] for a frequency in ticks per second.
pub const fn scale(tsc_frequency: u64) -> u64 {
    if tsc_frequency == 0 {
        return 0;
    }
    ((1_000_000_000u128 << 32) / tsc_frequency as u128) as u64
}

/// Nanoseconds for a number of ticks, rounded down.
pub const fn to_nanoseconds(ticks: u64, scale: u64) -> u64 {
    ((ticks as u128 * scale as u128) >> 32) as u64
}

/// Ticks for a number of nanoseconds, rounded up, so that a wait never ends early.
/// Saturates at the end of time.
pub const fn to_ticks(nanoseconds: u64, scale: u64) -> u64 {
    if scale == 0 {
        return u64::MAX;
    }
    let ticks = ((nanoseconds as u128) << 32).div_ceil(scale as u128);
    if ticks > u64::MAX as u128 {
        u64::MAX
    } else {
        ticks as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_wait_never_ends_early(hz in 10_000_000u64..10_000_000_000, ns in 0u64..1 << 59) {
            let scale = scale(hz);
            prop_assert!(to_nanoseconds(to_ticks(ns, scale), scale) >= ns);
        }

        #[test]
        fn a_second_is_a_second(hz in 10_000_000u64..10_000_000_000) {
            let ns = to_nanoseconds(hz, scale(hz));
            prop_assert!(ns <= 1_000_000_000 && 1_000_000_000 - ns <= 3);
        }
    }

    #[test]
    fn the_end_of_time_saturates() {
        assert_eq!(to_ticks(u64::MAX, scale(10_000_000_000)), u64::MAX);
        assert_eq!(to_ticks(5, 0), u64::MAX);
    }
}

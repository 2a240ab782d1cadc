//! A measured region: two markers, and between them two looks at the time-stamp counter.

use alloc::vec::Vec;
use core::arch::asm;

/// Samples of one subject.
pub const SAMPLES: usize = 20;

/// Marks the beginning of a region and returns the counter.
#[inline(always)]
pub fn begin() -> u64 {
    begin_region(0)
}

/// The same for a region with a number, not 0, which an emulator finds in `rax` and by which it can say
/// where the instructions went (`perf/places`).
#[inline(always)]
pub fn begin_region(number: u64) -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: the marker exchanges a register with itself; `lfence` and `rdtsc` are unprivileged.
    unsafe {
        asm!(
            "xchg bx, bx", "lfence", "rdtsc",
            inlateout("rax") number => low, lateout("rdx") high, options(nostack)
        );
    }
    high << 32 | low
}

/// Returns the counter and marks the end of a region.
#[inline(always)]
pub fn end() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: as in `begin`.
    unsafe {
        asm!("lfence", "rdtsc", "xchg bx, bx", out("eax") low, out("edx") high, options(nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Ticks of a region with nothing in it: the least of many, because an interruption only adds.
pub fn overhead() -> u64 {
    (0..1000)
        .map(|_| {
            let start = begin();
            end() - start
        })
        .min()
        .unwrap_or(0)
}

/// Samples of something done `times` times by one call of `work`; each is the mean of one region.
/// The first call, which is not measured, warms up.
pub fn samples(times: u32, mut work: impl FnMut()) -> Vec<f64> {
    let overhead = overhead();
    work();
    (0..SAMPLES)
        .map(|_| {
            let start = begin();
            work();
            let ticks = end() - start;
            ticks.saturating_sub(overhead) as f64 / f64::from(times)
        })
        .collect()
}

/// Samples of something that measures itself; each is the mean of `times`.
pub fn means<E>(times: u32, mut once: impl FnMut() -> Result<u64, E>) -> Result<Vec<f64>, E> {
    once()?;
    let mut samples = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let mut sum = 0;
        for _ in 0..times {
            sum += once()?;
        }
        samples.push(sum as f64 / f64::from(times));
    }
    Ok(samples)
}

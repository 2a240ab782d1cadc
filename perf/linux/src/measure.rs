//! A measured region: two markers, and between them two looks at the time-stamp counter. The same
//! as in `perf/guest/harness`, for the other kernel.

use std::arch::asm;

/// Marks the beginning of a region and returns the counter.
#[inline(always)]
pub fn begin() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the marker exchanges a register with itself; `lfence` and `rdtsc` are unprivileged.
    unsafe {
        asm!("xchg bx, bx", "lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack));
    }
    u64::from(high) << 32 | u64::from(low)
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

/// The counter, at no more cost than that.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: reads a counter, which is unprivileged.
    unsafe { std::arch::x86_64::_rdtsc() }
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

/// Turns of the loop by which [`ticks_of_a_turn`] finds out what a tick is.
const TURNS: u64 = 10_000;

/// Ticks of a turn of a loop of two instructions: 2 if a tick is an instruction. The least of
/// many, as for [`overhead`].
pub fn ticks_of_a_turn() -> f64 {
    let overhead = overhead();
    let run = || {
        let start = begin();
        // SAFETY: counts a register down.
        unsafe {
            asm!("2: dec {0}", "jnz 2b", inout(reg) TURNS => _, options(nostack));
        }
        end() - start - overhead
    };
    let least = (0..20).map(|_| run()).min().unwrap_or(0);
    least as f64 / TURNS as f64
}

/// Lets the device work.
#[inline(never)]
pub fn rest(turns: u64) {
    (0..turns).for_each(|_| std::hint::spin_loop());
}

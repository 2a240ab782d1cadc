//! Time without a system call: the time-stamp counter and the kernel's read-only time page.

use core::{
    arch::asm,
    ops::{Add, Sub},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use spillway_abi::{
    Error,
    call::NO_DEADLINE,
    layout::TIME_PAGE,
    limits::MAX_CORES,
    time::{CoreLine, TimePage, to_nanoseconds},
};

use crate::{startup::environment, syscall};

fn page() -> &'static TimePage {
    // SAFETY: the kernel maps the page into every process, readable, for good. Its fields are
    // atomic and not written after the start.
    unsafe { &*(TIME_PAGE as *const TimePage) }
}

/// A moment on the monotonic clock, the same for all cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// This moment.
    pub fn now() -> Self {
        let page = page();
        let ticks = tsc().saturating_sub(page.tsc_base.load(Ordering::Relaxed));
        Self(to_nanoseconds(
            ticks,
            page.nanoseconds_per_tick.load(Ordering::Relaxed),
        ))
    }

    /// The moment so many nanoseconds after the clock began.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the clock began.
    pub const fn as_nanoseconds(self) -> u64 {
        self.0
    }

    /// How long ago this was.
    pub fn elapsed(self) -> Duration {
        Self::now() - self
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time.
    fn add(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Nothing, if the other is later.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// When to give up waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(u64);

impl Deadline {
    /// Waits for as long as it takes.
    pub const NEVER: Self = Self(NO_DEADLINE);
    /// Does not wait.
    pub const NOW: Self = Self(0);

    /// This long from now.
    pub fn after(duration: Duration) -> Self {
        Self::at(Instant::now() + duration)
    }

    /// At this moment.
    pub const fn at(moment: Instant) -> Self {
        Self(moment.0)
    }

    /// The number that system calls take.
    pub const fn raw(self) -> u64 {
        self.0
    }
}

/// Sleeps for at least this long.
pub fn sleep(duration: Duration) {
    sleep_until(Instant::now() + duration);
}

/// Sleeps until this moment or a little later.
pub fn sleep_until(moment: Instant) {
    // Nobody knows the word, so nobody wakes it.
    let word = AtomicU32::new(0);
    loop {
        let waited = syscall::futex_wait_regardless(word.as_ptr(), 0, moment.0);
        if waited == Err(Error::TimedOut) || Instant::now() >= moment {
            return;
        }
    }
}

/// Sleeps until this moment, or until the thread is asked to stop.
///
/// # Errors
///
/// [`Error::Interrupted`].
pub fn sleep_or_stop(moment: Instant) -> Result<(), Error> {
    let word = AtomicU32::new(0);
    loop {
        match syscall::futex_wait(word.as_ptr(), 0, moment.0) {
            Err(Error::TimedOut) => return Ok(()),
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            _ => {}
        }
    }
}

/// The time-stamp counter, not before earlier instructions are done.
#[inline]
pub fn tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: both instructions are unprivileged and touch nothing but these registers.
    unsafe {
        asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, nomem, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Ticks of the time-stamp counter per second.
pub fn tsc_frequency() -> u64 {
    page().tsc_frequency.load(Ordering::Relaxed)
}

/// The time-stamp counter at the program's first instruction.
pub fn entry_tsc() -> u64 {
    environment().map_or(0, |environment| environment.entry_tsc)
}

/// Cores that are running.
pub fn core_count() -> usize {
    page().cores.load(Ordering::Relaxed) as usize
}

/// The number of the core on which this ran. Without affinity it may be another one by now.
pub fn core_index() -> usize {
    let core: u32;
    // SAFETY: the instruction is unprivileged; the kernel keeps the core's number in TSC_AUX.
    unsafe {
        asm!("rdtscp", out("eax") _, out("edx") _, out("ecx") core, options(nostack, nomem, preserves_flags));
    }
    core as usize
}

/// Whether another thread is ready to run on this core: who polls should let it.
#[inline]
pub fn is_core_wanted() -> bool {
    runnable(core_index()) != 0
}

/// How many threads are ready to run on a core besides the running one; 0 for a core that does
/// not exist. A loop that polls lets go of the core when this is not 0.
pub fn runnable(core: usize) -> u32 {
    if core >= MAX_CORES {
        return 0;
    }
    let lines = (TIME_PAGE + spillway_abi::PAGE_SIZE) as *const CoreLine;
    // SAFETY: the kernel maps a page with a line for each of `MAX_CORES` cores, readable, for
    // good; the field is atomic.
    unsafe { (*lines.add(core)).runnable.load(Ordering::Relaxed) }
}

//! The pages that every program can read: the scale of the clock, and a line per core.

use core::sync::atomic::Ordering;

use spillway_abi::{
    ABI_VERSION, PAGE_SIZE,
    limits::MAX_CORES,
    time::{CoreLine, TimePage},
};
use spin::Once;

use crate::{
    memory::{frames, paging, phys_to_virt},
    platform::clock,
};

static LINES: Once<&'static [CoreLine; MAX_CORES]> = Once::new();

/// Makes the pages and lets every address space from here on have them. Once, at boot, after the
/// calibration.
///
/// # Panics
///
/// If there is no memory for them.
pub fn init(cores: usize) {
    let extent = frames::allocate_for_kernel(2, 1).expect("no memory for the time page");
    frames::zero(extent);
    let start = phys_to_virt(extent.start * PAGE_SIZE);
    // SAFETY: two zeroed frames of the kernel's own that are never given back; both types are
    // atomics only, for which zeros are a value, and fit.
    let (page, lines) = unsafe {
        let lines = start
            .add(PAGE_SIZE as usize)
            .cast::<[CoreLine; MAX_CORES]>();
        (&*start.cast::<TimePage>(), &*lines)
    };
    page.cores.store(cores as u32, Ordering::Relaxed);
    page.tsc_frequency
        .store(clock::frequency(), Ordering::Relaxed);
    page.tsc_base.store(clock::base(), Ordering::Relaxed);
    let scale = spillway_abi::time::scale(clock::frequency());
    page.nanoseconds_per_tick.store(scale, Ordering::Relaxed);
    page.version.store(ABI_VERSION, Ordering::Release);
    LINES.call_once(|| lines);
    paging::share_time_pages(extent).expect("no memory for the time page's tables");
}

/// Says how many threads are ready on a core besides the running one.
#[inline]
pub fn set_runnable(index: usize, threads: u32) {
    if let Some(lines) = LINES.get() {
        lines[index].runnable.store(threads, Ordering::Relaxed);
    }
}

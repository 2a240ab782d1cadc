//! Counting faults, and telling of them at a limited rate.
//!
//! A device that tries again and again would interrupt and be told of without end. So at most
//! [`MOST`] faults are told in a second; then the units are not let interrupt until the second is
//! over, which the timer of the core sees to. It also tells of a unit that hangs, as whoever finds
//! that has locks with which nobody waits for a slow port.

use core::sync::atomic::{AtomicU64, Ordering};

use spillway_abi::counters::Counter;
use spillway_kernel_core::iommu::{fault::Fault, limiter::Limiter};

use super::vtd;
use crate::{
    arch, kernel, pci,
    platform::{
        apic,
        clock::{now_tsc, ticks},
    },
    sync::Spin,
};

/// Faults that are told in a second.
const MOST: u32 = 10;
const SECOND: u64 = 1_000_000_000;

static LIMITER: Spin<Option<Limiter>> = Spin::new(None);

/// The TSC when something is due: the units are let interrupt again, or one that hangs is told of.
/// The maximum if nothing is.
static DUE: AtomicU64 = AtomicU64::new(u64::MAX);

/// The interrupt of a unit that blocked something: tells of it, with the function's owner. Takes
/// the kernel lock for that, and no longer than to look: a line takes long on a slow port.
pub fn on_fault_interrupt() {
    let now = now_tsc();
    let mut guard = LIMITER.lock();
    let limiter = guard.get_or_insert_with(|| Limiter::new(MOST, ticks(SECOND)));
    let has_lost = take_faults(|fault| {
        if limiter.admit(now) {
            let owner = pci::owner(&kernel::lock(), fault.function);
            match owner {
                Some(process) => log::warn!("blocked by the IOMMU: {fault}; process {process}"),
                None => log::warn!("blocked by the IOMMU: {fault}; nobody's"),
            }
        }
    });
    if has_lost {
        limiter.lose();
    }
    if let Some(end) = limiter.closed_until(now) {
        vtd::units().iter().for_each(vtd::Unit::quiet_faults);
        DUE.fetch_min(end, Ordering::Relaxed);
        wake_at(end);
    }
}

/// Has the timer of this core tell of units that hang, at once.
pub fn soon() {
    let now = now_tsc();
    DUE.store(now, Ordering::Relaxed);
    wake_at(now);
}

/// Takes what the hardware recorded, counts it and calls back for each. Returns whether some were
/// lost because it had no room, which counts as one.
fn take_faults(mut report: impl FnMut(Fault)) -> bool {
    let mut count = 0;
    let has_lost = vtd::take_faults(|fault| {
        count += 1;
        report(fault);
    });
    count += u64::from(has_lost);
    arch::core().count_here(Counter::BlockedRequests, count);
    has_lost
}

/// The timer of a core fired. One load while nothing is to be done.
#[inline]
pub fn on_timer() {
    let due = DUE.load(Ordering::Relaxed);
    if due != u64::MAX {
        do_what_is_due(due);
    }
}

#[cold]
fn do_what_is_due(due: u64) {
    if now_tsc() < due {
        return wake_at(due);
    }
    let mut guard = LIMITER.lock();
    if DUE.swap(u64::MAX, Ordering::Relaxed) == u64::MAX {
        return;
    }
    let mut suppressed = 0;
    if let Some(limiter) = guard.as_mut() {
        // What is recorded now came too often already.
        let has_lost = take_faults(|_| limiter.lose());
        if has_lost {
            limiter.lose();
        }
        suppressed = limiter.take_suppressed();
    }
    if suppressed > 0 {
        log::warn!("blocked by the IOMMU in the last second: {suppressed} or more besides");
    }
    for unit in vtd::units() {
        if let Some(hang) = unit.take_hang() {
            log::error!(
                "the IOMMU at {:#x} does not forget what it is told to ({}, fault status {:#x}): \
                 none of its functions can be granted or cut off any more",
                unit.physical().start,
                if hang.is_error {
                    "an error"
                } else {
                    "no answer"
                },
                hang.status,
            );
        }
        unit.unquiet_faults();
    }
}

/// Has this core's timer fire at a moment, or before.
fn wake_at(tsc: u64) {
    let core = arch::core();
    if tsc < core.timer_at.get() {
        core.timer_at.set(tsc);
        apic::set_timer(tsc);
    }
}

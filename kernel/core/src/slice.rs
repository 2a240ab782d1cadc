//! When a core must look at its threads again.
//!
//! The kernel is tickless. A thread is interrupted by the clock only for a deadline, or because
//! another thread of its own priority waits for the core. A thread that is alone at its priority
//! is never ticked: a lower one does not run before it stops, and a higher one takes the core the
//! moment it becomes ready.

/// What becomes of the running thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes on.
    Continue,
    /// A higher one takes the core; it goes before the others of its priority and keeps the rest
    /// of its slice.
    Preempt,
    /// Its slice is over; it goes behind the others of its priority.
    Rotate,
}

/// What becomes of a thread that runs with priority `running` until `slice_end`, while the highest
/// ready one has priority `highest`.
#[inline]
pub const fn decide(running: u8, highest: Option<u8>, slice_end: u64, now: u64) -> Decision {
    match highest {
        Some(highest) if highest > running => Decision::Preempt,
        Some(highest) if highest == running && now >= slice_end => Decision::Rotate,
        _ => Decision::Continue,
    }
}

/// When the clock must interrupt next: at the earliest deadline, and at the end of the slice if
/// another thread of the running one's priority is ready. `None` is never.
#[inline]
pub const fn next_tick(
    has_equal_ready: bool,
    slice_end: u64,
    next_deadline: Option<u64>,
) -> Option<u64> {
    match next_deadline {
        Some(deadline) if !has_equal_ready || deadline < slice_end => Some(deadline),
        _ if has_equal_ready => Some(slice_end),
        _ => None,
    }
}

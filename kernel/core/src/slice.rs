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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_tick_comes_for_a_reason_only(equal: bool, end: u64, deadline: Option<u64>) {
            let reasons = [equal.then_some(end), deadline];
            prop_assert_eq!(next_tick(equal, end, deadline), reasons.into_iter().flatten().min());
        }

        #[test]
        fn no_thread_runs_past_its_slice_or_before_a_higher_one(
            running in 0..32u8,
            highest in prop::option::of(0..32u8),
            end: u64,
            now: u64,
        ) {
            let expected = match highest {
                Some(highest) if highest > running => Decision::Preempt,
                Some(highest) if highest == running && end <= now => Decision::Rotate,
                _ => Decision::Continue,
            };
            prop_assert_eq!(decide(running, highest, end, now), expected);
            // Whoever goes on has a tick in the future, if one of its priority waits.
            let equal = highest == Some(running);
            if equal && expected == Decision::Continue {
                prop_assert!(next_tick(equal, end, None).is_some_and(|tick| tick > now));
            }
        }
    }

    #[test]
    fn a_slice_ends_at_its_end() {
        assert_eq!(decide(16, Some(16), 100, 99), Decision::Continue);
        assert_eq!(decide(16, Some(16), 100, 100), Decision::Rotate);
    }

    #[test]
    fn a_lone_thread_is_never_ticked() {
        assert_eq!(next_tick(false, 100, None), None);
        assert_eq!(next_tick(false, 100, Some(500)), Some(500));
        assert_eq!(next_tick(true, 100, Some(500)), Some(100));
        assert_eq!(next_tick(true, 100, Some(50)), Some(50));
    }
}

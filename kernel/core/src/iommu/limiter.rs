//! At most so many reports in so much time, and how many were kept back.

/// Counts reports in windows of fixed length. A window begins with its first report.
#[derive(Clone, Copy, Debug)]
pub struct Limiter {
    most: u32,
    length: u64,
    end: u64,
    admitted: u32,
    suppressed: u64,
}

impl Limiter {
    /// At most `most` reports in any window of `length` (in the unit of the times given later).
    pub const fn new(most: u32, length: u64) -> Self {
        Self {
            most,
            length,
            end: 0,
            admitted: 0,
            suppressed: 0,
        }
    }

    /// Whether a report at the time `now` is to be made.
    pub fn admit(&mut self, now: u64) -> bool {
        if now >= self.end {
            self.end = now.saturating_add(self.length);
            self.admitted = 0;
        }
        let admitted = self.admitted < self.most;
        if admitted {
            self.admitted += 1;
        } else {
            self.suppressed = self.suppressed.saturating_add(1);
        }
        admitted
    }

    /// Counts a report that was lost elsewhere.
    pub fn lose(&mut self) {
        self.suppressed = self.suppressed.saturating_add(1);
    }

    /// The reports that were kept back since the last call.
    pub fn take_suppressed(&mut self) -> u64 {
        core::mem::take(&mut self.suppressed)
    }

    /// The end of the window, if no further report is admitted before it.
    pub fn closed_until(&self, now: u64) -> Option<u64> {
        (self.admitted >= self.most && now < self.end).then_some(self.end)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn the_first_after_a_window_opens_the_next() {
        let mut limiter = Limiter::new(2, 100);
        assert!(limiter.admit(5) && limiter.admit(50));
        assert_eq!(limiter.closed_until(50), Some(105));
        assert!(!limiter.admit(104));
        assert_eq!(limiter.closed_until(105), None);
        assert!(limiter.admit(105));
        assert_eq!(limiter.take_suppressed(), 1);
        assert_eq!(limiter.take_suppressed(), 0);
    }

    proptest! {
        #[test]
        fn no_window_has_too_many_and_none_is_forgotten(
            most in 1..5u32,
            length in 1..50u64,
            gaps in prop::collection::vec(0..30u64, 0..200),
        ) {
            let mut limiter = Limiter::new(most, length);
            let mut now = 0;
            let (mut admitted, mut refused) = (Vec::new(), 0);
            for gap in gaps {
                now += gap;
                let closed = limiter.closed_until(now);
                if limiter.admit(now) {
                    prop_assert_eq!(closed, None);
                    admitted.push(now);
                } else {
                    prop_assert!(closed.is_some_and(|end| end > now && end <= now + length));
                    refused += 1;
                }
            }
            // Windows follow each other, so any stretch of one length touches two at most.
            for (index, start) in admitted.iter().enumerate() {
                let near = admitted[index..].iter().filter(|&&time| time < start + length);
                prop_assert!(near.count() <= 2 * most as usize);
            }
            prop_assert_eq!(limiter.take_suppressed(), refused);
        }
    }
}

//! How often a driver may die.

use alloc::collections::VecDeque;
use core::time::Duration;

/// The time in which deaths are counted.
pub const WINDOW: Duration = Duration::from_secs(60);
/// The pause before the first restart; it doubles with each death in the window.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The deaths of one driver in the last minute.
#[derive(Debug)]
pub struct Deaths {
    most: usize,
    times: VecDeque<Duration>,
}

impl Deaths {
    /// A driver that may die so often in a minute, and be started again.
    pub const fn new(most: u32) -> Self {
        Self {
            most: most as usize,
            times: VecDeque::new(),
        }
    }

    /// It has died, at a time on any clock that runs forward. How long to wait before it is started
    /// again; `None` if it died too often.
    pub fn another(&mut self, now: Duration) -> Option<Duration> {
        while let Some(&first) = self.times.front()
            && now.saturating_sub(first) >= WINDOW
        {
            self.times.pop_front();
        }
        if self.times.len() == self.most {
            return None;
        }
        let doublings = self.times.len() as u32;
        self.times.push_back(now);
        let pause = FIRST_PAUSE.checked_mul(1 << doublings.min(16));
        Some(pause.map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_started_again_so_often_and_no_more() {
        for most in [0, 1, 5, 100] {
            let mut deaths = Deaths::new(most);
            for death in 0..most {
                assert!(deaths.another(SECOND).is_some(), "death {death} of {most}");
            }
            assert_eq!(deaths.another(SECOND), None);
            assert_eq!(
                deaths.another(SECOND + WINDOW - Duration::from_nanos(1)),
                None
            );
        }
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let mut deaths = Deaths::new(2);
        for minute in 0..100 {
            let now = WINDOW * minute;
            assert_eq!(deaths.another(now), Some(FIRST_PAUSE));
            assert_eq!(deaths.another(now), Some(FIRST_PAUSE * 2));
            assert_eq!(deaths.another(now), None);
        }
    }

    #[test]
    fn the_pause_grows_to_a_second() {
        let mut deaths = Deaths::new(u32::MAX);
        let mut last = Duration::ZERO;
        for _ in 0..100 {
            let pause = deaths.another(SECOND).unwrap();
            assert!(pause >= last && pause <= LONGEST_PAUSE);
            last = pause;
        }
        assert_eq!(last, LONGEST_PAUSE);
    }
}

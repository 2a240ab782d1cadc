//! The few statistics that samples need.

/// What is said of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The middle one, or the mean of the middle two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Between which two values nearly all lie: of ten samples or more, the outermost tenth at each
    /// end is left out, because the more there are, the further the furthest is off.
    pub spread: (f64, f64),
}

impl Summary {
    /// Of samples. Panics if there is none.
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let tenth = count / 10;
        Self {
            median: (sorted[(count - 1) / 2] + sorted[count / 2]) / 2.0,
            min: sorted[0],
            max: sorted[count - 1],
            spread: (sorted[tenth], sorted[count - 1 - tenth]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn median_extremes_and_spread() {
        let found = Summary::of(&[41.0, 40.0, 44.0]);
        assert_eq!((found.median, found.min, found.max), (41.0, 40.0, 44.0));
        assert_eq!(found.spread, (40.0, 44.0));
        assert_eq!(Summary::of(&[1.0, 9.0, 4.0, 2.0]).median, 3.0);
        assert_eq!(Summary::of(&[7.0]).spread, (7.0, 7.0));
    }

    #[test]
    fn the_outermost_tenths_count_from_ten_samples_on() {
        let first = |count: u32| (0..count).map(f64::from).collect::<Vec<_>>();
        assert_eq!(Summary::of(&first(9)).spread, (0.0, 8.0));
        assert_eq!(Summary::of(&first(10)).spread, (1.0, 8.0));
        assert_eq!(Summary::of(&first(20)).spread, (2.0, 17.0));
    }

    proptest! {
        #[test]
        fn they_lie_in_order(samples in prop::collection::vec(0f64..1e12, 1..50)) {
            let Summary { median, min, max, spread: (low, high) } = Summary::of(&samples);
            prop_assert!(min <= low && low <= median && median <= high && high <= max);
        }
    }
}

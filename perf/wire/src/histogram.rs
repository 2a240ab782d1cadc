//! A log-linear histogram: 128 buckets for each power of two, so that no value is off by more than
//! 1 in 128, in constant memory and a handful of instructions a value.
//!
//! Values below 256 have a bucket each. The well-known crate for this, `hdrhistogram`, needs the
//! standard library; the tests use it as the reference.

use alloc::{vec, vec::Vec};

/// The linear part: so many bits of a value behind its highest are kept.
const BITS: u32 = 7;
/// The largest value; a larger one counts as this. In nanoseconds, 18 minutes.
pub const MAX_VALUE: u64 = (1 << 40) - 1;
/// Buckets of a histogram.
pub const BUCKETS: usize = index(MAX_VALUE) + 1;

/// Values by how often they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    sum: u64,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// The bucket of a value that is not above [`MAX_VALUE`].
const fn index(value: u64) -> usize {
    let Some(shift) = (value | 1).ilog2().checked_sub(BITS) else {
        return value as usize;
    };
    ((shift as usize) << BITS) + (value >> shift) as usize
}

/// The least value of a bucket, and the first one behind it.
pub const fn bounds(index: usize) -> (u64, u64) {
    const LINEAR: usize = 2 << BITS;
    if index < LINEAR {
        return (index as u64, index as u64 + 1);
    }
    let shift = (index >> BITS) - 1;
    let leading = (1 << BITS) + (index & ((1 << BITS) - 1));
    ((leading as u64) << shift, (leading as u64 + 1) << shift)
}

impl Histogram {
    /// One without values.
    pub fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            sum: 0,
            min: u64::MAX,
            max: 0,
        }
    }

    /// Forgets every value.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        (self.sum, self.min, self.max) = (0, u64::MAX, 0);
    }

    /// Counts a value.
    #[inline]
    pub fn record(&mut self, value: u64) {
        let value = value.min(MAX_VALUE);
        self.counts[index(value)] += 1;
        self.sum = self.sum.saturating_add(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Adds the values of another one.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many values there are.
    pub fn len(&self) -> u64 {
        self.counts
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sum of the values, the least and the largest; of none, `None`.
    pub fn extremes(&self) -> Option<(u64, u64, u64)> {
        (self.min <= self.max).then_some((self.sum, self.min, self.max))
    }

    /// The buckets that have values, ascending: their position and count.
    pub fn buckets(&self) -> impl Iterator<Item = (usize, u64)> {
        let all = self.counts.iter().copied().enumerate();
        all.filter(|(_, count)| *count > 0)
    }

    /// The value that a part of all, such as 0.99, does not exceed: exact below 256, else at most
    /// 1 in 128 too large. `None` without values, or if the part is not within 0 to 1.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let (_, min, max) = self.extremes()?;
        if !(0.0..=1.0).contains(&part) {
            return None;
        }
        let wanted = part * self.len() as f64;
        let mut seen = 0;
        for (index, count) in self.buckets() {
            seen += count;
            if seen as f64 >= wanted {
                return Some((bounds(index).1 - 1).clamp(min, max));
            }
        }
        Some(max)
    }

    /// A histogram from what another program told of it. `None` if it contradicts itself: buckets
    /// out of range or order, or extremes that do not lie in the outermost of them.
    pub fn from_parts(
        buckets: impl IntoIterator<Item = (usize, u64)>,
        (sum, min, max): (u64, u64, u64),
    ) -> Option<Self> {
        let mut histogram = Self::new();
        let (mut next, mut total) = (0, 0_u64);
        for (index, count) in buckets {
            if index < next || index >= BUCKETS || count == 0 {
                return None;
            }
            histogram.counts[index] = count;
            total = total.checked_add(count)?;
            next = index + 1;
        }
        let mut occupied = histogram.buckets().map(|(index, _)| index);
        let first = occupied.next()?;
        let last = occupied.last().unwrap_or(first);
        let lies_in =
            |value: u64, index: usize| (bounds(index).0..bounds(index).1).contains(&value);
        if !lies_in(min, first) || !lies_in(max, last) || min > max {
            return None;
        }
        let possible = min.saturating_mul(total)..=max.saturating_mul(total);
        if !possible.contains(&sum) {
            return None;
        }
        (histogram.sum, histogram.min, histogram.max) = (sum, min, max);
        Some(histogram)
    }
}

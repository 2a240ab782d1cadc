//! The histogram against a list of its values, and against the well-known crate.

use hdrhistogram::Histogram as Reference;
use proptest::prelude::*;
use spillway_wire::{
    Histogram, Method, Quantity,
    histogram::{BUCKETS, MAX_VALUE, bounds},
    message::{Begin, Latencies, Sample},
};

fn histogram(values: &[u64]) -> Histogram {
    let mut histogram = Histogram::new();
    values.iter().for_each(|value| histogram.record(*value));
    histogram
}

#[test]
fn buckets_cover_every_value_once() {
    assert_eq!(bounds(0), (0, 1));
    for index in 1..BUCKETS {
        assert_eq!(bounds(index - 1).1, bounds(index).0, "{index}");
    }
    assert_eq!(bounds(BUCKETS - 1).1, MAX_VALUE + 1);
    for value in [0, 255, 256, 257, 65535, 65536, MAX_VALUE] {
        let found = histogram(&[value]);
        let (index, count) = found.buckets().next().unwrap();
        let (low, high) = bounds(index);
        assert!(
            low <= value && value < high && count == 1,
            "{value} in {low}..{high}"
        );
    }
}

#[test]
fn small_values_are_exact_and_too_large_ones_count_as_the_largest() {
    let found = histogram(&(1..=100).collect::<Vec<_>>());
    let quantiles = [0.0, 0.5, 0.99, 0.999, 1.0].map(|part| found.quantile(part).unwrap());
    assert_eq!(quantiles, [1, 50, 99, 100, 100]);
    assert_eq!(found.extremes(), Some((5050, 1, 100)));
    assert_eq!(histogram(&[u64::MAX]).quantile(0.5), Some(MAX_VALUE));
}

#[test]
fn without_values_there_are_no_quantiles() {
    let mut empty = histogram(&[7]);
    empty.clear();
    assert_eq!(
        (empty.quantile(0.5), empty.extremes(), empty.len()),
        (None, None, 0)
    );
    assert!(empty.is_empty() && Latencies::new(0, &empty).is_none());
    assert_eq!(histogram(&[7]).quantile(1.5), None);
    assert_eq!(histogram(&[7]).quantile(f64::NAN), None);
}

#[test]
fn what_contradicts_itself_is_refused() {
    let parts = |buckets: &[(usize, u64)], extremes| {
        Histogram::from_parts(buckets.iter().copied(), extremes)
    };
    assert!(parts(&[(3, 2), (9, 1)], (15, 3, 9)).is_some());
    for (buckets, extremes) in [
        (&[][..], (0, 0, 0)),
        (&[(9, 1), (3, 2)], (15, 3, 9)),
        (&[(3, 1), (3, 2)], (9, 3, 3)),
        (&[(3, 0)], (0, 3, 3)),
        (&[(BUCKETS, 1)], (MAX_VALUE, MAX_VALUE, MAX_VALUE)),
        (&[(3, 2), (9, 1)], (15, 4, 9)),
        (&[(3, 2), (9, 1)], (15, 3, 10)),
        (&[(3, 2), (9, 1)], (8, 3, 9)),
        (&[(3, 2), (9, 1)], (28, 3, 9)),
        (&[(3, u64::MAX), (9, 1)], (15, 3, 9)),
    ] {
        assert_eq!(parts(buckets, extremes), None, "{buckets:?} {extremes:?}");
    }
}

#[test]
fn records_are_read_as_they_were_written() {
    for (region, end) in [(None, "}"), (Some(7), r#","region":7}"#)] {
        let totals = [(Quantity::Instructions, 9), (Quantity::WakeUps, 0)];
        let sample = Sample::new(3, 3200, &totals, region);
        let text = sample.to_string();
        let begin = r#"{"case":3,"operations":3200,"totals":{"instructions":9,"wake_ups":0}"#;
        assert_eq!(text, format!("{begin}{end}"));
        assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), sample);
    }
    for plan in [None, Some(7)] {
        let begin = Begin {
            program: "bench-\"io\"".into(),
            method: Method::Timed,
            cpu: "A\\B\u{7}".into(),
            plan,
        };
        assert_eq!(
            serde_json::from_str::<Begin>(&begin.to_string()).unwrap(),
            begin
        );
    }
    for quantity in Quantity::ALL {
        assert_eq!(Quantity::from_name(quantity.name()), Some(quantity));
    }
}

proptest! {
    #[test]
    fn quantiles_agree_with_the_list_and_the_reference(
        mut values in prop::collection::vec(prop_oneof![0..300u64, 0..100_000u64, 0..MAX_VALUE], 1..300),
        part in 0.0..=1.0f64,
    ) {
        let found = histogram(&values).quantile(part).unwrap();
        let mut reference = Reference::<u64>::new_with_bounds(1, MAX_VALUE, 3).unwrap();
        values.iter().for_each(|value| reference.record(*value).unwrap());
        values.sort_unstable();
        let rank = (part * values.len() as f64).ceil().max(1.0) as usize;
        let exact = values[rank - 1];
        prop_assert!(found >= exact && found - exact <= exact / 128, "{found} for {exact}");
        let theirs = reference.value_at_quantile(part);
        let apart = found.abs_diff(theirs) as f64;
        prop_assert!(apart <= found.max(theirs) as f64 / 120.0 + 1.0, "{found} and {theirs}");
    }

    #[test]
    fn merging_is_recording_both(a in prop::collection::vec(0..MAX_VALUE, 0..50), b in prop::collection::vec(0..MAX_VALUE, 0..50)) {
        let mut merged = histogram(&a);
        merged.merge(&histogram(&b));
        prop_assert_eq!(merged, histogram(&[a, b].concat()));
    }

    #[test]
    fn a_histogram_travels(values in prop::collection::vec(0..MAX_VALUE, 1..50)) {
        let told = Latencies::new(5, &histogram(&values)).unwrap();
        let read: Latencies = serde_json::from_str(&told.to_string()).unwrap();
        prop_assert_eq!(&read, &told);
        prop_assert_eq!(read.histogram().unwrap(), histogram(&values));
    }
}

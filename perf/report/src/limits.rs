//! What some counted figures must not exceed, and what they should reach.

use crate::{Measurement, Method, number::number};

/// A bound of a counted figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// The name of the row.
    pub name: &'static str,
    /// The most that is allowed.
    pub most: f64,
    /// What it should reach, if that is less.
    pub aim: Option<f64>,
}

const fn limit(name: &'static str, most: f64, aim: Option<f64>) -> Limit {
    Limit { name, most, aim }
}

/// Every bound.
pub const LIMITS: &[Limit] = &[
    limit("kernel/null_syscall", 60.0, Some(40.0)),
    limit("boot/kernel_to_user", 3_000_000.0, None),
    limit("boot/first_nvme_read", 5_000_000.0, Some(2_000_000.0)),
    limit("nvme/integrated_qd32", 100.0, Some(60.0)),
    limit("nvme/integrated_qd32_no_iommu", 100.0, Some(60.0)),
    limit("nvme/integrated_qd32_kernel", 0.0, None),
    limit("nvme/mmio_per_io_qd32", 0.0625, None),
    limit("ipc/do_io_round_trip", 600.0, Some(300.0)),
    limit("ipc/queue_noop_batch32", 150.0, Some(80.0)),
    limit("ipc/shared_round_trip_batch32", 60.0, Some(30.0)),
    limit("ipc/ring_entry64", 30.0, None),
    limit("levels/sync_qd1", 2500.0, Some(1500.0)),
    limit("levels/async_qd32", 800.0, Some(400.0)),
    limit("levels/shared_qd32", 300.0, Some(150.0)),
    limit("levels/integrated_qd32", 100.0, Some(60.0)),
];

/// Under which conditions the bounds of levels hold: labels that a row must not contradict.
const CONDITIONS: [(&str, &str); 8] = [
    ("device", "nvme"),
    ("block_size", "4096"),
    ("reads", "100"),
    ("pattern", "random"),
    ("wait", "poll"),
    ("topology", "same-core"),
    ("buffers", "registered"),
    ("threads", "1"),
];

/// The bound of a row, if it has one.
pub fn of(row: &Measurement) -> Option<&'static Limit> {
    let holds =
        |(label, value): &(&str, &str)| row.label(label).is_none_or(|found| found == *value);
    let applies = row.method == Method::Counted && CONDITIONS.iter().all(holds);
    LIMITS
        .iter()
        .find(|limit| applies && limit.name == row.name)
}

/// A sentence for every row that is over its bound.
pub fn over(results: &[Measurement]) -> Vec<String> {
    let over = |row: &Measurement| {
        let most = of(row)?.most;
        (row.value > most).then(|| {
            let (value, most) = (number(row.value), number(most));
            format!(
                "{} takes {value} {}, at most {most} are allowed",
                row.name, row.unit
            )
        })
    };
    results.iter().filter_map(over).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, method: &str, value: f64, labels: &str) -> Measurement {
        let json = format!(
            r#"{{"name":"{name}","unit":"instructions","method":"{method}","better":"lower","samples":[{value}],"labels":{{{labels}}}}}"#
        );
        Measurement::parse(&json).unwrap()
    }

    #[test]
    fn limits_hold_for_counted_figures_only() {
        let over = |method, value| over(&[row("kernel/null_syscall", method, value, "")]);
        assert!(over("counted", 60.0).is_empty());
        assert_eq!(over("counted", 61.0).len(), 1);
        assert!(over("timed", 500.0).is_empty());
    }

    #[test]
    fn limits_of_levels_hold_under_their_conditions() {
        let bound = |labels| of(&row("levels/sync_qd1", "counted", 1.0, labels)).is_some();
        assert!(bound(r#""wait":"poll","device":"nvme""#));
        assert!(!bound(r#""wait":"interrupt","device":"nvme""#));
        assert!(!bound(r#""buffers":"copied""#));
    }
}

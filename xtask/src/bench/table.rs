//! The results as a table for a terminal, and the bounds that some of them have.

use super::results::{Measurement, Method};

/// What a counted quantity must not exceed, and what it should reach.
struct Bound {
    name: &'static str,
    limit: f64,
    aim: Option<f64>,
}

const BOUNDS: &[Bound] = &[
    Bound {
        name: "kernel/null_syscall",
        limit: 60.0,
        aim: Some(40.0),
    },
    Bound {
        name: "boot/kernel_to_user",
        limit: 3_000_000.0,
        aim: None,
    },
    Bound {
        name: "boot/first_nvme_read",
        limit: 5_000_000.0,
        aim: Some(2_000_000.0),
    },
    Bound {
        name: "nvme/integrated_qd32",
        limit: 100.0,
        aim: Some(60.0),
    },
    Bound {
        name: "nvme/integrated_qd32_no_iommu",
        limit: 100.0,
        aim: Some(60.0),
    },
    Bound {
        name: "nvme/integrated_qd32_kernel",
        limit: 0.0,
        aim: None,
    },
    Bound {
        name: "nvme/mmio_per_io_qd32",
        limit: 0.0625,
        aim: None,
    },
];

fn bound(result: &Measurement) -> Option<&'static Bound> {
    let counted = result.method == Method::Counted;
    BOUNDS
        .iter()
        .find(|bound| counted && bound.name == result.name)
}

/// A sentence for every result that is over its limit.
pub fn over_limit(results: &[Measurement]) -> Vec<String> {
    let over = |result: &Measurement| {
        let limit = bound(result)?.limit;
        (result.value > limit).then(|| {
            let (value, limit) = (number(result.value), number(limit));
            format!(
                "{} takes {value} {}, at most {limit} are allowed",
                result.name, result.unit
            )
        })
    };
    results.iter().filter_map(over).collect()
}

/// A table for each method, one line per result.
pub fn render(results: &[Measurement]) -> String {
    let mut text = String::new();
    for method in [Method::Counted, Method::Timed, Method::Modelled] {
        let of_method = || results.iter().filter(|result| result.method == method);
        if of_method().next().is_some() {
            let mut head = ["", "median", "min", "max", "unit", "limit", "aim"].map(String::from);
            head[0] = method.name().into();
            let is_alone = |result: &Measurement| {
                of_method()
                    .filter(|other| other.name == result.name)
                    .count()
                    == 1
            };
            let rows = of_method().map(|result| row(result, is_alone(result)));
            let rows: Vec<_> = [head].into_iter().chain(rows).collect();
            text.push_str(&align(&rows));
            text.push('\n');
        }
    }
    text
}

/// Numbers to the right, words to the left.
fn align(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let mut table = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            NAME | UNIT => format!("{cell:<0$}", width(column)),
            _ => format!("{cell:>0$}", width(column)),
        });
        table.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        table.push('\n');
    }
    table
}

const COLUMNS: usize = 7;
const NAME: usize = 0;
const UNIT: usize = 4;

/// Labels are left out where the name is enough.
fn row(result: &Measurement, is_alone: bool) -> [String; COLUMNS] {
    let labels: Vec<_> = result
        .labels
        .iter()
        .map(|(label, value)| format!("{label}={value}"))
        .collect();
    let name = match is_alone || labels.is_empty() {
        true => result.name.clone(),
        false => format!("{} {}", result.name, labels.join(" ")),
    };
    let bound = bound(result);
    let shown = |value: Option<f64>| value.map_or(String::new(), number);
    [
        name,
        number(result.value),
        number(result.min),
        number(result.max),
        match result.unit.as_str() {
            "instructions" => "instr".into(),
            "nanoseconds" => "ns".into(),
            unit => unit.into(),
        },
        shown(bound.map(|bound| bound.limit)),
        shown(bound.and_then(|bound| bound.aim)),
    ]
}

/// Whole numbers with separators from ten thousand on; fractions only where they matter.
fn number(value: f64) -> String {
    if value.abs() < 1.0 && value != 0.0 {
        return format!("{value:.4}");
    }
    if value.abs() < 100.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    if value.abs() < 10_000.0 {
        return digits;
    }
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len() - index;
        if index > 0 && left.is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results;

    fn result(name: &str, method: &str, value: f64) -> Measurement {
        let line = format!(
            r#"@result {{"name":"{name}","unit":"instructions","method":"{method}","better":"lower","samples":[{value}]}}"#
        );
        results::parse(&line).unwrap().unwrap()
    }

    #[test]
    fn the_table_fits_a_terminal() {
        let table = render(&[
            result("kernel/null_syscall", "counted", 45.0),
            result("boot/kernel_to_user", "counted", 2_345_678.0),
        ]);
        assert!(table.lines().all(|line| line.len() <= 80), "{table}");
        assert!(
            table.contains("2,345,678") && table.contains("3,000,000"),
            "{table}"
        );
    }

    #[test]
    fn limits_hold_for_counted_figures_only() {
        let over = |method, value| over_limit(&[result("kernel/null_syscall", method, value)]);
        assert!(over("counted", 60.0).is_empty());
        assert_eq!(over("counted", 61.0).len(), 1);
        assert!(over("timed", 500.0).is_empty());
    }

    #[test]
    fn numbers_are_readable() {
        let shown = [0.0, 0.0625, 41.5, 9999.0, 10_000.0, 1_234_567.8, -123_456.0].map(number);
        assert_eq!(
            shown,
            [
                "0",
                "0.0625",
                "41.5",
                "9999",
                "10,000",
                "1,234,568",
                "-123,456"
            ]
        );
    }
}

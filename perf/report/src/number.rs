//! Numbers for people.

/// Whole numbers with separators from ten thousand on; fractions only where they matter.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if value.abs() < 1.0 {
        let text = format!("{value:.4}");
        return text.trim_end_matches('0').trim_end_matches('.').into();
    }
    if value.abs() < 99.95 && value.fract() != 0.0 {
        let text = format!("{value:.1}");
        return text.trim_end_matches(".0").into();
    }
    let digits = format!("{value:.0}");
    if value.abs() < 9_999.5 {
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

/// With three figures and a prefix: 12.3 k, 1.23 M.
pub fn short(value: f64) -> String {
    let (scaled, prefix) = match value.abs() {
        size if size >= 999_500_000.0 => (value / 1e9, " G"),
        size if size >= 999_500.0 => (value / 1e6, " M"),
        size if size >= 9_999.5 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let text = match scaled.abs() {
        size if size >= 99.95 || scaled.fract() == 0.0 => format!("{scaled:.0}"),
        size if size >= 9.995 => format!("{scaled:.1}"),
        _ => format!("{scaled:.2}"),
    };
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{prefix}")
}

/// Nanoseconds with a unit that suits them.
pub fn duration(nanoseconds: f64) -> String {
    match nanoseconds.abs() {
        size if size >= 999_500_000.0 => format!("{} s", short(nanoseconds / 1e9)),
        size if size >= 999_500.0 => format!("{} ms", short(nanoseconds / 1e6)),
        size if size >= 999.5 => format!("{} µs", short(nanoseconds / 1e3)),
        _ => format!("{} ns", short(nanoseconds)),
    }
}

/// A value in its unit.
pub fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "nanoseconds" => duration(value),
        "iops" => format!("{} ops/s", short(value)),
        unit => format!("{} {unit}", number(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let shown = [
            0.0,
            0.0625,
            0.5,
            41.5,
            99.96,
            9999.0,
            10_000.0,
            1_234_567.8,
            -123_456.0,
        ];
        assert_eq!(
            shown.map(number),
            [
                "0",
                "0.0625",
                "0.5",
                "41.5",
                "100",
                "9999",
                "10,000",
                "1,234,568",
                "-123,456"
            ]
        );
        let shown = [
            0.0,
            0.5,
            60.0,
            99.95,
            1234.0,
            9999.5,
            12_345.0,
            999_499.0,
            1_234_567.0,
            2.5e9,
        ];
        assert_eq!(
            shown.map(short),
            [
                "0", "0.5", "60", "100", "1234", "10 k", "12.3 k", "999 k", "1.23 M", "2.5 G"
            ]
        );
        let shown = [0.0, 999.0, 35_400.0, 1.5e6, 2.0e9].map(duration);
        assert_eq!(shown, ["0 ns", "999 ns", "35.4 µs", "1.5 ms", "2 s"]);
        assert_eq!(with_unit(250_000.0, "iops"), "250 k ops/s");
        assert_eq!(with_unit(42.0, "instructions"), "42 instructions");
    }
}

//! Amounts of memory as people write them: `16 MiB`, `512M`, `4096`.

/// The bytes that a text names: a whole number and a unit (`KiB`, `MiB`, `GiB`, or `K`, `M`, `G`;
/// none stands for bytes). `None` if it is anything else or does not fit 64 bits.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use proptest::prelude::*;

    #[test]
    fn units_are_powers_of_1024() {
        assert_eq!(parse("16 MiB"), Some(16 << 20));
        assert_eq!(parse("512M"), Some(512 << 20));
        assert_eq!(parse(" 4096 "), Some(4096));
        assert_eq!(parse("64GiB"), Some(64 << 30));
        assert_eq!(parse("3 KiB"), Some(3 << 10));
    }

    #[test]
    fn other_texts_and_too_large_numbers_are_refused() {
        for text in ["", "MiB", "-1", "1.5 GiB", "16 MB", "1 TiB", "١ KiB"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("17179869184 GiB"), None);
        assert_eq!(parse("17179869183 GiB"), Some(17179869183 << 30));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}

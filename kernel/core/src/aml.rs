//! The one thing that is wanted from AML: the value that switches the machine off.
//!
//! The DSDT holds it as `Name (_S5_, Package () { a, b, … })`. The name is looked for as bytes
//! and the package is decoded by hand, instead of interpreting a whole language for two numbers.
//! Anything that does not decode exactly is passed over.

/// NameOp (ACPI 6.5, section 20.2.5.1).
const NAME_OP: u8 = 0x08;
/// The prefix of a name that begins at the root (section 20.2.2).
const ROOT: u8 = b'\\';
/// PackageOp (section 20.2.5.4).
const PACKAGE_OP: u8 = 0x12;
/// ZeroOp and OneOp (section 20.2.3).
const ZERO_OP: u8 = 0x00;
const ONE_OP: u8 = 0x01;
/// Prefixes of integers with one, two and four bytes (section 20.2.3).
const BYTE_PREFIX: u8 = 0x0a;
const WORD_PREFIX: u8 = 0x0b;
const DWORD_PREFIX: u8 = 0x0c;
/// The largest sleep type: the field has three bits (section 4.8.3.2.1).
const MAX_SLEEP_TYPE: u64 = 7;

/// The sleep types for the registers PM1a and PM1b that mean "off" (section 7.4.2).
pub fn soft_off(aml: &[u8]) -> Option<(u8, u8)> {
    let mut searched = 0;
    loop {
        let at = searched
            + aml
                .get(searched..)?
                .windows(4)
                .position(|name| name == b"_S5_")?;
        if is_defined_here(&aml[..at])
            && let Some(types) = decode(&aml[at + 4..])
        {
            return Some(types);
        }
        searched = at + 1;
    }
}

fn is_defined_here(before: &[u8]) -> bool {
    matches!(before, [.., NAME_OP] | [.., NAME_OP, ROOT])
}

fn decode(bytes: &[u8]) -> Option<(u8, u8)> {
    let (&[PACKAGE_OP, lead], _) = bytes.split_first_chunk()? else {
        return None;
    };
    // PkgLength (section 20.2.4): the two upper bits of the first byte say how many bytes follow
    // it. The elements must be within the bytes of the table; the length itself is not needed.
    let length_bytes = 1 + usize::from(lead >> 6);
    let (&count, elements) = bytes.get(1 + length_bytes..)?.split_first()?;
    let (a, rest) = integer(elements)?;
    let b = if count > 1 { integer(rest)?.0 } else { a };
    (count > 0).then_some((a, b))
}

/// A sleep type at the front, and what comes after it.
fn integer(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&operation, rest) = bytes.split_first()?;
    let width = match operation {
        ZERO_OP => return Some((0, rest)),
        ONE_OP => return Some((1, rest)),
        BYTE_PREFIX => 1,
        WORD_PREFIX => 2,
        DWORD_PREFIX => 4,
        _ => return None,
    };
    let (digits, rest) = rest.split_at_checked(width)?;
    let value = digits
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u64::from(byte));
    (value <= MAX_SLEEP_TYPE).then_some((value as u8, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// `Name (_S5_, Package () { … })` with these bytes for the elements.
    fn definition(count: u8, elements: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x08_S5_\x12".to_vec();
        bytes.push(2 + elements.len() as u8);
        bytes.push(count);
        bytes.extend_from_slice(elements);
        bytes
    }

    #[test]
    fn the_usual_forms_are_read() {
        // QEMU, a package of four bytes; others, ZeroOp and OneOp.
        assert_eq!(
            soft_off(&definition(4, b"\x0a\x05\x0a\x05\x00\x00")),
            Some((5, 5))
        );
        assert_eq!(soft_off(&definition(4, &[0, 0, 0, 0])), Some((0, 0)));
        assert_eq!(soft_off(&definition(2, b"\x01\x0b\x07\x00")), Some((1, 7)));
        assert_eq!(
            soft_off(&definition(2, b"\x0c\x03\x00\x00\x00\x00")),
            Some((3, 0))
        );
        // One element stands for both registers.
        assert_eq!(soft_off(&definition(1, b"\x0a\x06")), Some((6, 6)));
        // A name from the root, and a length of two bytes.
        assert_eq!(
            soft_off(b"\x08\\_S5_\x12\x46\x00\x02\x0a\x05\x0a\x04"),
            Some((5, 4))
        );
    }

    #[test]
    fn what_only_looks_like_it_is_passed_over() {
        let good = definition(2, b"\x0a\x05\x0a\x05");
        for false_start in [
            &b"_S5_"[..],
            b"\x08_S5_",
            b"\x08_S5_\x0d",
            b"\x5b_S5_\x12\x04\x02\x01\x01",
            b"\x08_S5_\x12\x04\x00\x01\x01",
            b"\x08_S5_\x12\x06\x02\x0a\x08\x0a\x08",
            b"\x08_S5_\x12\x04\x02\xff\x01",
        ] {
            assert_eq!(soft_off(false_start), None, "{false_start:?}");
            let both = [false_start, &good].concat();
            assert_eq!(soft_off(&both), Some((5, 5)), "{false_start:?}");
        }
        assert_eq!(soft_off(b""), None);
    }

    #[test]
    fn a_table_that_is_cut_says_nothing() {
        let good = definition(2, b"\x0a\x05\x0a\x05");
        for length in 0..good.len() {
            assert_eq!(soft_off(&good[..length]), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, behind: Vec<u8>) {
            let table = [&bytes[..], b"\x08_S5_\x12", &behind].concat();
            if let Some((a, b)) = soft_off(&table) {
                prop_assert!(u64::from(a.max(b)) <= MAX_SLEEP_TYPE);
            }
        }

        #[test]
        fn it_is_found_wherever_it_is(before in "[a-zA-Z0-9]{0,50}", a in 0u8..8, b in 0u8..8) {
            let table = [before.as_bytes(), &definition(2, &[0x0a, a, 0x0a, b])].concat();
            prop_assert_eq!(soft_off(&table), Some((a, b)));
        }
    }
}

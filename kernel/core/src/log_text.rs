//! What a program's text becomes in the log: a few lines at a time, and always text.

/// How many bytes at the front of a text have at most `most` lines, each with its end; all bytes if
/// there are no more lines than that. `most` is not 0.
pub fn first_lines(text: &[u8], most: usize) -> usize {
    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| at + 1)
        .nth(most - 1)
        .unwrap_or(text.len())
}

/// The text with U+FFFD in place of what is not UTF-8, written to `shown`, which must have three
/// bytes for each of the text's; what does not fit is left out.
pub fn printable<'a>(text: &[u8], shown: &'a mut [u8]) -> &'a str {
    let mut end = 0;
    for chunk in text.utf8_chunks() {
        let replacement = match chunk.invalid() {
            [] => "",
            _ => "\u{fffd}",
        };
        for part in [chunk.valid(), replacement] {
            let Some(place) = shown.get_mut(end..end + part.len()) else {
                break;
            };
            place.copy_from_slice(part.as_bytes());
            end += part.len();
        }
    }
    core::str::from_utf8(&shown[..end]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::String, vec, vec::Vec};
    use proptest::prelude::*;

    #[test]
    fn lines_are_taken_whole() {
        for (text, most, taken) in [
            (&b""[..], 1, 0),
            (b"one", 1, 3),
            (b"one\n", 1, 4),
            (b"one\ntwo", 1, 4),
            (b"one\ntwo", 2, 7),
            (b"\n\n\n\n", 3, 3),
            (b"one\ntwo\nthree", 2, 8),
        ] {
            assert_eq!(first_lines(text, most), taken, "{text:?}, {most}");
        }
    }

    #[test]
    fn what_is_no_text_stays_on_its_line() {
        let mut shown = [0; 100];
        let text = printable(b"a\xff\xfeb\xc3", &mut shown);
        assert_eq!(text, "a\u{fffd}\u{fffd}b\u{fffd}");
    }

    proptest! {
        #[test]
        fn all_of_a_text_comes_by_in_its_lines(
            text in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            most in 1usize..20,
        ) {
            let mut rest = &text[..];
            let mut seen = Vec::new();
            while !rest.is_empty() {
                let taken = first_lines(rest, most);
                prop_assert!(taken > 0);
                let part = &rest[..taken];
                prop_assert!(part.split_inclusive(|&byte| byte == b'\n').count() <= most);
                seen.extend_from_slice(part);
                rest = &rest[taken..];
            }
            prop_assert_eq!(seen, text);
        }

        #[test]
        fn any_bytes_are_shown_as_the_library_does(text: Vec<u8>) {
            let mut shown = vec![0; 3 * text.len()];
            prop_assert_eq!(printable(&text, &mut shown), String::from_utf8_lossy(&text));
        }

        #[test]
        fn a_place_that_is_too_small_is_no_disaster(text: Vec<u8>, room in 0usize..50) {
            let mut shown = vec![0; room];
            prop_assert!(printable(&text, &mut shown).len() <= room);
        }
    }
}

//! Records cut into lines and put together again, whole and damaged.

use proptest::prelude::*;
use spillway_wire::{
    frame::{self, Kind, MAX_PIECE, MAX_PIECES},
    reader::{Fault, Reader, Record},
};

fn lines(kind: Kind, number: u32, text: &str) -> Vec<String> {
    frame::lines(kind, number, text)
        .map(|line| line.to_string())
        .collect()
}

/// A program that begins, says so many texts, and ends.
fn program(texts: &[&str]) -> Vec<String> {
    let mut all = lines(Kind::Begin, 0, "{}");
    for (index, text) in texts.iter().enumerate() {
        all.extend(lines(Kind::Result, index as u32 + 1, text));
    }
    all.extend(lines(Kind::End, texts.len() as u32 + 1, "{}"));
    all
}

fn read<S: AsRef<str>>(lines: &[S]) -> Result<Vec<Record>, Fault> {
    let mut reader = Reader::default();
    let mut records = Vec::new();
    for line in lines {
        records.extend(reader.line(line.as_ref())?);
    }
    reader.finish().map(|()| records)
}

#[test]
fn the_form_of_a_line() {
    // The checksum is zlib's: `zlib.crc32(b'result 7 1/1 7 {"a":1}')` in Python.
    let line = &lines(Kind::Result, 7, r#"{"a":1}"#)[0];
    assert_eq!(line, r#"@result 7 1/1 7 aaabf86c {"a":1}"#);
}

#[test]
fn long_records_come_back_whole() {
    let long = "ä".repeat(MAX_PIECE);
    let records = read(&program(&["", "short", &long])).unwrap();
    let texts: Vec<_> = records.iter().map(|record| record.text.as_str()).collect();
    assert_eq!(texts, ["{}", "", "short", &long, "{}"]);
}

#[test]
fn the_longest_record_fits_and_a_longer_one_is_cut() {
    let longest = "a".repeat(MAX_PIECE * MAX_PIECES as usize);
    assert_eq!(read(&program(&[&longest])).unwrap()[1].text, longest);
    let longer = longest.clone() + "a";
    assert_eq!(read(&program(&[&longer])).unwrap()[1].text, longest);
}

#[test]
fn a_line_fits_one_write_to_the_log() {
    const MAX_LOG_WRITE: usize = 1024;
    let text = "a".repeat(MAX_PIECE * 11);
    for line in lines(Kind::Histogram, u32::MAX, &text) {
        assert!(line.len() < MAX_LOG_WRITE, "{}", line.len());
    }
}

#[test]
fn what_happens_to_lines_is_noticed() {
    let whole = program(&["first", "second"]);
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = whole.clone();
        change(&mut lines);
        read(&lines).unwrap_err()
    };
    assert_eq!(with(&|lines| lines[1].truncate(20)), Fault::Form);
    assert_eq!(
        with(&|lines| assert!(lines[1].pop().is_some())),
        Fault::Length
    );
    assert_eq!(with(&|lines| lines[1] += "x"), Fault::Length);
    let damaged = whole[1].replace("first", "fIrst");
    assert_eq!(with(&|lines| lines[1] = damaged.clone()), Fault::Checksum);
    let renumbered = whole[1].replace("@result 1", "@result 2");
    assert_eq!(
        with(&|lines| lines[1] = renumbered.clone()),
        Fault::Checksum
    );
    let lost = Fault::Lost {
        number: 1,
        piece: 1,
    };
    assert_eq!(with(&|lines| drop(lines.remove(1))), lost);
    assert_eq!(with(&|lines| lines.swap(1, 2)), lost);
    let lost = Fault::Lost {
        number: 0,
        piece: 1,
    };
    assert_eq!(with(&|lines| drop(lines.remove(0))), lost);
    assert_eq!(with(&|lines| drop(lines.pop())), Fault::Unfinished);
    assert_eq!(with(&|lines| lines.extend(whole.clone())), Fault::Behind);
    let other = lines(Kind::Result, 0, "{}").remove(0);
    assert_eq!(with(&|lines| lines[0] = other.clone()), Fault::Begin);
    let again = lines(Kind::Begin, 1, "{}").remove(0);
    assert_eq!(with(&|lines| lines[1] = again.clone()), Fault::Begin);
    // Another core's words in the middle: the rest of the line is a line of its own, and no record.
    let torn = |lines: &mut Vec<String>| {
        let rest = lines[1].split_off(25);
        lines.insert(2, rest);
    };
    assert_eq!(with(&torn), Fault::Length);
}

#[test]
fn other_lines_are_passed_over() {
    let mut whole = program(&["text"]);
    whole.insert(1, "Hello from an unprivileged program.".into());
    whole.insert(0, String::new());
    assert_eq!(read(&whole).unwrap().len(), 3);
}

#[test]
fn limits_of_pieces_hold() {
    let mut reader = Reader::default();
    let line = frame::Line {
        kind: Kind::Begin,
        number: 0,
        piece: 1,
        pieces: MAX_PIECES + 1,
        text: "",
    };
    assert_eq!(reader.line(&line.to_string()), Err(Fault::Form));
    let line = frame::Line {
        piece: 0,
        pieces: 1,
        ..line
    };
    assert_eq!(reader.line(&line.to_string()), Err(Fault::Form));
    let text = "a".repeat(MAX_PIECE + 1);
    let line = frame::Line {
        piece: 1,
        text: &text,
        ..line
    };
    assert_eq!(reader.line(&line.to_string()), Err(Fault::Length));
}

proptest! {
    #[test]
    fn any_text_comes_back(texts in prop::collection::vec("[^\\n]{0,3000}", 0..4)) {
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let records = read(&program(&texts)).unwrap();
        let found: Vec<_> = records.iter().map(|record| record.text.as_str()).collect();
        prop_assert_eq!(&found[1..=texts.len()], &texts[..]);
    }

    #[test]
    fn any_single_damage_is_noticed(at in 0..200usize, byte in 0x20..0x7fu8) {
        let whole = program(&["some text that is not short", "and another"]);
        let mut bytes: Vec<u8> = whole.join("\n").into_bytes();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let text = String::from_utf8(bytes).unwrap();
        prop_assert!(read(&text.lines().collect::<Vec<_>>()).is_err());
    }

    #[test]
    fn any_line_is_survived(text in "@?[a-z]{0,9} ?[0-9]{0,12} ?[0-9/]{0,9} ?[0-9]{0,4} ?[0-9a-f]{0,9} ?.{0,40}") {
        let _ = Reader::default().line(&text);
    }
}

//! Puts the lines of one program together again, and notices whatever happened to them.

use alloc::string::String;
use core::fmt;

use crate::frame::{Kind, Line, MAX_PIECE, MAX_PIECES};

/// A whole record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// JSON, not looked at yet.
    pub text: String,
}

/// What is wrong with a line, or with the end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A line that begins with `@` has another form than a record's.
    Form,
    /// A line is shorter or longer than it says.
    Length,
    /// A line has another checksum than it says.
    Checksum,
    /// A line is missing: the number of the record and of the piece that should come next.
    Lost {
        /// The record that should come next.
        number: u32,
        /// The piece of it, from 1.
        piece: u32,
    },
    /// The first record of a program is not `begin`, or a later one is.
    Begin,
    /// There is a record behind the last one.
    Behind,
    /// The log ended before the last record.
    Unfinished,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("a line begins with @ but is no record"),
            Self::Length => f.write_str("a record is torn: it has not the length that it says"),
            Self::Checksum => f.write_str("a record is damaged: its checksum is wrong"),
            Self::Lost { number, piece } => {
                write!(f, "piece {piece} of record {number} is missing")
            }
            Self::Begin => f.write_str("the records of a program must begin with `begin`, once"),
            Self::Behind => f.write_str("a record comes behind the last one"),
            Self::Unfinished => f.write_str("the program's last record is missing"),
        }
    }
}

impl core::error::Error for Fault {}

/// The records of one program.
#[derive(Debug, Default)]
pub struct Reader {
    number: u32,
    /// Pieces of the record `number` that have come.
    pieces: u32,
    text: String,
    ended: bool,
}

impl Reader {
    /// Takes the text of a line of the log. `None` for what is no record, or not the last piece.
    pub fn line(&mut self, text: &str) -> Result<Option<Record>, Fault> {
        if !text.starts_with('@') {
            return Ok(None);
        }
        let line = parse(text)?;
        if self.ended {
            return Err(Fault::Behind);
        }
        if (line.number, line.piece) != (self.number, self.pieces + 1) {
            return Err(Fault::Lost {
                number: self.number,
                piece: self.pieces + 1,
            });
        }
        if (line.kind == Kind::Begin) != (line.number == 0) {
            return Err(Fault::Begin);
        }
        self.text.push_str(line.text);
        if line.piece < line.pieces {
            self.pieces = line.piece;
            return Ok(None);
        }
        self.pieces = 0;
        self.number += 1;
        self.ended = line.kind == Kind::End;
        Ok(Some(Record {
            kind: line.kind,
            text: core::mem::take(&mut self.text),
        }))
    }

    /// Whether the last record has come.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// What is wrong if the log ends here.
    pub fn finish(&self) -> Result<(), Fault> {
        match self.ended {
            true => Ok(()),
            false => Err(Fault::Unfinished),
        }
    }
}

fn parse(text: &str) -> Result<Line<'_>, Fault> {
    let mut words = text.strip_prefix('@').ok_or(Fault::Form)?.splitn(5, ' ');
    let mut word = || words.next().ok_or(Fault::Form);
    let (kind, number, pieces) = (word()?, word()?, word()?);
    let (length, checksum, text) = {
        let (length, checksum_and_text) = (word()?, word()?);
        let (checksum, text) = checksum_and_text.split_once(' ').ok_or(Fault::Form)?;
        (length, checksum, text)
    };
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind);
    let (piece, pieces) = pieces.split_once('/').ok_or(Fault::Form)?;
    let line = Line {
        kind: kind.ok_or(Fault::Form)?,
        number: decimal(number)?,
        piece: decimal(piece)?,
        pieces: decimal(pieces)?,
        text,
    };
    let length: u32 = decimal(length)?;
    if length as usize != text.len() || text.len() > MAX_PIECE {
        return Err(Fault::Length);
    }
    if !(1..=MAX_PIECES).contains(&line.pieces) || !(1..=line.pieces).contains(&line.piece) {
        return Err(Fault::Form);
    }
    let is_hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if checksum.len() != 8 || !checksum.bytes().all(is_hexadecimal) {
        return Err(Fault::Form);
    }
    match u32::from_str_radix(checksum, 16) {
        Ok(sum) if sum == line.checksum() => Ok(line),
        _ => Err(Fault::Checksum),
    }
}

fn decimal(word: &str) -> Result<u32, Fault> {
    let is_plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    match word.parse() {
        Ok(number) if is_plain => Ok(number),
        _ => Err(Fault::Form),
    }
}

//! The lines of a record.
//!
//! ```text
//! @result 12 1/1 145 1a2b3c4d {"name":…}
//!  │      │  │   │   │        └ the piece of the record
//!  │      │  │   │   └ CRC-32 of the line without this word and the @
//!  │      │  │   └ bytes of the piece
//!  │      │  └ which piece of how many
//!  │      └ the number of the record: a program counts its own from 0
//!  └ the kind of record
//! ```
//!
//! The length and the checksum tell a torn or interleaved line; the numbers tell a lost one.

use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

/// Bytes of a piece. With its head and the label of the log, a line stays within what a program can
/// write to the log at once.
pub const MAX_PIECE: usize = 900;
/// Pieces of a record.
pub const MAX_PIECES: u32 = 512;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first record of a program: who measures, and how.
    Begin,
    /// A figure with its own name, labels and samples.
    Result,
    /// One measured region of a case of the plan.
    Case,
    /// The latencies of one measured region of a case.
    Histogram,
    /// The last record of a program.
    End,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Begin,
        Self::Result,
        Self::Case,
        Self::Histogram,
        Self::End,
    ];

    /// The word behind the `@`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Result => "result",
            Self::Case => "case",
            Self::Histogram => "histogram",
            Self::End => "end",
        }
    }
}

/// One line: a piece of a record. Its text has no line end of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// What the record is.
    pub kind: Kind,
    /// The number of the record.
    pub number: u32,
    /// Which piece this is, from 1.
    pub piece: u32,
    /// How many there are.
    pub pieces: u32,
    /// The piece.
    pub text: &'a str,
}

/// Without a table: a program that is measured shall not grow by it.
const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// Writes into a checksum.
struct Sum<'a>(crc::Digest<'a, u32, NoTable>);

impl fmt::Write for Sum<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

impl Line<'_> {
    /// The checksum that belongs into the line.
    pub fn checksum(&self) -> u32 {
        use fmt::Write;
        let mut sum = Sum(CRC.digest());
        // A checksum takes whatever it is given.
        let _ = write!(sum, "{} {}", self.head(), self.text);
        sum.0.finalize()
    }

    fn head(&self) -> impl fmt::Display {
        let (kind, number, length) = (self.kind.name(), self.number, self.text.len());
        let (piece, pieces) = (self.piece, self.pieces);
        fmt::from_fn(move |f| write!(f, "{kind} {number} {piece}/{pieces} {length}"))
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{} {:08x} {}", self.head(), self.checksum(), self.text)
    }
}

/// Cuts a record into its lines. What does not fit [`MAX_PIECES`] is cut off, which the reader
/// notices as a record that is no JSON.
pub fn lines(kind: Kind, number: u32, text: &str) -> impl Iterator<Item = Line<'_>> {
    let count = |mut rest: &str| {
        let mut pieces = 1;
        while rest.len() > MAX_PIECE && pieces < MAX_PIECES {
            rest = &rest[rest.floor_char_boundary(MAX_PIECE)..];
            pieces += 1;
        }
        pieces
    };
    let pieces = count(text);
    let mut rest = text;
    (1..=pieces).map(move |piece| {
        let (text, later) = rest.split_at(rest.floor_char_boundary(MAX_PIECE));
        rest = later;
        Line {
            kind,
            number,
            piece,
            pieces,
            text,
        }
    })
}

//! The form that travels in the boot image: a header, then the cases in postcard's encoding.
//!
//! ```text
//! u32 magic   u32 version   u32 bytes that follow   postcard
//! ```
//!
//! What comes behind is ignored, because a module's last page is filled up with zeros.

use alloc::vec::Vec;

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

use crate::{Cases, Invalid};

/// "SPWP", the first word.
pub const MAGIC: u32 = u32::from_le_bytes(*b"SPWP");
/// The version of everything behind the header.
pub const VERSION: u32 = 1;

const HEADER: usize = 12;
/// Bytes of the whole.
const MAX_ENCODED: usize = 1 << 20;

/// Why a list of cases was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// It does not begin with [`MAGIC`].
    Magic,
    /// It has another version, this one.
    Version(u32),
    /// It is too long, or ends before its header says.
    Length,
    /// Its content is no list of cases.
    Malformed,
    /// It breaks a rule.
    Invalid(Invalid),
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Magic => f.write_str("this is no list of cases; boot it by `cargo xtask bench`"),
            Self::Version(found) => write!(
                f,
                "the list of cases has version {found}, this program reads {VERSION}; make the image again"
            ),
            Self::Length => f.write_str("the list of cases is cut off; make the image again"),
            Self::Malformed => f.write_str("the list of cases is damaged; make the image again"),
            Self::Invalid(invalid) => invalid.fmt(f),
        }
    }
}

impl core::error::Error for DecodeError {}

impl Cases {
    /// The compact form of cases that are possible.
    pub fn encode(&self) -> Result<Vec<u8>, Invalid> {
        self.check()?;
        let body = postcard::to_allocvec(self).map_err(|_| Invalid("out of memory".into()))?;
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        for word in [MAGIC, VERSION, body.len() as u32] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(body);
        Ok(bytes)
    }

    /// Reads the compact form, and checks it again.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = body(bytes)?;
        let cases: Self = postcard::from_bytes(body).map_err(|_| DecodeError::Malformed)?;
        cases.check().map_err(DecodeError::Invalid)?;
        Ok(cases)
    }

    /// The checksum by which a program says which list it was given. It covers what the header
    /// says, not what is behind.
    pub fn checksum(bytes: &[u8]) -> Result<u32, DecodeError> {
        const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);
        Ok(CRC.checksum(body(bytes)?))
    }
}

/// What the header announces.
fn body(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let word = |index: usize| {
        let bytes = bytes.get(4 * index..4 * index + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    if word(0) != Some(MAGIC) {
        return Err(DecodeError::Magic);
    }
    match word(1) {
        Some(VERSION) => {}
        Some(other) => return Err(DecodeError::Version(other)),
        None => return Err(DecodeError::Length),
    }
    let length = word(2).ok_or(DecodeError::Length)? as usize;
    let body = bytes.get(HEADER..).and_then(|rest| rest.get(..length));
    body.filter(|_| length <= MAX_ENCODED)
        .ok_or(DecodeError::Length)
}

//! What can go wrong with a ring.

use core::{error, fmt};

/// The other side wrote an index that it cannot have reached. The half that saw it refuses
/// everything from then on: the connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// Why an entry was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// The consumer has not released an entry for this one yet.
    Full,
    /// See [`Corrupt`].
    Corrupt,
}

/// Why memory is not taken for a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The number of entries is no power of two from 1 to [`MAX_ENTRIES`](crate::MAX_ENTRIES).
    Count(u32),
    /// The header is not aligned to a [`RingHeader`](crate::RingHeader), or the entries not to 8.
    Misaligned,
    /// The header has another version.
    Version(u32),
    /// The header has features that this side does not know, or lacks some.
    Features(u32),
    /// The header speaks of another number of entries.
    Entries(u32),
    /// The header speaks of entries of another size, in bytes.
    EntrySize(u32),
    /// More lies between the two indices than the ring has room for, in entries.
    Indices(u32),
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the other side wrote an impossible index into the ring")
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the ring is full"),
            Self::Corrupt => Corrupt.fmt(f),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(
                f,
                "a ring has a power of two of entries from 1 to {}, not {count}",
                crate::MAX_ENTRIES
            ),
            Self::Misaligned => f.write_str("the memory of the ring is not aligned"),
            Self::Version(version) => write!(
                f,
                "the ring has version {version}, and {} is expected",
                crate::VERSION
            ),
            Self::Features(bits) => write!(
                f,
                "the ring has features {bits:#x}, and {:#x} is expected",
                crate::FEATURES
            ),
            Self::Entries(count) => write!(f, "the ring says that it has {count} entries"),
            Self::EntrySize(size) => write!(f, "the ring says that its entries have {size} bytes"),
            Self::Indices(distance) => {
                write!(f, "{distance} entries in use are more than the ring has")
            }
        }
    }
}

impl error::Error for Corrupt {}
impl error::Error for PushError {}
impl error::Error for Refused {}

impl From<Corrupt> for PushError {
    fn from(_: Corrupt) -> Self {
        Self::Corrupt
    }
}

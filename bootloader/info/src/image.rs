//! The boot image: the kernel, the manifest and the programs in one file, which firmware or a
//! hypervisor loads as one module.
//!
//! Little-endian. Every content begins at a page and its last page is filled up with zeros, so
//! that the kernel can map a module into a program without copying it.
//!
//! ```text
//! 0    "SPWYIMG\0"   u32 version   u32 entries   u64 total length   u64 0
//! 32   entries × { name[48]  u64 offset  u64 length }
//!      zeros up to the next page, then the contents in the order of the entries
//! ```

#[cfg(any(test, feature = "alloc"))]
mod broken;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "alloc"))]
pub use broken::{Broken, broken};

use crate::{MAX_MODULES, MODULE_NAME_LENGTH, PAGE_SIZE};
use core::fmt;

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"SPWYIMG\0";
/// The version of the format.
pub const VERSION: u32 = 1;
/// The entry with the kernel's ELF file.
pub const KERNEL: &str = "kernel";
/// The entry with the compact manifest.
pub const MANIFEST: &str = "manifest";

const HEADER: usize = 32;
const ENTRY: usize = MODULE_NAME_LENGTH + 16;
const PAGE: usize = PAGE_SIZE as usize;

/// What is wrong with an image. `entry` is the index of the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// It does not begin with [`MAGIC`].
    Magic,
    /// It has this version.
    Version(u32),
    /// It is shorter than it says.
    Truncated {
        /// Bytes that there should be.
        needed: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// It has this many entries, more than [`MAX_MODULES`].
    TooMany(u64),
    /// A name is empty, too long, not UTF-8 or not padded with zeros.
    Name {
        /// Which entry.
        entry: usize,
    },
    /// A name occurs twice.
    NameTwice {
        /// The second of the two.
        entry: usize,
    },
    /// A content does not begin at a page.
    Unaligned {
        /// Which entry.
        entry: usize,
    },
    /// A content begins inside the header or an earlier content.
    Overlap {
        /// Which entry.
        entry: usize,
    },
    /// A content ends after the end of the image.
    Outside {
        /// Which entry.
        entry: usize,
    },
    /// The rest of a content's last page is not zero.
    Padding {
        /// Which entry.
        entry: usize,
    },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("boot image: ")?;
        match *self {
            Self::Magic => f.write_str("it does not begin with SPWYIMG: this is another file"),
            Self::Version(found) => write!(
                f,
                "it has version {found} of the format, this program reads version {VERSION}"
            ),
            Self::Truncated { needed, found } => write!(
                f,
                "it is truncated: {found} bytes, there should be {needed}"
            ),
            Self::TooMany(count) => {
                write!(f, "{count} entries, there may be at most {MAX_MODULES}")
            }
            Self::Name { entry } => write!(
                f,
                "the name of entry {entry} is not 1 to {MODULE_NAME_LENGTH} bytes of UTF-8 padded \
                 with zeros"
            ),
            Self::NameTwice { entry } => write!(f, "entry {entry} has the name of an earlier one"),
            Self::Unaligned { entry } => {
                write!(f, "entry {entry} does not begin at a page boundary")
            }
            Self::Overlap { entry } => write!(
                f,
                "entry {entry} begins before the end of what comes before it"
            ),
            Self::Outside { entry } => write!(f, "entry {entry} ends after the end of the image"),
            Self::Padding { entry } => write!(
                f,
                "the last page of entry {entry} is not filled up with zeros"
            ),
        }
    }
}

impl core::error::Error for ImageError {}

/// A checked image: all entries lie inside it, apart from each other, with names that differ.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    bytes: &'a [u8],
    count: usize,
}

/// A file of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where its content begins in the image, in bytes; a multiple of a page.
    pub offset: u64,
    /// Its content, without the zeros after it.
    pub content: &'a [u8],
}

impl<'a> Image<'a> {
    /// The files, in the order in which they lie.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let bytes = self.bytes;
        (0..self.count).filter_map(move |index| entry(bytes, index).ok())
    }

    /// The file with this name.
    pub fn find(&self, name: &str) -> Option<Entry<'a>> {
        self.entries().find(|entry| entry.name == name)
    }
}

/// Checks an image; afterwards reading from it cannot fail. Bytes after the length that the
/// image says it has are ignored.
pub fn parse(bytes: &[u8]) -> Result<Image<'_>, ImageError> {
    if bytes.get(..MAGIC.len()) != Some(&MAGIC[..]) {
        return Err(ImageError::Magic);
    }
    let truncated = |needed| ImageError::Truncated {
        needed,
        found: bytes.len() as u64,
    };
    let version = u32_at(bytes, 8).ok_or(truncated(HEADER as u64))?;
    if version != VERSION {
        return Err(ImageError::Version(version));
    }
    let count = u32_at(bytes, 12).ok_or(truncated(HEADER as u64))?;
    let total = u64_at(bytes, 16).ok_or(truncated(HEADER as u64))?;
    if count as usize > MAX_MODULES {
        return Err(ImageError::TooMany(count.into()));
    }
    let count = count as usize;
    let table_end = HEADER + count * ENTRY;
    let needed = total.max(table_end as u64);
    let bytes = usize::try_from(needed)
        .ok()
        .and_then(|needed| bytes.get(..needed))
        .ok_or(truncated(needed))?;

    let mut free_from = table_end.next_multiple_of(PAGE);
    for index in 0..count {
        let this = entry(bytes, index)?;
        let start = this.offset as usize;
        if start < free_from {
            return Err(ImageError::Overlap { entry: index });
        }
        let end = start + this.content.len();
        free_from = end.next_multiple_of(PAGE);
        let padding = bytes
            .get(end..free_from)
            .ok_or(ImageError::Outside { entry: index })?;
        if padding.iter().fold(0, |any, byte| any | byte) != 0 {
            return Err(ImageError::Padding { entry: index });
        }
        let mut earlier = (0..index).filter_map(|i| entry(bytes, i).ok());
        if earlier.any(|earlier| earlier.name == this.name) {
            return Err(ImageError::NameTwice { entry: index });
        }
    }
    Ok(Image { bytes, count })
}

/// Reads one entry and checks it on its own.
fn entry(bytes: &[u8], index: usize) -> Result<Entry<'_>, ImageError> {
    let at = HEADER + index * ENTRY;
    let outside = ImageError::Outside { entry: index };
    let name = bytes.get(at..at + MODULE_NAME_LENGTH).ok_or(outside)?;
    let name = text(name).ok_or(ImageError::Name { entry: index })?;
    let offset = u64_at(bytes, at + MODULE_NAME_LENGTH).ok_or(outside)?;
    let length = u64_at(bytes, at + MODULE_NAME_LENGTH + 8).ok_or(outside)?;
    if !offset.is_multiple_of(PAGE_SIZE) {
        return Err(ImageError::Unaligned { entry: index });
    }
    let end = offset.checked_add(length).ok_or(outside)?;
    let (start, end) = (
        usize::try_from(offset).map_err(|_| outside)?,
        usize::try_from(end).map_err(|_| outside)?,
    );
    let content = bytes.get(start..end).ok_or(outside)?;
    Ok(Entry {
        name,
        offset,
        content,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The text in a field that is padded with zeros; `None` if it is empty, not UTF-8, or something
/// comes after the first zero.
pub(crate) fn text(field: &[u8]) -> Option<&str> {
    let length = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    let (text, padding) = field.split_at(length);
    if text.is_empty() || padding.iter().any(|&byte| byte != 0) {
        return None;
    }
    core::str::from_utf8(text).ok()
}

/// Makes an image of named contents. What it returns, [`parse`] accepts.
#[cfg(any(test, feature = "alloc"))]
pub fn write(entries: &[(&str, &[u8])]) -> Result<alloc::vec::Vec<u8>, ImageError> {
    use alloc::vec::Vec;
    if entries.len() > MAX_MODULES {
        return Err(ImageError::TooMany(entries.len() as u64));
    }
    let mut offset = (HEADER + entries.len() * ENTRY).next_multiple_of(PAGE);
    let mut image = Vec::with_capacity(offset);
    image.extend(MAGIC);
    image.extend(VERSION.to_le_bytes());
    image.extend((entries.len() as u32).to_le_bytes());
    let total: usize = entries
        .iter()
        .map(|(_, content)| content.len().next_multiple_of(PAGE))
        .sum();
    image.extend(((offset + total) as u64).to_le_bytes());
    image.extend(0u64.to_le_bytes());
    for (index, (name, content)) in entries.iter().enumerate() {
        let mut field = [0; MODULE_NAME_LENGTH];
        field
            .get_mut(..name.len())
            .ok_or(ImageError::Name { entry: index })?
            .copy_from_slice(name.as_bytes());
        if text(&field) != Some(name) {
            return Err(ImageError::Name { entry: index });
        }
        if entries[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(ImageError::NameTwice { entry: index });
        }
        image.extend(field);
        image.extend((offset as u64).to_le_bytes());
        image.extend((content.len() as u64).to_le_bytes());
        offset += content.len().next_multiple_of(PAGE);
    }
    image.resize(image.len().next_multiple_of(PAGE), 0);
    for (_, content) in entries {
        image.extend_from_slice(content);
        image.resize(image.len().next_multiple_of(PAGE), 0);
    }
    Ok(image)
}

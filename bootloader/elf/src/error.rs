//! Everything that can be wrong with an ELF file, each as a sentence.

use crate::MAX_SEGMENTS;
use core::fmt;

/// Why a file is not loaded. `segment` is the index of the program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    /// It does not begin like an ELF file.
    NotElf,
    /// The file's bytes do not begin at a multiple of 8 in memory.
    Misaligned,
    /// The file ends before what its headers describe.
    Truncated {
        /// Bytes that there should be at least.
        needed: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// It is not for 64-bit processors.
    Class,
    /// It is not little-endian.
    Endianness,
    /// It is for another processor, with this `e_machine`.
    Machine(u16),
    /// It is not an executable with fixed addresses; this is its `e_type`.
    Type(u16),
    /// Its table of program headers has a wrong place or entry size.
    HeaderTable,
    /// There is nothing to load.
    NoSegments,
    /// There are more loadable segments than [`MAX_SEGMENTS`].
    TooManySegments,
    /// It asks for another program to load it (`PT_INTERP`).
    Interpreter,
    /// It is dynamically linked or position independent (`PT_DYNAMIC`).
    Dynamic,
    /// It has thread-local storage (`PT_TLS`).
    ThreadLocal,
    /// A segment does not begin at a page, in memory or in the file.
    Unaligned {
        /// Which one.
        segment: usize,
    },
    /// A segment has more bytes in the file than in memory.
    FileSize {
        /// Which one.
        segment: usize,
    },
    /// A segment lies outside the permitted addresses.
    Address {
        /// Which one.
        segment: usize,
        /// Where it begins.
        start: u64,
    },
    /// A segment is both writable and executable.
    WritableAndExecutable {
        /// Which one.
        segment: usize,
    },
    /// A segment has a page in common with an earlier one.
    Overlap {
        /// Which one.
        segment: usize,
    },
    /// The entry is not in an executable segment.
    Entry(u64),
    /// There is no ABI note.
    NoAbiNote,
    /// The ABI note has another version.
    AbiVersion {
        /// The version in the file.
        found: u32,
        /// The version that is wanted.
        wanted: u32,
    },
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotElf => f.write_str("not an ELF file"),
            Self::Misaligned => {
                f.write_str("the file lies at an odd address, it must begin at a multiple of 8")
            }
            Self::Truncated { needed, found } => write!(
                f,
                "the file is truncated: {found} bytes, its headers describe at least {needed}"
            ),
            Self::Class => f.write_str("the file is not a 64-bit ELF file"),
            Self::Endianness => f.write_str("the file is not little-endian"),
            Self::Machine(found) => write!(
                f,
                "the file is for another processor (machine {found}), x86_64 is wanted (62)"
            ),
            Self::Type(found) => write!(
                f,
                "the file has type {found}: it must be an executable with fixed addresses (2), \
                 linked with -no-pie"
            ),
            Self::HeaderTable => f.write_str(
                "the table of program headers is malformed: entries of 56 bytes at a multiple of \
                 8 are expected",
            ),
            Self::NoSegments => f.write_str("the file has no segment to load"),
            Self::TooManySegments => write!(
                f,
                "the file has too many segments to load, at most {MAX_SEGMENTS} are possible"
            ),
            Self::Interpreter => {
                f.write_str("the file asks for a dynamic linker: link it with -static -no-pie")
            }
            Self::Dynamic => {
                f.write_str("the file is dynamically linked: link it with -static -no-pie")
            }
            Self::ThreadLocal => {
                f.write_str("the file has thread-local storage, which is not supported")
            }
            Self::Unaligned { segment } => write!(
                f,
                "segment {segment} does not begin at a page boundary in memory and in the file"
            ),
            Self::FileSize { segment } => {
                write!(
                    f,
                    "segment {segment} has more bytes in the file than in memory"
                )
            }
            Self::Address { segment, start } => write!(
                f,
                "segment {segment} at {start:#x} lies outside the permitted addresses"
            ),
            Self::WritableAndExecutable { segment } => write!(
                f,
                "segment {segment} is both writable and executable, it may be only one of them"
            ),
            Self::Overlap { segment } => {
                write!(f, "segment {segment} overlaps a page of an earlier segment")
            }
            Self::Entry(entry) => {
                write!(f, "the entry {entry:#x} is not in an executable segment")
            }
            Self::NoAbiNote => {
                f.write_str("the file has no Spillway ABI note: build it against driver-sdk")
            }
            Self::AbiVersion { found, wanted } => write!(
                f,
                "the file was built for ABI version {found}, this system has version {wanted}: \
                 build it again"
            ),
        }
    }
}

impl core::error::Error for ElfError {}

//! From an ELF file to the list of what to map.

use crate::{
    ElfError,
    file::{Executable, range},
    note,
};
use core::ops::Range;
use xmas_elf::program::{ProgramHeader64, Type};

/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;
/// The most segments that a file may ask to load.
pub const MAX_SEGMENTS: usize = 8;

/// What a file must keep to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Every segment lies inside these addresses, its last page included.
    pub addresses: Range<u64>,
    /// The file must carry the ABI note with this version. `None`: no note is asked for.
    pub abi_version: Option<u32>,
}

/// What may be done with the pages of a segment. Readable always; writable or executable, or
/// neither, but never both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// ELF `p_flags` with other bits than read (4), write (2) and execute (1) removed.
    bits: u8,
}

impl Flags {
    /// ELF `PF_X`.
    pub const EXECUTE: u8 = 1;
    /// ELF `PF_W`.
    pub const WRITE: u8 = 2;
    /// ELF `PF_R`.
    pub const READ: u8 = 4;

    /// ELF `p_flags`: 1 execute, 2 write, 4 read.
    pub const fn bits(self) -> u64 {
        self.bits as u64
    }

    /// Whether the program may write there.
    pub const fn is_writable(self) -> bool {
        self.bits & Self::WRITE != 0
    }

    /// Whether the program may run what is there.
    pub const fn is_executable(self) -> bool {
        self.bits & Self::EXECUTE != 0
    }
}

/// A part of the file that is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Where it is mapped; a multiple of a page.
    pub virtual_start: u64,
    /// Bytes in memory, at least 1. What comes after `file_size` is zero.
    pub memory_size: u64,
    /// Where it begins in the file; a multiple of a page.
    pub file_offset: u64,
    /// Bytes in the file, at most `memory_size`.
    pub file_size: u64,
    /// The rights of its pages.
    pub flags: Flags,
}

impl Segment {
    /// Its pages: the first address and one past the last.
    pub const fn pages(&self) -> Range<u64> {
        self.virtual_start..self.virtual_start + self.memory_size.next_multiple_of(PAGE_SIZE)
    }

    /// Its content in the file that the plan was made from. Empty for another, shorter file.
    pub fn content<'a>(&self, file: &'a [u8]) -> &'a [u8] {
        range(file, self.file_offset, self.file_size).unwrap_or(&[])
    }
}

/// What to map, and where to start.
#[derive(Clone, Copy, Debug)]
pub struct LoadPlan {
    /// The first instruction.
    pub entry: u64,
    segments: [Segment; MAX_SEGMENTS],
    count: usize,
    abi_version: Option<u32>,
}

impl LoadPlan {
    /// Checks a whole file against the rules.
    pub fn parse(file: &[u8], rules: &Rules) -> Result<Self, ElfError> {
        let executable = Executable::parse(file)?;
        let mut plan = Self {
            entry: executable.elf.header.pt2.entry_point(),
            segments: [Segment::default(); MAX_SEGMENTS],
            count: 0,
            abi_version: None,
        };
        for (index, header) in executable.program_headers().enumerate() {
            match header.get_type() {
                Ok(Type::Interp) => return Err(ElfError::Interpreter),
                Ok(Type::Dynamic) => return Err(ElfError::Dynamic),
                Ok(Type::Tls) => return Err(ElfError::ThreadLocal),
                Ok(Type::Note) => {
                    let notes = range(file, header.offset, header.file_size)?;
                    plan.abi_version = plan.abi_version.or(note::abi_version(notes));
                }
                Ok(Type::Load) if header.mem_size > 0 || header.file_size > 0 => {
                    let segment = check_segment(index, header, file, rules)?;
                    plan.add(index, segment)?;
                }
                _ => {}
            }
        }
        plan.check_whole(rules)?;
        Ok(plan)
    }

    /// What to map, in the order of the file.
    pub fn segments(&self) -> &[Segment] {
        &self.segments[..self.count]
    }

    /// The version in the file's ABI note, if it has one.
    pub const fn note_version(&self) -> Option<u32> {
        self.abi_version
    }

    fn add(&mut self, index: usize, segment: Segment) -> Result<(), ElfError> {
        let pages = segment.pages();
        let overlaps = |other: &Segment| {
            let other = other.pages();
            pages.start < other.end && other.start < pages.end
        };
        if self.segments().iter().any(overlaps) {
            return Err(ElfError::Overlap { segment: index });
        }
        let place = self.segments.get_mut(self.count);
        *place.ok_or(ElfError::TooManySegments)? = segment;
        self.count += 1;
        Ok(())
    }

    /// What can be said only when all segments are known.
    fn check_whole(&self, rules: &Rules) -> Result<(), ElfError> {
        if self.count == 0 {
            return Err(ElfError::NoSegments);
        }
        let holds_entry = |segment: &Segment| {
            let start = segment.virtual_start;
            segment.flags.is_executable()
                && (start..start + segment.memory_size).contains(&self.entry)
        };
        if !self.segments().iter().any(holds_entry) {
            return Err(ElfError::Entry(self.entry));
        }
        match (rules.abi_version, self.abi_version) {
            (Some(_), None) => Err(ElfError::NoAbiNote),
            (Some(wanted), Some(found)) if wanted != found => {
                Err(ElfError::AbiVersion { found, wanted })
            }
            _ => Ok(()),
        }
    }
}

/// Checks one `PT_LOAD` header on its own.
fn check_segment(
    index: usize,
    header: &ProgramHeader64,
    file: &[u8],
    rules: &Rules,
) -> Result<Segment, ElfError> {
    let start = header.virtual_addr;
    if !start.is_multiple_of(PAGE_SIZE) || !header.offset.is_multiple_of(PAGE_SIZE) {
        return Err(ElfError::Unaligned { segment: index });
    }
    if header.file_size > header.mem_size {
        return Err(ElfError::FileSize { segment: index });
    }
    let outside = ElfError::Address {
        segment: index,
        start,
    };
    let last_page_end = header
        .mem_size
        .checked_next_multiple_of(PAGE_SIZE)
        .and_then(|size| start.checked_add(size))
        .ok_or(outside)?;
    if start < rules.addresses.start || last_page_end > rules.addresses.end {
        return Err(outside);
    }
    range(file, header.offset, header.file_size)?;
    if header.flags.is_write() && header.flags.is_execute() {
        return Err(ElfError::WritableAndExecutable { segment: index });
    }
    Ok(Segment {
        virtual_start: start,
        memory_size: header.mem_size,
        file_offset: header.offset,
        file_size: header.file_size,
        flags: Flags {
            bits: (header.flags.0 & 7) as u8,
        },
    })
}

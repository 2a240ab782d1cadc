//! `xmas-elf` behind checks: it panics on some malformed files, so what it would index or assert
//! is looked at first.

use crate::ElfError;
use core::mem::align_of;
use xmas_elf::{
    ElfFile,
    header::{HeaderPt1, Machine, Type},
    program::{ProgramHeader, ProgramHeader64},
};

/// Bytes of the ELF header of 64-bit files.
const HEADER_SIZE: u64 = 64;
/// Bytes of a program header of 64-bit files.
const PROGRAM_HEADER_SIZE: u16 = size_of::<ProgramHeader64>() as u16;

/// An x86_64 executable whose table of program headers can be read.
pub struct Executable<'a> {
    pub elf: ElfFile<'a>,
}

impl<'a> Executable<'a> {
    /// Checks the ELF header and where the program headers lie.
    pub fn parse(file: &'a [u8]) -> Result<Self, ElfError> {
        let elf = open(file)?;
        let header = elf.header.pt2;
        match header.machine().as_machine() {
            Machine::X86_64 => {}
            _ => return Err(ElfError::Machine(u16_at(file, 18))),
        }
        match header.type_().as_type() {
            Type::Executable => {}
            _ => return Err(ElfError::Type(u16_at(file, 16))),
        }
        if header.ph_count() == 0 {
            return Err(ElfError::NoSegments);
        }
        let alignment = align_of::<ProgramHeader64>() as u64;
        if header.ph_entry_size() != PROGRAM_HEADER_SIZE
            || !header.ph_offset().is_multiple_of(alignment)
        {
            return Err(ElfError::HeaderTable);
        }
        let table = u64::from(header.ph_count()) * u64::from(PROGRAM_HEADER_SIZE);
        range(file, header.ph_offset(), table)?;
        Ok(Self { elf })
    }

    /// The program headers.
    pub fn program_headers(&self) -> impl Iterator<Item = &'a ProgramHeader64> + '_ {
        self.elf.program_iter().filter_map(|header| match header {
            ProgramHeader::Ph64(header) => Some(header),
            ProgramHeader::Ph32(_) => None,
        })
    }
}

/// Checks that a file is a 64-bit little-endian ELF file with a whole header.
pub fn open(file: &[u8]) -> Result<ElfFile<'_>, ElfError> {
    if file.get(..4) != Some(&xmas_elf::header::MAGIC[..]) {
        return Err(ElfError::NotElf);
    }
    range(file, 0, HEADER_SIZE)?;
    // `e_ident[EI_CLASS]` and `e_ident[EI_DATA]`: 2 is 64-bit, 1 is little-endian.
    if file[4] != 2 {
        return Err(ElfError::Class);
    }
    if file[5] != 1 {
        return Err(ElfError::Endianness);
    }
    // `xmas-elf` reads headers in place and asserts their alignment.
    if !file
        .as_ptr()
        .addr()
        .is_multiple_of(align_of::<u64>().max(align_of::<HeaderPt1>()))
    {
        return Err(ElfError::Misaligned);
    }
    ElfFile::new(file).map_err(|_| ElfError::NotElf)
}

/// The bytes `offset..offset + length` of a file, or that it is truncated.
pub fn range(file: &[u8], offset: u64, length: u64) -> Result<&[u8], ElfError> {
    let end = offset.saturating_add(length);
    let truncated = ElfError::Truncated {
        needed: end,
        found: file.len() as u64,
    };
    if end > file.len() as u64 {
        return Err(truncated);
    }
    file.get(offset as usize..end as usize).ok_or(truncated)
}

fn u16_at(file: &[u8], at: usize) -> u16 {
    file.get(at..)
        .and_then(|bytes| bytes.first_chunk())
        .map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

//! Small ELF files for tests: right ones, and [`broken`] ones with the error that each must give.
//!
//! ```text
//! ELF header, program headers, then each part at a page of its own,
//! then (only with symbols) the symbol table, its names and the section headers
//! ```

extern crate alloc;

use crate::{ElfError, Flags, PAGE_SIZE};
use alloc::{vec, vec::Vec};

/// `p_type` of a segment that is loaded.
pub const LOAD: u32 = 1;
/// `p_type` of dynamic linking information.
pub const DYNAMIC: u32 = 2;
/// `p_type` of the name of a dynamic linker.
pub const INTERPRETER: u32 = 3;
/// `p_type` of notes.
pub const NOTE: u32 = 4;
/// `p_type` of thread-local storage.
pub const THREAD_LOCAL: u32 = 7;

const READ: u32 = Flags::READ as u32;
const WRITE: u32 = Flags::WRITE as u32;
const EXECUTE: u32 = Flags::EXECUTE as u32;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// A program header and what it points to.
#[derive(Clone, Debug)]
pub struct Part {
    /// `p_type`.
    pub kind: u32,
    /// `p_flags`.
    pub flags: u32,
    /// `p_vaddr`.
    pub address: u64,
    /// The bytes in the file; `p_filesz` is their number.
    pub content: Vec<u8>,
    /// `p_memsz`.
    pub memory_size: u64,
    /// Added to `p_offset`, which otherwise is where the content lies.
    pub misplaced_by: u64,
}

/// A function in the symbol table.
#[derive(Clone, Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its first instruction.
    pub address: u64,
    /// Its bytes; 0 if unknown.
    pub size: u64,
}

/// An ELF file. Change what should be wrong, then [`Elf::build`] it.
#[derive(Clone, Debug)]
pub struct Elf {
    /// `e_ident[EI_CLASS]`: 2 is 64-bit.
    pub class: u8,
    /// `e_ident[EI_DATA]`: 1 is little-endian.
    pub endianness: u8,
    /// `e_type`: 2 is an executable with fixed addresses.
    pub file_type: u16,
    /// `e_machine`: 62 is x86_64.
    pub machine: u16,
    /// `e_entry`.
    pub entry: u64,
    /// The program headers with their contents.
    pub parts: Vec<Part>,
    /// The symbols; all lie in the first part.
    pub symbols: Vec<Label>,
}

impl Elf {
    /// A right executable at `base`, a multiple of a page: a page each of text (an endless loop),
    /// read-only data, and data of which only 16 bytes are in the file.
    pub fn at(base: u64) -> Self {
        let part = |flags, page, content: &[u8], memory_size| Part {
            kind: LOAD,
            flags,
            address: base + page * PAGE_SIZE,
            content: content.to_vec(),
            memory_size,
            misplaced_by: 0,
        };
        Self {
            class: 2,
            endianness: 1,
            file_type: 2,
            machine: 62,
            entry: base,
            parts: vec![
                part(READ | EXECUTE, 0, &[0xeb, 0xfe], 2),
                part(READ, 1, b"constant", 8),
                part(READ | WRITE, 2, &[1; 16], 3000),
            ],
            symbols: Vec::new(),
        }
    }

    /// Adds the ABI note with this version.
    pub fn with_abi_note(mut self, version: u32) -> Self {
        let mut content = Vec::new();
        for word in [9u32, 4, 1] {
            content.extend(word.to_le_bytes());
        }
        content.extend(b"Spillway\0\0\0\0");
        content.extend(version.to_le_bytes());
        self.parts.push(Part {
            kind: NOTE,
            flags: READ,
            address: 0,
            memory_size: content.len() as u64,
            content,
            misplaced_by: 0,
        });
        self
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let page = PAGE_SIZE as usize;
        let mut file = vec![0; (HEADER + self.parts.len() * PROGRAM_HEADER).next_multiple_of(page)];
        for (index, part) in self.parts.iter().enumerate() {
            let offset = file.len() as u64 + part.misplaced_by;
            let header = [
                u64::from(part.kind) | u64::from(part.flags) << 32,
                offset,
                part.address,
                part.address,
                part.content.len() as u64,
                part.memory_size,
                PAGE_SIZE,
            ];
            put_words(&mut file, HEADER + index * PROGRAM_HEADER, &header);
            file.extend_from_slice(&part.content);
            file.resize(file.len().next_multiple_of(page), 0);
        }
        let sections = if self.symbols.is_empty() {
            0
        } else {
            self.append_symbols(&mut file)
        };
        self.put_header(&mut file, sections);
        file
    }

    /// `sections` is where their headers begin; 0 if there are none.
    fn put_header(&self, file: &mut [u8], sections: u64) {
        file[..4].copy_from_slice(b"\x7fELF");
        file[4..8].copy_from_slice(&[self.class, self.endianness, 1, 0]);
        let types = u64::from(self.file_type) | u64::from(self.machine) << 16 | 1 << 32;
        let header_size = HEADER as u64;
        put_words(file, 16, &[types, self.entry, header_size, sections, 0]);
        let section_count = if sections == 0 { 0 } else { 4 };
        let counts = [
            HEADER as u16,
            PROGRAM_HEADER as u16,
            self.parts.len() as u16,
            64,
            section_count,
            0,
        ];
        for (field, count) in file[52..64].chunks_exact_mut(2).zip(counts) {
            field.copy_from_slice(&count.to_le_bytes());
        }
    }

    /// Writes symbols, names and the headers of four sections: none, text, symbols, names.
    fn append_symbols(&self, file: &mut Vec<u8>) -> u64 {
        let (mut symbols, mut names) = (vec![0; 24], vec![0]);
        for label in &self.symbols {
            symbols.extend((names.len() as u32).to_le_bytes());
            // A global function in section 1.
            symbols.extend([0x12, 0, 1, 0]);
            symbols.extend(label.address.to_le_bytes());
            symbols.extend(label.size.to_le_bytes());
            names.extend(label.name.bytes().chain([0]));
        }
        let (symbols_at, names_at) = (file.len(), file.len() + symbols.len());
        file.extend_from_slice(&symbols);
        file.extend_from_slice(&names);
        file.resize(file.len().next_multiple_of(8), 0);
        let sections = file.len();
        file.resize(sections + 4 * 64, 0);
        let text = &self.parts[0];
        let text_header = [
            1 << 32,
            6,
            text.address,
            PAGE_SIZE,
            text.memory_size,
            0,
            16,
            0,
        ];
        put_words(file, sections + 64, &text_header);
        let size = symbols.len() as u64;
        let symbol_header = [2 << 32, 0, 0, symbols_at as u64, size, 3, 8, 24];
        put_words(file, sections + 128, &symbol_header);
        let name_header = [3 << 32, 0, 0, names_at as u64, names.len() as u64, 0, 1, 0];
        put_words(file, sections + 192, &name_header);
        sections as u64
    }
}

fn put_words(file: &mut [u8], at: usize, words: &[u64]) {
    for (place, word) in file[at..].chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}

/// A file with one thing wrong.
#[derive(Clone, Debug)]
pub struct Broken {
    /// What is wrong, in a few words.
    pub name: &'static str,
    /// The file.
    pub file: Vec<u8>,
    /// What loading it must say.
    pub error: ElfError,
}

/// One file for each way in which an executable at `base` can be wrong, for a reader that permits
/// addresses from `base` on and asks for no ABI note.
pub fn broken(base: u64) -> Vec<Broken> {
    let good = Elf::at(base).build();
    let cut = |length: usize, needed| Broken {
        name: "truncated",
        file: good[..length].to_vec(),
        error: ElfError::Truncated {
            needed,
            found: length as u64,
        },
    };
    let changed = |name, error, change: &dyn Fn(&mut Elf)| {
        let mut elf = Elf::at(base);
        change(&mut elf);
        Broken {
            name,
            file: elf.build(),
            error,
        }
    };
    let added = |name, error, kind| {
        changed(name, error, &|elf| {
            let mut part = elf.parts[1].clone();
            part.kind = kind;
            elf.parts.push(part);
        })
    };
    vec![
        Broken {
            name: "text instead of ELF",
            file: b"#!/bin/sh\n".repeat(100),
            error: ElfError::NotElf,
        },
        cut(20, 64),
        cut(100, 64 + 3 * 56),
        cut(3 * PAGE_SIZE as usize + 5, 3 * PAGE_SIZE + 16),
        changed("32-bit", ElfError::Class, &|elf| elf.class = 1),
        changed("big-endian", ElfError::Endianness, &|elf| {
            elf.endianness = 2
        }),
        changed("for AArch64", ElfError::Machine(183), &|elf| {
            elf.machine = 183
        }),
        changed("position independent", ElfError::Type(3), &|elf| {
            elf.file_type = 3
        }),
        changed("nothing to load", ElfError::NoSegments, &|elf| {
            elf.parts.clear()
        }),
        changed("nine segments", ElfError::TooManySegments, &|elf| {
            for page in 3..9 {
                let mut part = elf.parts[1].clone();
                part.address = base + page * PAGE_SIZE;
                elf.parts.push(part);
            }
        }),
        added("with a dynamic linker", ElfError::Interpreter, INTERPRETER),
        added("dynamically linked", ElfError::Dynamic, DYNAMIC),
        added(
            "with thread-local storage",
            ElfError::ThreadLocal,
            THREAD_LOCAL,
        ),
        changed(
            "segment off its page",
            ElfError::Unaligned { segment: 1 },
            &|elf| {
                elf.parts[1].address += 16;
            },
        ),
        changed(
            "content off its page",
            ElfError::Unaligned { segment: 1 },
            &|elf| {
                elf.parts[1].misplaced_by = 4;
            },
        ),
        changed(
            "more file than memory",
            ElfError::FileSize { segment: 2 },
            &|elf| {
                elf.parts[2].memory_size = 15;
            },
        ),
        changed(
            "outside the permitted addresses",
            ElfError::Address {
                segment: 1,
                start: base - PAGE_SIZE,
            },
            &|elf| elf.parts[1].address = base - PAGE_SIZE,
        ),
        changed(
            "round the end of the address space",
            ElfError::Address {
                segment: 2,
                start: base + 2 * PAGE_SIZE,
            },
            &|elf| elf.parts[2].memory_size = u64::MAX,
        ),
        changed(
            "writable and executable",
            ElfError::WritableAndExecutable { segment: 0 },
            &|elf| elf.parts[0].flags = READ | WRITE | EXECUTE,
        ),
        changed("overlapping", ElfError::Overlap { segment: 2 }, &|elf| {
            elf.parts[2].address = elf.parts[1].address;
        }),
        changed(
            "entry in data",
            ElfError::Entry(base + 2 * PAGE_SIZE),
            &|elf| {
                elf.entry = base + 2 * PAGE_SIZE;
            },
        ),
    ]
}

//! Which function an address belongs to, for backtraces.

use crate::file::{open, range};
use xmas_elf::{
    ElfFile,
    sections::{SectionHeader, SectionHeader_, ShType},
};

/// Bytes of a section header of 64-bit files.
const SECTION_HEADER_SIZE: u64 = size_of::<SectionHeader_<u64>>() as u64;
/// Bytes of a symbol of 64-bit files.
const SYMBOL_SIZE: usize = 24;
/// `st_info & 15` of a label without a type, as assembly has them.
const NO_TYPE: u8 = 0;
/// `st_info & 15` of a function.
const FUNCTION: u8 = 2;

/// The name, as the linker knows it, of the function that `address` is in, and the bytes from its
/// start. A label without a size reaches to the next symbol of its section. `None` if the file
/// has no symbols, none fits, or it is malformed.
pub fn lookup(file: &[u8], address: u64) -> Option<(&str, u64)> {
    let elf = open(file).ok()?;
    let table = sections(file, &elf).find(|s| s.get_type() == Ok(ShType::SymTab))?;
    let names = sections(file, &elf).nth(table.link() as usize)?;
    let names = range(file, names.offset(), names.size()).ok()?;
    let code = sections(file, &elf).position(|s| holds(&s, address))?;
    let symbols = range(file, table.offset(), table.size()).ok()?;
    let best = symbols
        .chunks_exact(SYMBOL_SIZE)
        .filter_map(Symbol::read)
        .filter(|symbol| symbol.begins_before(address, code))
        .max_by_key(|symbol| (symbol.value, symbol.size))
        .filter(|symbol| symbol.size == 0 || address - symbol.value < symbol.size)?;
    let name = names.get(best.name as usize..)?;
    let name = &name[..name.iter().position(|&byte| byte == 0)?];
    Some((core::str::from_utf8(name).ok()?, address - best.value))
}

/// The section headers; none if their table is malformed or outside the file.
fn sections<'a>(
    file: &'a [u8],
    elf: &'a ElfFile<'a>,
) -> impl Iterator<Item = SectionHeader<'a>> + use<'a> {
    let header = elf.header.pt2;
    let count = u64::from(header.sh_count());
    // `xmas-elf` asserts alignment and size, and has no indices from `SHN_LORESERVE` on.
    let readable = u64::from(header.sh_entry_size()) == SECTION_HEADER_SIZE
        && header.sh_offset().is_multiple_of(8)
        && count < u64::from(xmas_elf::sections::SHN_LORESERVE)
        && range(file, header.sh_offset(), count * SECTION_HEADER_SIZE).is_ok();
    let count = if readable { header.sh_count() } else { 0 };
    (0..count).filter_map(|index| elf.section_header(index).ok())
}

/// Whether the section is loaded and `address` is in it.
fn holds(section: &SectionHeader, address: u64) -> bool {
    section.address() != 0
        && address
            .checked_sub(section.address())
            .is_some_and(|offset| offset < section.size())
}

/// An entry of the symbol table (System V ABI, "Symbol Table").
struct Symbol {
    name: u32,
    kind: u8,
    section: u16,
    value: u64,
    size: u64,
}

impl Symbol {
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            name: u32::from_le_bytes(*bytes.first_chunk()?),
            kind: bytes.get(4)? & 15,
            section: u16::from_le_bytes(*bytes.get(6..)?.first_chunk()?),
            value: u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?),
            size: u64::from_le_bytes(*bytes.get(16..)?.first_chunk()?),
        })
    }

    /// Whether this names code of section `code` at or before `address`.
    fn begins_before(&self, address: u64, code: usize) -> bool {
        matches!(self.kind, NO_TYPE | FUNCTION)
            && self.name != 0
            && usize::from(self.section) == code
            && self.value <= address
    }
}

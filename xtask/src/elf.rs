//! What xtask does with ELF files: take out debug information, and check programs.

use anyhow::{Result, bail, ensure};
use object::{
    Object, ObjectSection,
    build::elf::Builder,
    read::elf::{ElfFile64, FileHeader},
};
use spillway_abi::{ABI_VERSION, note};

/// The file without its debug sections. Symbols stay: panics are reported with them.
pub fn without_debug_information(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(bytes)?;
    for section in builder.sections.iter_mut() {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name == b".comment";
    }
    let mut out = Vec::new();
    builder.write(&mut out)?;
    Ok(out)
}

/// Refuses a file that the kernel would refuse, with the reason.
pub fn check_program(bytes: &[u8]) -> Result<()> {
    let file = ElfFile64::<object::Endianness>::parse(bytes)?;
    let header = file.elf_header();
    ensure!(
        header.e_type(file.endian()) == object::elf::ET_EXEC,
        "it is not a statically linked executable; build it with `cargo xtask`"
    );
    match abi_version(&file)? {
        Some(ABI_VERSION) => Ok(()),
        Some(other) => bail!(
            "it was built for version {other} of the ABI, this tree has version {ABI_VERSION}; build it again"
        ),
        None => bail!("it has no ABI note; make it depend on driver-sdk"),
    }
}

fn abi_version(file: &ElfFile64<'_>) -> Result<Option<u32>> {
    for section in file.sections() {
        if section.name() != Ok(".note.spillway") {
            continue;
        }
        let data = section.data()?;
        let word = |at: usize| {
            let bytes = data.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let name = data.get(12..12 + note::NAME.len());
        if name == Some(note::NAME) && word(8) == Some(note::TYPE_ABI) {
            return Ok(word(24));
        }
        bail!("its ABI note is damaged; build it again");
    }
    Ok(None)
}

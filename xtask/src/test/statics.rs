//! Checks of the linked binaries, without running them.
//!
//! A compiler flag that was forgotten is silent: the kernel works until an interrupt arrives at
//! the wrong moment. So what was linked is looked at, not what was asked for.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use object::read::elf::{ElfFile64, ProgramHeader};
use spillway_abi::PAGE_SIZE;

use super::{red_zone, tally::Tally};
use crate::{elf, image::BootFiles};

/// Checks every binary that a machine boots from.
pub fn run(files: &BootFiles, tally: &mut Tally) -> Result<()> {
    check_privileged("loader", &files.loader, tally)?;
    for (name, path) in &files.symbols {
        if name == "kernel" {
            check_privileged(name, path, tally)?;
            continue;
        }
        let bytes = read(path)?;
        let note = elf::check_program(&bytes).map_err(|error| format!("{error:#}"));
        tally.note(&format!("static::{name}::can_be_started"), note);
        tally.note(
            &format!("static::{name}::no_page_writable_and_executable"),
            pages(&bytes),
        );
    }
    Ok(())
}

fn check_privileged(name: &str, path: &Path, tally: &mut Tally) -> Result<()> {
    let bytes = read(path)?;
    tally.note(
        &format!("static::{name}::no_page_writable_and_executable"),
        pages(&bytes),
    );
    tally.note(
        &format!("static::{name}::no_red_zone_access"),
        red_zone::check(&bytes),
    );
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Whether no page is in two segments' reach of which one is writable and one executable.
fn pages(bytes: &[u8]) -> Result<(), String> {
    let file: ElfFile64<'_> = ElfFile64::parse(bytes).map_err(|error| error.to_string())?;
    let (mut writable, mut executable) = (Vec::new(), Vec::new());
    for header in file.elf_program_headers() {
        let endian = file.endian();
        if header.p_type(endian) != object::elf::PT_LOAD {
            continue;
        }
        let start = header.p_vaddr(endian) / PAGE_SIZE;
        let end = (header.p_vaddr(endian) + header.p_memsz(endian)).div_ceil(PAGE_SIZE);
        let flags = header.p_flags(endian);
        if flags.contains(object::elf::PF_W) {
            writable.push(start..end);
        }
        if flags.contains(object::elf::PF_X) {
            executable.push(start..end);
        }
    }
    for pages in &writable {
        if executable
            .iter()
            .any(|other| pages.start < other.end && other.start < pages.end)
        {
            let start = pages.start * PAGE_SIZE;
            return Err(format!(
                "the segment at {start:#x} is writable and executable"
            ));
        }
    }
    match executable.is_empty() {
        true => Err("there is no executable segment; this check saw nothing".into()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with two program headers: address, bytes, flags.
    fn file(segments: [(u64, u64, u32); 2]) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 2 * 56];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[16] = 2;
        bytes[18] = 62;
        bytes[20] = 1;
        bytes[32] = 64;
        (bytes[52], bytes[54], bytes[56]) = (64, 56, 2);
        for (index, (address, length, flags)) in segments.into_iter().enumerate() {
            let header = &mut bytes[64 + 56 * index..];
            header[0] = 1;
            header[4..8].copy_from_slice(&flags.to_le_bytes());
            header[16..24].copy_from_slice(&address.to_le_bytes());
            header[40..48].copy_from_slice(&length.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn segments_apart_are_fine_and_those_that_share_a_page_are_not() {
        assert_eq!(pages(&file([(0x1000, 0x1000, 5), (0x2000, 1, 6)])), Ok(()));
        assert!(pages(&file([(0x1000, 0x1001, 5), (0x2800, 1, 6)])).is_err());
        assert!(pages(&file([(0x1000, 0x1000, 7), (0x2000, 1, 6)])).is_err());
        assert!(pages(&file([(0x1000, 0x1000, 4), (0x2000, 1, 6)])).is_err());
        assert!(pages(b"text").is_err());
    }
}

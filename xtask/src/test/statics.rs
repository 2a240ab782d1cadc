//! Checks of the linked binaries, without running them.
//!
//! A compiler flag that was forgotten is silent: the kernel works until an interrupt arrives at
//! the wrong moment. So what was linked is looked at, not what was asked for.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use object::{
    Object, ObjectSection, ObjectSymbol, SectionKind,
    read::elf::{ElfFile64, ProgramHeader},
};
use spillway_abi::PAGE_SIZE;

use super::tally::Tally;
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
        red_zone(&bytes),
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

/// Whether no instruction reaches below the stack pointer.
fn red_zone(bytes: &[u8]) -> Result<(), String> {
    let file: ElfFile64<'_> = ElfFile64::parse(bytes).map_err(|error| error.to_string())?;
    let mut starts: BTreeSet<u64> = file.symbols().map(|symbol| symbol.address()).collect();
    let mut seen = 0u64;
    for section in file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
    {
        let data = section.data().map_err(|error| error.to_string())?;
        let (first, end) = (section.address(), section.address() + data.len() as u64);
        starts.insert(first);
        let mut inside: Vec<_> = starts.range(first..end).copied().collect();
        inside.push(end);
        // Decoding begins again at every symbol, so that data between functions confuses little.
        for window in inside.windows(2) {
            let code = &data[(window[0] - first) as usize..(window[1] - first) as usize];
            if let Some(instruction) = below_the_stack(code, window[0], &mut seen) {
                return Err(format!(
                    "`{instruction}` at {:#x} in {}",
                    instruction.ip(),
                    owner(&file, window[0])
                ));
            }
        }
    }
    match seen {
        0 => Err("there is no code; this check saw nothing".into()),
        _ => Ok(()),
    }
}

fn below_the_stack(code: &[u8], address: u64, seen: &mut u64) -> Option<Instruction> {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        *seen += 1;
        if is_red_zone_access(&instruction) {
            return Some(instruction);
        }
    }
    None
}

/// An access at a negative distance from the stack pointer. `lea` computes and does not access;
/// the frame pointer's negative distances are above the stack pointer and are no concern.
fn is_red_zone_access(instruction: &Instruction) -> bool {
    let in_memory = (0..instruction.op_count()).any(|n| instruction.op_kind(n) == OpKind::Memory);
    in_memory
        && instruction.memory_base() == Register::RSP
        && (instruction.memory_displacement64() as i64) < 0
        && !matches!(instruction.mnemonic(), Mnemonic::Lea | Mnemonic::Nop)
}

fn owner(file: &ElfFile64<'_>, address: u64) -> String {
    let symbol = file
        .symbols()
        .find(|symbol| symbol.address() == address && !symbol.is_local());
    let symbol = symbol.or_else(|| file.symbols().find(|symbol| symbol.address() == address));
    let name = symbol.and_then(|symbol| symbol.name().ok().map(String::from));
    name.unwrap_or_else(|| "code without a symbol".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flagged(code: &[u8]) -> bool {
        below_the_stack(code, 0x1000, &mut 0).is_some()
    }

    #[test]
    fn only_accesses_below_the_stack_pointer_are_flagged() {
        assert!(flagged(&[0x48, 0x89, 0x44, 0x24, 0xf8])); // mov [rsp-8], rax
        assert!(flagged(&[0x90, 0x8b, 0x84, 0x24, 0x80, 0xff, 0xff, 0xff])); // mov eax, [rsp-0x80]
        assert!(!flagged(&[0x48, 0x89, 0x44, 0x24, 0x08])); // mov [rsp+8], rax
        assert!(!flagged(&[0x48, 0x8d, 0x64, 0x24, 0xf8])); // lea rsp, [rsp-8]
        assert!(!flagged(&[0x48, 0x89, 0x45, 0xf8])); // mov [rbp-8], rax
        assert!(!flagged(&[0x50, 0xc3])); // push rax; ret
    }

    #[test]
    fn this_test_itself_uses_the_red_zone_or_at_least_has_code() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(pages(&own), Ok(()));
        assert!(red_zone(&own).is_err_and(|reason| reason.contains("rsp-")));
    }

    #[test]
    fn what_is_not_elf_is_refused() {
        assert!(pages(b"text").is_err());
        assert!(red_zone(b"text").is_err());
    }
}

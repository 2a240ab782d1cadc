//! What xtask does with ELF files: take out debug information, and check programs.

use anyhow::{Result, anyhow};
use object::{Object, ObjectSegment, SegmentFlags, build::elf::Builder, elf::PF_X};
use spillway_abi::{
    ABI_VERSION,
    layout::{MAP_START, USER_START},
};
use spillway_elf::{LoadPlan, Rules};

/// The file without its debug sections. Symbols stay: panics are reported with them.
pub fn without_debug_information(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(bytes)?;
    for section in builder.sections.iter_mut() {
        let name = section.name.as_slice();
        // `.debug_gdb_scripts` is loaded: that one belongs to the program.
        section.delete = !section.is_alloc() && name.starts_with(b".debug_");
    }
    let mut out = Vec::new();
    builder.write(&mut out)?;
    Ok(out)
}

/// Bytes of a program's code, and of everything else that is loaded: constants, data, and zeros.
pub fn sizes(bytes: &[u8]) -> Result<(u64, u64)> {
    let file = object::File::parse(bytes)?;
    let (mut text, mut data) = (0, 0);
    for segment in file.segments() {
        let is_code = matches!(
            segment.flags(),
            SegmentFlags::Elf { p_flags, .. } if p_flags.0 & PF_X.0 != 0
        );
        *(if is_code { &mut text } else { &mut data }) += segment.size();
    }
    Ok((text, data))
}

/// Refuses a program that `init` or the kernel would refuse, with the reason.
pub fn check_program(bytes: &[u8]) -> Result<()> {
    let rules = Rules {
        addresses: USER_START..MAP_START,
        abi_version: Some(ABI_VERSION),
    };
    match LoadPlan::parse(bytes, &rules) {
        Ok(_) => Ok(()),
        Err(error) => Err(anyhow!("{error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{ObjectSection, ObjectSymbol};
    use std::collections::BTreeSet;

    #[test]
    fn without_debug_information_the_rest_is_the_same() {
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let stripped = without_debug_information(&whole).unwrap();
        let whole = object::File::parse(&*whole).unwrap();
        let stripped = object::File::parse(&*stripped).unwrap();
        assert!(whole.section_by_name(".debug_info").is_some());
        assert!(stripped.section_by_name(".debug_info").is_none());
        let symbols = |file: &object::File<'_>| {
            let all = file.symbols().filter(|symbol| symbol.is_definition());
            all.map(|symbol| (symbol.address(), symbol.name().unwrap().to_string()))
                .collect::<BTreeSet<_>>()
        };
        let (old, new) = (symbols(&whole), symbols(&stripped));
        let different: Vec<_> = old.symmetric_difference(&new).take(5).collect();
        assert!(different.is_empty(), "{different:?}");
        for (old, new) in whole.segments().zip(stripped.segments()) {
            assert_eq!((old.address(), old.size()), (new.address(), new.size()));
            assert_eq!(new.file_range().0 % 4096, new.address() % 4096);
        }
        let text = |file: &object::File<'_>| {
            file.section_by_name(".text")
                .unwrap()
                .data()
                .unwrap()
                .to_vec()
        };
        assert!(text(&whole) == text(&stripped));
    }

    #[test]
    fn code_is_told_from_data() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let (text, data) = sizes(&own).unwrap();
        let file = object::File::parse(&*own).unwrap();
        let section = |name| file.section_by_name(name).unwrap().size();
        assert!(text >= section(".text") && text < section(".text") + section(".rodata"));
        assert!(data >= section(".rodata") + section(".data") + section(".bss"));
        assert!(sizes(b"text").is_err());
    }

    #[test]
    fn the_host_s_own_programs_cannot_run_on_spillway() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(check_program(&own).is_err());
        assert!(
            check_program(b"text")
                .unwrap_err()
                .to_string()
                .contains("ELF")
        );
        assert!(without_debug_information(b"text").is_err());
    }
}

//! Right files load as they say, each broken one gives its own error, and no bytes cause a panic.

extern crate std;

use crate::{
    ElfError, LoadPlan, MAX_SEGMENTS, PAGE_SIZE, Rules,
    fixture::{self, Elf, Label},
    symbols,
};
use proptest::prelude::*;
use std::{string::ToString, vec, vec::Vec};

const BASE: u64 = 0xffff_ffff_8000_0000;

fn rules() -> Rules {
    Rules {
        addresses: BASE..u64::MAX - (PAGE_SIZE - 1),
        abi_version: None,
    }
}

fn parse(file: &[u8]) -> Result<LoadPlan, ElfError> {
    LoadPlan::parse(file, &rules())
}

#[test]
fn a_right_file_loads_as_it_says() {
    let file = Elf::at(BASE).build();
    let plan = parse(&file).unwrap();
    assert_eq!(plan.entry, BASE);
    assert_eq!(plan.note_version(), None);
    let [text, constants, data] = plan.segments() else {
        panic!("three segments");
    };
    assert_eq!(text.pages(), BASE..BASE + PAGE_SIZE);
    assert_eq!(text.content(&file), [0xeb, 0xfe]);
    assert!(text.flags.is_executable() && !text.flags.is_writable());
    assert_eq!(constants.flags.bits(), 4);
    assert_eq!((data.file_size, data.memory_size), (16, 3000));
    assert!(data.flags.is_writable() && !data.flags.is_executable());
}

#[test]
fn each_broken_file_gives_its_own_error() {
    for broken in fixture::broken(BASE) {
        let found = parse(&broken.file).map(|plan| plan.entry);
        assert_eq!(found, Err(broken.error), "{}", broken.name);
        assert!(broken.error.to_string().len() > 10);
    }
}

#[test]
fn there_may_be_as_many_segments_as_the_limit() {
    let mut elf = Elf::at(BASE);
    for page in 3..MAX_SEGMENTS as u64 {
        let mut part = elf.parts[1].clone();
        part.address = BASE + page * PAGE_SIZE;
        elf.parts.push(part);
    }
    assert_eq!(parse(&elf.build()).unwrap().segments().len(), MAX_SEGMENTS);
}

#[test]
fn the_last_permitted_page_may_be_used() {
    let rules = Rules {
        addresses: BASE..BASE + 3 * PAGE_SIZE,
        abi_version: None,
    };
    let mut elf = Elf::at(BASE);
    elf.parts[2].memory_size = PAGE_SIZE;
    assert!(LoadPlan::parse(&elf.build(), &rules).is_ok());
    elf.parts[2].memory_size += 1;
    let start = BASE + 2 * PAGE_SIZE;
    let error = LoadPlan::parse(&elf.build(), &rules).unwrap_err();
    assert_eq!(error, ElfError::Address { segment: 2, start });
}

#[test]
fn the_abi_note_is_asked_for_by_the_rules() {
    let rules = Rules {
        abi_version: Some(7),
        ..rules()
    };
    let load = |elf: Elf| LoadPlan::parse(&elf.build(), &rules).map(|plan| plan.note_version());
    assert_eq!(load(Elf::at(BASE)), Err(ElfError::NoAbiNote));
    assert_eq!(load(Elf::at(BASE).with_abi_note(7)), Ok(Some(7)));
    let other = ElfError::AbiVersion {
        found: 8,
        wanted: 7,
    };
    assert_eq!(load(Elf::at(BASE).with_abi_note(8)), Err(other));
}

#[test]
fn the_note_is_found_behind_others() {
    let mut elf = Elf::at(BASE).with_abi_note(3);
    let ours = elf.parts[3].content.clone();
    let mut notes = vec![4, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0];
    notes.extend(b"GNU\0hello\0\0\0");
    notes.extend(&ours);
    elf.parts[3].content = notes;
    assert_eq!(parse(&elf.build()).unwrap().note_version(), Some(3));
    elf.parts[3].content = ours[..ours.len() - 1].to_vec();
    assert_eq!(parse(&elf.build()).unwrap().note_version(), None);
}

#[test]
fn a_file_at_an_odd_address_is_refused() {
    let file = Elf::at(BASE).build();
    let mut bytes = vec![0; file.len() + 8];
    let errors = (0..8).filter(|&shift| {
        bytes[shift..][..file.len()].copy_from_slice(&file);
        matches!(parse(&bytes[shift..]), Err(ElfError::Misaligned))
    });
    assert_eq!(errors.count(), 7);
}

#[test]
fn tables_at_the_end_of_everything_are_refused() {
    let mut file = with_symbols().build();
    file[40..48].copy_from_slice(&(!7u64).to_le_bytes());
    assert_eq!(symbols::lookup(&file, BASE), None);
    file[32..40].copy_from_slice(&(!7u64).to_le_bytes());
    assert!(matches!(parse(&file), Err(ElfError::Truncated { .. })));
    file[32..40].fill(0);
    assert_eq!(parse(&file).unwrap_err(), ElfError::NoSegments);
}

fn with_symbols() -> Elf {
    let mut elf = Elf::at(BASE);
    elf.parts[0].content = vec![0x90; 100];
    elf.parts[0].memory_size = 100;
    let label = |name, offset, size| Label {
        name,
        address: BASE + offset,
        size,
    };
    elf.symbols = vec![
        label("first", 0, 10),
        label("stub", 32, 0),
        label("last", 40, 8),
    ];
    elf
}

#[test]
fn an_address_belongs_to_the_function_that_it_is_in() {
    let file = with_symbols().build();
    let lookup = |offset| symbols::lookup(&file, BASE + offset);
    assert_eq!(lookup(0), Some(("first", 0)));
    assert_eq!(lookup(9), Some(("first", 9)));
    assert_eq!(lookup(10), None);
    assert_eq!(lookup(39), Some(("stub", 7)));
    assert_eq!(lookup(41), Some(("last", 1)));
    // A label without a size ends where the next symbol begins.
    assert_eq!(lookup(60), None);
    assert_eq!(lookup(100), None);
    assert_eq!(symbols::lookup(&Elf::at(BASE).build(), BASE), None);
}

/// Bytes of a right file with some of them changed, cut off somewhere.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let file = with_symbols().with_abi_note(1).build();
    // Most of the file is padding: nine of ten changes go to headers and tables.
    let headers = prop::collection::vec((0usize..512, any::<u8>()), 0..8);
    let tables = prop::collection::vec((0usize..700, any::<u8>()), 0..4);
    let anywhere = prop::collection::vec(change, 0..4);
    let length = prop_oneof![4 => Just(file.len()), 1 => 0..file.len()];
    (headers, tables, anywhere, length).prop_map(move |(headers, tables, anywhere, length)| {
        let mut file = file.clone();
        for (at, value) in headers {
            file[at] = value;
        }
        for (at, value) in tables {
            let at = file.len() - 1 - at;
            file[at] = value;
        }
        for (at, value) in anywhere {
            let at = at.index(file.len());
            file[at] = value;
        }
        file.truncate(length);
        file
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_change_of_a_file_causes_a_panic(file in mutated(), offset in 0u64..0x4000) {
        let _ = symbols::lookup(&file, BASE + offset);
        let Ok(plan) = parse(&file) else { return Ok(()); };
        // What a plan promises holds, whatever the file was.
        let rules = rules();
        prop_assert!(!plan.segments().is_empty());
        for (i, segment) in plan.segments().iter().enumerate() {
            let pages = segment.pages();
            prop_assert!(pages.start >= rules.addresses.start && pages.end <= rules.addresses.end);
            prop_assert!(pages.start % PAGE_SIZE == 0 && segment.memory_size > 0);
            prop_assert_eq!(segment.content(&file).len() as u64, segment.file_size);
            prop_assert!(segment.file_size <= segment.memory_size);
            prop_assert!(!(segment.flags.is_writable() && segment.flags.is_executable()));
            for other in &plan.segments()[..i] {
                let other = other.pages();
                prop_assert!(other.end <= pages.start || pages.end <= other.start);
            }
        }
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0".to_vec();
        file.extend(bytes);
        let _ = parse(&file);
        let _ = symbols::lookup(&file, BASE);
    }
}

extern crate std;

use super::*;
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, HashMap},
    vec::Vec,
};

const PAGE: u64 = PAGE_SIZE;
const MIB_2: u64 = 2 << 20;
const GIB: u64 = 1 << 30;
const FULL: Format = Format {
    levels: 4,
    largest: 3,
};
const READ_WRITE: Access = Access {
    read: true,
    write: true,
};

/// Tables on the host, with a limit.
#[derive(Default)]
struct Host {
    tables: HashMap<u64, Vec<u64>>,
    next: u64,
    left: usize,
}

impl Host {
    fn with(left: usize) -> Self {
        Self {
            left,
            next: PAGE,
            ..Self::default()
        }
    }
}

impl TableMemory for Host {
    fn allocate(&mut self) -> Result<u64, Error> {
        self.left = self.left.checked_sub(1).ok_or(Error::OutOfMemory)?;
        self.next += PAGE;
        self.tables.insert(self.next, std::vec![0; ENTRIES]);
        Ok(self.next)
    }
    fn free(&mut self, table: u64) {
        assert!(self.tables.remove(&table).is_some());
        self.left += 1;
    }
    fn read(&self, table: u64, index: usize) -> u64 {
        self.tables[&table][index]
    }
    fn write(&mut self, table: u64, index: usize, entry: u64) {
        self.tables.get_mut(&table).unwrap()[index] = entry;
    }
}

fn tables(format: Format) -> (SecondLevel, Host) {
    let mut memory = Host::with(10_000);
    (SecondLevel::new(format, &mut memory).unwrap(), memory)
}

#[test]
fn large_pages_are_used_where_both_sides_allow() {
    // Below the top: one table for the GiB pages, one for the 2 MiB page and what follows it,
    // one for the last page; then a table for each page that is not large.
    for (largest, needed) in [(3, 4), (2, 6), (1, 6 + 2 * 512 + 1)] {
        let format = Format { levels: 4, largest };
        let (mut map, mut memory) = tables(format);
        let bytes = 2 * GIB + MIB_2 + PAGE;
        map.map(&mut memory, GIB, 4 * GIB, bytes, READ_WRITE)
            .unwrap();
        assert_eq!(memory.tables.len(), needed);
        for offset in [0, GIB - 1, GIB, 2 * GIB + MIB_2 + 17] {
            let found = map.translate(&memory, GIB + offset);
            assert_eq!(found, Some((4 * GIB + offset, READ_WRITE)));
        }
        assert_eq!(map.translate(&memory, GIB + bytes), None);
        assert_eq!(map.translate(&memory, GIB - 1), None);
    }
}

#[test]
fn a_large_page_fills_the_table_that_stands_in_its_place() {
    let (mut map, mut memory) = tables(FULL);
    map.map(&mut memory, MIB_2, 0, PAGE, READ_WRITE).unwrap();
    let in_use = map.map(&mut memory, 0, GIB, GIB, READ_WRITE);
    assert_eq!(in_use, Err(Error::AddressInUse));
    map.unmap(&mut memory, 0, GIB).unwrap();
    map.map(&mut memory, 0, GIB, GIB, READ_WRITE).unwrap();
    for io in [0, MIB_2, MIB_2 + 5 * PAGE, GIB - PAGE] {
        assert_eq!(map.translate(&memory, io), Some((GIB + io, READ_WRITE)));
    }
    assert_eq!(memory.tables.len(), 4);
}

#[test]
fn a_large_page_is_not_cut() {
    let (mut map, mut memory) = tables(FULL);
    map.map(&mut memory, 0, 0, MIB_2, READ_WRITE).unwrap();
    for (io, bytes) in [(0, PAGE), (PAGE, MIB_2 - PAGE), (MIB_2 - PAGE, PAGE)] {
        let refused = map.unmap(&mut memory, io, bytes);
        assert_eq!(refused, Err(Error::BadArgument));
        assert!(map.translate(&memory, io).is_some());
    }
    let refused = map.map(&mut memory, PAGE, 0, PAGE, READ_WRITE);
    assert_eq!(refused, Err(Error::AddressInUse));
    map.unmap(&mut memory, 0, GIB).unwrap();
    assert_eq!(map.translate(&memory, 0), None);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (mut map, mut memory) = tables(FULL);
    let none = Access {
        read: false,
        write: false,
    };
    for (io, physical, bytes, access, error) in [
        (1, 0, PAGE, READ_WRITE, Error::BadArgument),
        (0, 1, PAGE, READ_WRITE, Error::BadArgument),
        (0, 0, 1, READ_WRITE, Error::BadArgument),
        (0, 0, PAGE, none, Error::BadArgument),
        (1 << 48, 0, PAGE, READ_WRITE, Error::OutOfRange),
        ((1 << 48) - PAGE, 0, 2 * PAGE, READ_WRITE, Error::OutOfRange),
        (0, 1 << 52, PAGE, READ_WRITE, Error::OutOfRange),
        (0, u64::MAX - PAGE + 1, PAGE, READ_WRITE, Error::OutOfRange),
    ] {
        assert_eq!(
            map.map(&mut memory, io, physical, bytes, access),
            Err(error)
        );
    }
    assert_eq!(memory.tables.len(), 1);
    let last = (1 << 48) - PAGE;
    map.map(&mut memory, last, 0, PAGE, READ_WRITE).unwrap();
    assert_eq!(map.translate(&memory, 1 << 48), None);
    assert_eq!(
        map.unmap(&mut memory, last, 2 * PAGE),
        Err(Error::OutOfRange)
    );
    while map.free_some(&mut memory, 2) == 2 {}
    assert!(memory.tables.is_empty() && map.root().is_none());
    assert_eq!(
        map.map(&mut memory, 0, 0, PAGE, READ_WRITE),
        Err(Error::Gone)
    );
    assert_eq!(map.unmap(&mut memory, 0, PAGE), Err(Error::Gone));
    assert_eq!(map.free_some(&mut memory, 5), 0);
}

proptest! {
    /// Against a map of pages: what is mapped leads where it should, and nothing else does.
    #[test]
    fn behaves_like_a_map_of_pages(
        levels in 3..=4u8,
        largest in 1..=3u8,
        budget in 2..40usize,
        step in 1..5u64,
        ops in prop::collection::vec(
            (any::<bool>(), 0..6u64, 0..4u64, 1..700u64, 0..3u64, 1..4u8), 1..25),
    ) {
        let mut memory = Host::with(budget);
        let mut map = SecondLevel::new(Format { levels, largest }, &mut memory).unwrap();
        let mut model: BTreeMap<u64, (u64, Access)> = BTreeMap::new();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (take, block, page, pages, target, access) in ops {
            if take && !ranges.is_empty() {
                let (io, bytes) = ranges.swap_remove(page as usize % ranges.len());
                map.unmap(&mut memory, io, bytes).unwrap();
                model.retain(|&at, _| !(io..io + bytes).contains(&at));
                continue;
            }
            let io = GIB - 3 * MIB_2 + block * MIB_2 + page / 2 * PAGE;
            let physical = 5 * GIB + target / 2 * PAGE + block * MIB_2;
            let bytes = if pages > 500 { MIB_2 } else { pages * PAGE };
            let access = Access { read: access & 1 != 0, write: access & 2 != 0 };
            let is_free = model.range(io..io + bytes).next().is_none();
            match map.map(&mut memory, io, physical, bytes, access) {
                Ok(()) => {
                    prop_assert!(is_free);
                    ranges.push((io, bytes));
                    for at in (0..bytes).step_by(PAGE as usize) {
                        model.insert(io + at, (physical + at, access));
                    }
                }
                // What had been done would have to be taken back; here the rest shows it.
                Err(Error::AddressInUse) => {
                    prop_assert!(!is_free);
                    let free_end = model.range(io..).next().map_or(io, |(&at, _)| at);
                    if free_end > io {
                        let _ = map.unmap(&mut memory, io, free_end - io);
                    }
                }
                Err(error) => {
                    prop_assert_eq!(error, Error::OutOfMemory);
                    if is_free {
                        map.unmap(&mut memory, io, bytes).unwrap();
                    } else {
                        let free_end = model.range(io..).next().map_or(io, |(&at, _)| at);
                        map.unmap(&mut memory, io, free_end - io).unwrap();
                    }
                }
            }
        }
        let all = GIB - 4 * MIB_2..GIB + 8 * MIB_2;
        for io in all.step_by(PAGE as usize) {
            prop_assert_eq!(map.translate(&memory, io), model.get(&io).copied());
        }
        let mut rounds = 0;
        while map.free_some(&mut memory, step) == step {
            rounds += 1;
            prop_assert!(rounds < 100);
        }
        prop_assert!(memory.tables.is_empty() && memory.left == budget);
    }
}

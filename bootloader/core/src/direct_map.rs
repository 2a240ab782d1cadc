//! The direct map: all RAM in the kernel's half, with no writable alias of the kernel's text and
//! read-only data.

use crate::page_tables::{Access, AddressSpace, Tables};
use core::ops::Range;
use spillway_bootinfo::{DIRECT_MAP, Region, RegionKind};

/// Maps all regions but the reserved ones at [`DIRECT_MAP`]. `read_only` lists the physical pages
/// that must not be written through it, in any order.
pub fn map<T: Tables>(
    space: &mut AddressSpace<T>,
    regions: &[Region],
    read_only: &[Range<u64>],
) -> Result<(), T::Error> {
    let mut pending = 0..0;
    for region in regions {
        if region.region_kind() == RegionKind::Reserved {
            continue;
        }
        // Neighbours are mapped together, so that large pages can cross the borders of kinds.
        if region.start != pending.end {
            map_ram(space, pending, read_only)?;
            pending = region.start..region.start;
        }
        pending.end = region.end;
    }
    map_ram(space, pending, read_only)
}

/// Maps RAM without a hole in it.
fn map_ram<T: Tables>(
    space: &mut AddressSpace<T>,
    ram: Range<u64>,
    read_only: &[Range<u64>],
) -> Result<(), T::Error> {
    let mut map = |pages: Range<u64>, write| {
        let access = Access {
            write,
            execute: false,
        };
        space.map(DIRECT_MAP + pages.start, pages, access)
    };
    let mut at = ram.start;
    while at < ram.end {
        let next = read_only
            .iter()
            .filter(|pages| pages.end > at && pages.start < ram.end)
            .min_by_key(|pages| pages.start);
        let Some(next) = next else {
            return map(at..ram.end, true);
        };
        if at < next.start {
            map(at..next.start, true)?;
        }
        let end = next.end.min(ram.end);
        map(next.start.max(at)..end, false)?;
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::{
        MemoryMap,
        page_tables::{Features, bits},
        testing::FakeTables,
    };
    use proptest::prelude::*;
    use spillway_bootinfo::PAGE_SIZE;
    use std::vec::Vec;

    const PAGES: u64 = 3 * 512 + 100;

    /// Up to eight ranges of pages without overlap.
    fn read_only() -> impl Strategy<Value = Vec<Range<u64>>> {
        prop::collection::btree_set(0..PAGES, 0..16).prop_map(|borders| {
            let borders: Vec<u64> = borders.into_iter().map(|page| page * PAGE_SIZE).collect();
            let pairs = borders.chunks_exact(2);
            pairs.rev().map(|pair| pair[0]..pair[1]).collect()
        })
    }

    proptest! {
        #[test]
        fn all_but_the_reserved_is_mapped_and_the_kernel_not_writable(
            layers in prop::collection::vec((0..PAGES, 0..PAGES, 1u32..7), 1..12),
            read_only in read_only(),
        ) {
            let mut memory = MemoryMap::new();
            for (a, b, kind) in layers {
                let range = a.min(b) * PAGE_SIZE..a.max(b) * PAGE_SIZE;
                memory.paint(range, RegionKind::from_raw(kind).unwrap(), |_| true).unwrap();
            }
            let features = Features { no_execute: true, gigabyte_pages: true };
            let Ok(mut space) = AddressSpace::new(FakeTables::default(), features);
            let Ok(()) = map(&mut space, memory.regions(), &read_only);
            let root = space.root();
            let tables = space.into_tables();
            for page in 0..PAGES {
                let address = page * PAGE_SIZE;
                let region = memory.regions().iter().find(|r| (r.start..r.end).contains(&address));
                let mapped = region.is_some_and(|r| r.region_kind() != RegionKind::Reserved);
                let found = tables.walk(root, DIRECT_MAP + address);
                prop_assert_eq!(found.is_some(), mapped);
                let Some(found) = found else { continue };
                let read_only = read_only.iter().any(|range| range.contains(&address));
                prop_assert_eq!(found.physical, address);
                prop_assert_eq!(found.flags & bits::WRITABLE == 0, read_only);
                prop_assert!(found.flags & bits::NO_EXECUTE != 0);
            }
        }
    }
}

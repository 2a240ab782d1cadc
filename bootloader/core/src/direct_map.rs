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

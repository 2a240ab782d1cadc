//! Which physical memory is what: a sorted list of regions without overlap, painted over in
//! layers. First what firmware says, then what is in use, then what the loader allocates.

use crate::handover::outward;
use core::{fmt, ops::Range};
use spillway_bootinfo::{MAX_REGIONS, PAGE_SIZE, Region, RegionKind};

/// Why the memory map could not be made or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// It would have more than [`MAX_REGIONS`] regions.
    TooManyRegions,
    /// There is no free range of this many bytes.
    NoRoom(u64),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRegions => write!(
                f,
                "the memory map has more than {MAX_REGIONS} regions, which is too many"
            ),
            Self::NoRoom(length) => write!(
                f,
                "too little RAM: no {} KiB in one piece are free below 4 GiB",
                length.div_ceil(1024)
            ),
        }
    }
}

impl core::error::Error for MapError {}

/// A map of physical memory: whole pages, ascending, without overlap, neighbours of one kind
/// joined. What is in no region is not RAM.
#[derive(Clone, Debug)]
pub struct MemoryMap {
    regions: [Region; MAX_REGIONS],
    count: usize,
}

impl Default for MemoryMap {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryMap {
    /// A map of nothing.
    pub const fn new() -> Self {
        Self {
            regions: [Region {
                start: 0,
                end: 0,
                kind: 0,
                reserved: 0,
            }; MAX_REGIONS],
            count: 0,
        }
    }

    /// The regions in ascending order.
    pub fn regions(&self) -> &[Region] {
        &self.regions[..self.count]
    }

    /// Bytes of regions of this kind.
    pub fn total(&self, kind: RegionKind) -> u64 {
        let of_kind = self.regions().iter().filter(|r| r.region_kind() == kind);
        of_kind.map(Region::length).sum()
    }

    /// Whether the whole range is of this kind.
    pub fn is_all(&self, range: Range<u64>, kind: RegionKind) -> bool {
        self.regions()
            .iter()
            .any(|r| r.region_kind() == kind && r.start <= range.start && range.end <= r.end)
    }

    /// Makes `range` a region of `kind`, in those parts of which `gives_way` says so: it is told
    /// the kind that is there, or `None` where there was nothing. The range must be whole pages.
    pub fn paint(
        &mut self,
        range: Range<u64>,
        kind: RegionKind,
        gives_way: impl Fn(Option<RegionKind>) -> bool,
    ) -> Result<(), MapError> {
        let mut painted = Self::new();
        let paint_gaps = gives_way(None);
        // What of the range is still to be painted begins here.
        let mut at = range.start;
        for old in self.regions() {
            let old_kind = old.region_kind();
            if paint_gaps {
                painted.push(at..old.start.min(range.end), kind)?;
            }
            // The part of the old region that the range covers.
            let start = old.start.max(range.start).min(old.end);
            let end = old.end.min(range.end).max(start);
            if gives_way(Some(old_kind)) {
                painted.push(old.start..start, old_kind)?;
                painted.push(start..end, kind)?;
                painted.push(end..old.end, old_kind)?;
            } else {
                painted.push(old.start..old.end, old_kind)?;
            }
            at = at.max(old.end);
        }
        if paint_gaps {
            painted.push(at..range.end, kind)?;
        }
        *self = painted;
        Ok(())
    }

    /// Notes that the pages that `range` touches are in use for `kind`, as far as they are free.
    pub fn claim(&mut self, range: Range<u64>, kind: RegionKind) -> Result<(), MapError> {
        self.paint(outward(range), kind, |old| old == Some(RegionKind::Free))
    }

    /// Takes `length` bytes, rounded up to whole pages, of free memory for `kind`: the lowest
    /// that begin at a multiple of `alignment` (a power of two, at least a page) inside `within`.
    pub fn allocate(
        &mut self,
        length: u64,
        alignment: u64,
        within: Range<u64>,
        kind: RegionKind,
    ) -> Result<u64, MapError> {
        let no_room = MapError::NoRoom(length);
        let length = length.checked_next_multiple_of(PAGE_SIZE).ok_or(no_room)?;
        let start = self
            .regions()
            .iter()
            .filter(|region| region.region_kind() == RegionKind::Free)
            .find_map(|region| {
                let start = region.start.max(within.start);
                let start = start.checked_next_multiple_of(alignment)?;
                let end = start.checked_add(length)?;
                (end <= region.end.min(within.end)).then_some(start)
            })
            .ok_or(no_room)?;
        self.claim(start..start + length, kind)?;
        Ok(start)
    }

    /// Keeps the lowest `limit` bytes of free memory and forgets the rest. Returns the bytes
    /// that were forgotten.
    pub fn limit_free(&mut self, limit: u64) -> u64 {
        let (mut left, mut forgotten) = (limit, 0);
        let mut kept = Self::new();
        for region in self.regions() {
            let mut region = *region;
            if region.region_kind() == RegionKind::Free {
                let length = region.length().min(left);
                forgotten += region.length() - length;
                left -= length;
                region.end = region.start + length;
            }
            if region.length() > 0 {
                kept.regions[kept.count] = region;
                kept.count += 1;
            }
        }
        *self = kept;
        forgotten
    }

    /// Adds a range after the last region, or nothing if it is empty.
    fn push(&mut self, range: Range<u64>, kind: RegionKind) -> Result<(), MapError> {
        if range.is_empty() {
            return Ok(());
        }
        if let Some(last) = self.regions[..self.count].last_mut()
            && last.end == range.start
            && last.kind == kind as u32
        {
            last.end = range.end;
            return Ok(());
        }
        let place = self.regions.get_mut(self.count);
        *place.ok_or(MapError::TooManyRegions)? = Region {
            start: range.start,
            end: range.end,
            kind: kind as u32,
            reserved: 0,
        };
        self.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use RegionKind::{Acpi, Free, Kernel, Loader, Modules, Reserved};
    use proptest::prelude::*;
    use std::vec::Vec;

    const PAGES: usize = 64;
    const KINDS: [RegionKind; 6] = [Free, Loader, Kernel, Modules, Acpi, Reserved];

    /// The simplest map: a kind for each page.
    type Model = [Option<RegionKind>; PAGES];

    fn bytes(pages: Range<usize>) -> Range<u64> {
        pages.start as u64 * PAGE_SIZE..pages.end as u64 * PAGE_SIZE
    }

    /// The model of a map, whose own rules are checked on the way.
    fn model(map: &MemoryMap) -> Model {
        let mut model = [None; PAGES];
        let mut previous: Option<Region> = None;
        for region in map.regions() {
            assert!(region.start < region.end);
            if let Some(previous) = previous {
                let joined = previous.end == region.start && previous.kind == region.kind;
                assert!(previous.end <= region.start && !joined);
            }
            previous = Some(*region);
            let (first, end) = (region.start / PAGE_SIZE, region.end / PAGE_SIZE);
            model[first as usize..end as usize].fill(Some(region.region_kind()));
        }
        model
    }

    /// A range, a kind, and which kinds give way to it (the last: where there is nothing).
    type Layer = (Range<usize>, RegionKind, [bool; 7]);

    fn layers() -> impl Strategy<Value = Vec<Layer>> {
        let range = (0..PAGES, 0..PAGES).prop_map(|(a, b)| a.min(b)..a.max(b));
        let layer = (range, prop::sample::select(&KINDS[..]), any::<[bool; 7]>());
        prop::collection::vec(layer, 0..20)
    }

    fn painted(layers: &[Layer]) -> (MemoryMap, Model) {
        let (mut map, mut model) = (MemoryMap::new(), [None; PAGES]);
        for (range, kind, give_way) in layers {
            let gives_way = |old: Option<RegionKind>| give_way[old.map_or(6, |k| k as usize - 1)];
            map.paint(bytes(range.clone()), *kind, gives_way).unwrap();
            for page in &mut model[range.clone()] {
                if gives_way(*page) {
                    *page = Some(*kind);
                }
            }
        }
        (map, model)
    }

    proptest! {
        #[test]
        fn painting_is_what_it_is_page_by_page(layers in layers()) {
            let (map, expected) = painted(&layers);
            prop_assert_eq!(model(&map), expected);
            let free = expected.iter().filter(|kind| **kind == Some(Free)).count() as u64;
            prop_assert_eq!(map.total(Free), free * PAGE_SIZE);
        }

        #[test]
        fn an_allocation_takes_the_lowest_place_and_nothing_else(
            layers in layers(), length in 1u64..6 * PAGE_SIZE, alignment in 12u32..16,
            within in (0..PAGES, 0..PAGES),
        ) {
            let (mut map, before) = painted(&layers);
            let (within, alignment) = (within.0..within.1, 1 << alignment);
            let pages = length.div_ceil(PAGE_SIZE) as usize;
            let possible = within.clone().find(|&first| {
                (first as u64 * PAGE_SIZE).is_multiple_of(alignment)
                    && first + pages <= within.end
                    && before[first..first + pages].iter().all(|kind| *kind == Some(Free))
            });
            let found = map.allocate(length, alignment, bytes(within), Kernel);
            match possible {
                None => prop_assert_eq!(found, Err(MapError::NoRoom(length))),
                Some(first) => {
                    prop_assert_eq!(found, Ok(first as u64 * PAGE_SIZE));
                    let mut after = before;
                    after[first..first + pages].fill(Some(Kernel));
                    prop_assert_eq!(model(&map), after);
                }
            }
        }

        #[test]
        fn a_claim_takes_free_pages_only(layers in layers(), range in (0..260_000u64, 0..260_000u64)) {
            let (mut map, mut expected) = painted(&layers);
            map.claim(range.0..range.1, Loader).unwrap();
            if range.0 < range.1 {
                let pages = range.0 / PAGE_SIZE..range.1.div_ceil(PAGE_SIZE);
                for page in &mut expected[pages.start as usize..pages.end as usize] {
                    if *page == Some(Free) {
                        *page = Some(Loader);
                    }
                }
            }
            prop_assert_eq!(model(&map), expected);
        }

        #[test]
        fn what_exceeds_the_limit_is_forgotten(layers in layers(), limit in 0..70u64) {
            let (mut map, mut expected) = painted(&layers);
            let free = map.total(Free);
            let forgotten = map.limit_free(limit * PAGE_SIZE);
            prop_assert_eq!(forgotten, free.saturating_sub(limit * PAGE_SIZE));
            let mut left = limit;
            for page in expected.iter_mut().filter(|page| **page == Some(Free)) {
                if left == 0 {
                    *page = None;
                } else {
                    left -= 1;
                }
            }
            prop_assert_eq!(model(&map), expected);
        }
    }

    #[test]
    fn the_map_has_a_limit() {
        let mut map = MemoryMap::new();
        let page = |i: usize| bytes(i..i + 1);
        for i in 0..MAX_REGIONS {
            map.paint(page(2 * i), Free, |_| true).unwrap();
        }
        let full = map.regions().to_vec();
        let error = map.paint(page(2 * MAX_REGIONS), Free, |_| true);
        assert_eq!(error, Err(MapError::TooManyRegions));
        assert_eq!(map.regions(), full, "a failure changes nothing");
        // Neighbours of one kind need no room.
        assert_eq!(map.paint(page(1), Free, |_| true), Ok(()));
        assert!(map.is_all(bytes(0..3), Free));
        assert!(!map.is_all(bytes(0..4), Free) && !map.is_all(bytes(0..3), Kernel));
    }

    #[test]
    fn no_length_is_too_long_to_be_refused() {
        let mut map = MemoryMap::new();
        map.paint(bytes(1..10), Free, |_| true).unwrap();
        let everywhere = 0..u64::MAX;
        for length in [u64::MAX, u64::MAX - 0xfff, 10 * PAGE_SIZE] {
            let found = map.allocate(length, PAGE_SIZE, everywhere.clone(), Kernel);
            assert_eq!(found, Err(MapError::NoRoom(length)));
        }
        let found = map.allocate(PAGE_SIZE, 1 << 63, everywhere, Kernel);
        assert_eq!(found, Err(MapError::NoRoom(PAGE_SIZE)));
    }
}

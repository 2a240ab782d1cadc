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

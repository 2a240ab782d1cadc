//! What the stage before handed over, in one form for all boot protocols, and the memory map
//! that is made from it.

use crate::{MapError, MemoryMap};
use core::ops::Range;
use spillway_bootinfo::{FrameBuffer, MAX_MEMORY, PAGE_SIZE, RegionKind};

/// What firmware says of a range of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryKind {
    /// RAM.
    Ram,
    /// RAM with ACPI tables.
    Acpi,
    /// Anything else.
    Reserved,
}

impl MemoryKind {
    /// From the numbers that the BIOS's E820, PVH and Multiboot2 share (ACPI 6.5, table 15.4).
    /// ACPI NVS (4) counts as reserved: the firmware goes on using it.
    pub const fn from_e820(number: u32) -> Self {
        match number {
            1 => Self::Ram,
            3 => Self::Acpi,
            _ => Self::Reserved,
        }
    }
}

/// A range of the firmware's memory map, in bytes, not rounded to pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// Where it is.
    pub range: Range<u64>,
    /// What it is.
    pub kind: MemoryKind,
}

/// What the stage before handed over.
#[derive(Clone, Debug)]
pub struct Handover<'a> {
    /// The protocol's name, for messages.
    pub protocol: &'static str,
    /// The command line without a final zero.
    pub command_line: &'a [u8],
    /// Where the boot image lies.
    pub image: Option<Range<u64>>,
    /// The RSDP, 20 bytes or more.
    pub rsdp: Option<&'a [u8]>,
    /// Where text can be shown; all zeros if there is nothing.
    pub frame_buffer: FrameBuffer,
}

/// How much RAM there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamSummary {
    /// Bytes that are used.
    pub used: u64,
    /// Bytes that are left alone because they exceed [`MAX_MEMORY`].
    pub ignored: u64,
}

impl MemoryMap {
    /// Makes the map that firmware describes. Entries may come in any order and may overlap: of
    /// two that overlap, the more careful one holds. RAM shrinks to whole pages, everything else
    /// grows to them. Page 0, where real mode has its vectors, is reserved.
    pub fn from_firmware(
        entries: impl Iterator<Item = MemoryRange> + Clone,
    ) -> Result<(Self, RamSummary), MapError> {
        let mut map = Self::new();
        // Each layer is painted over those before it.
        for (layer, kind) in [
            (MemoryKind::Ram, RegionKind::Free),
            (MemoryKind::Acpi, RegionKind::Acpi),
            (MemoryKind::Reserved, RegionKind::Reserved),
        ] {
            for entry in entries.clone().filter(|entry| entry.kind == layer) {
                let pages = match layer {
                    MemoryKind::Ram => inward(entry.range),
                    _ => outward(entry.range),
                };
                map.paint(pages, kind, |_| true)?;
            }
        }
        map.paint(0..PAGE_SIZE, RegionKind::Reserved, |_| true)?;
        let ignored = map.limit_free(MAX_MEMORY);
        let used = map.total(RegionKind::Free);
        Ok((map, RamSummary { used, ignored }))
    }
}

/// The whole pages inside a range; empty if there is none.
fn inward(range: Range<u64>) -> Range<u64> {
    let start = range.start.checked_next_multiple_of(PAGE_SIZE);
    start.unwrap_or(u64::MAX)..range.end - range.end % PAGE_SIZE
}

/// The pages that a range touches; empty if the range is.
pub(crate) fn outward(range: Range<u64>) -> Range<u64> {
    if range.is_empty() {
        return 0..0;
    }
    let last_page = u64::MAX - u64::MAX % PAGE_SIZE;
    let end = range.end.checked_next_multiple_of(PAGE_SIZE);
    range.start - range.start % PAGE_SIZE..end.unwrap_or(last_page)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn ranges_round_away_from_what_is_not_theirs() {
        assert_eq!(inward(1..0x2fff), 0x1000..0x2000);
        assert!(inward(0x1001..0x1fff).is_empty());
        assert!(inward(u64::MAX - 5..u64::MAX).is_empty());
        assert_eq!(outward(0x1fff..0x2001), 0x1000..0x3000);
        assert!(outward(5..5).is_empty());
        assert_eq!(outward(u64::MAX - 5..u64::MAX).end, u64::MAX - 0xfff);
    }

    #[test]
    fn the_more_careful_of_two_entries_holds() {
        let entry = |range, kind| MemoryRange { range, kind };
        let entries = [
            entry(0x8000..0x9000, MemoryKind::Reserved),
            entry(0..0x10000, MemoryKind::Ram),
            entry(0x7800..0x8800, MemoryKind::Acpi),
        ];
        let (map, ram) = MemoryMap::from_firmware(entries.into_iter()).unwrap();
        let found: Vec<_> = map
            .regions()
            .iter()
            .map(|r| (r.start, r.end, r.region_kind()))
            .collect();
        assert_eq!(
            found,
            [
                (0, 0x1000, RegionKind::Reserved),
                (0x1000, 0x7000, RegionKind::Free),
                (0x7000, 0x8000, RegionKind::Acpi),
                (0x8000, 0x9000, RegionKind::Reserved),
                (0x9000, 0x10000, RegionKind::Free),
            ]
        );
        assert_eq!(ram.used, 0xd000);
    }
}

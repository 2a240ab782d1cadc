//! Which I/O addresses of a device are in use.
//!
//! A vector of ranges, sorted by address: finding room is a walk over at most [`MAX_RANGES`] of
//! them, and happens when memory is pinned, never on a data path. The lowest fitting address is
//! taken, so the page tables stay few and old devices with short addresses are served the same.

use alloc::vec::Vec;
use spillway_abi::{Error, PAGE_SIZE};

/// Ranges in use, reserved ones included.
pub const MAX_RANGES: usize = 2048;

/// What is written here is an interrupt, not memory, whatever the page tables say (VT-d 3.14,
/// Intel SDM volume 3, section 11.11.1).
pub const INTERRUPTS: core::ops::Range<u64> = 0xfee0_0000..0xfef0_0000;

/// Ranges as long as this begin at multiples of it where there is room, for large pages.
const LARGE_PAGE: u64 = 2 << 20;

/// `start..end`, whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u64,
    end: u64,
    is_reserved: bool,
}

/// The I/O addresses of one device.
#[derive(Debug)]
pub struct IoAddresses {
    ranges: Vec<Range>,
    end: u64,
}

impl IoAddresses {
    /// Addresses of `bits` bits, all free but for page 0, which would be a null pointer, and the
    /// addresses of interrupts. [`Error::OutOfMemory`].
    pub fn new(bits: u32) -> Result<Self, Error> {
        let mut addresses = Self {
            ranges: Vec::new(),
            end: end_of(bits),
        };
        addresses.reserve(0, PAGE_SIZE)?;
        addresses.reserve(INTERRUPTS.start, INTERRUPTS.end)?;
        Ok(addresses)
    }

    /// Keeps `start..end`, widened to whole pages, from being handed out: for addresses that
    /// would reach another device before they reach the IOMMU. Call it before the first
    /// [`allocate`](Self::allocate).
    ///
    /// [`Error::AddressInUse`] if a part is handed out already; [`Error::LimitReached`] at
    /// [`MAX_RANGES`]; [`Error::OutOfMemory`]. An empty range, and what overlaps one that is
    /// reserved already, is no error.
    pub fn reserve(&mut self, start: u64, end: u64) -> Result<(), Error> {
        let mut start = start / PAGE_SIZE * PAGE_SIZE;
        let mut end = end.checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX);
        if start >= end {
            return Ok(());
        }
        // All ranges that this one touches become one.
        let first = self.ranges.partition_point(|range| range.end < start);
        let last = self.ranges.partition_point(|range| range.start <= end);
        for range in &self.ranges[first..last] {
            match (range.is_reserved, range.start < end && start < range.end) {
                (false, true) => return Err(Error::AddressInUse),
                (false, false) => {}
                (true, _) => (start, end) = (start.min(range.start), end.max(range.end)),
            }
        }
        let merged = |range: &Range| range.is_reserved && start <= range.start && range.end <= end;
        let count = self.ranges.iter().filter(|range| merged(range)).count();
        if count == 0 {
            self.make_room()?;
        }
        self.ranges.retain(|range| !merged(range));
        self.insert(Range {
            start,
            end,
            is_reserved: true,
        });
        Ok(())
    }

    /// The lowest free `bytes` at a multiple of `align`, and from 2 MiB on of 2 MiB if there is
    /// room, whose last byte is addressed by `address_bits` bits. At least a page on each side is left free, so that a device that runs
    /// over the end of anything is stopped.
    ///
    /// [`Error::BadArgument`] if `bytes` is 0 or not whole pages, or `align` is not a power of
    /// two; [`Error::AddressInUse`] if there is no room; [`Error::LimitReached`] at
    /// [`MAX_RANGES`]; [`Error::OutOfMemory`].
    pub fn allocate(&mut self, bytes: u64, align: u64, address_bits: u32) -> Result<u64, Error> {
        if bytes == 0 || !bytes.is_multiple_of(PAGE_SIZE) || !align.is_power_of_two() {
            return Err(Error::BadArgument);
        }
        let end = self.end.min(end_of(address_bits));
        let align = align.max(PAGE_SIZE);
        let preferred = if bytes < LARGE_PAGE {
            align
        } else {
            align.max(LARGE_PAGE)
        };
        let start = self
            .find(bytes, preferred, end)
            .or_else(|| self.find(bytes, align, end))
            .ok_or(Error::AddressInUse)?;
        self.make_room()?;
        self.insert(Range {
            start,
            end: start + bytes,
            is_reserved: false,
        });
        Ok(start)
    }

    /// Takes back what was handed out at `start` and says how many bytes it was; `None` if
    /// nothing was.
    pub fn free(&mut self, start: u64) -> Option<u64> {
        let index = self
            .ranges
            .binary_search_by_key(&start, |range| range.start)
            .ok()?;
        if self.ranges[index].is_reserved {
            return None;
        }
        let range = self.ranges.remove(index);
        Some(range.end - range.start)
    }

    /// Whether `start..start + bytes` lies inside one range that was handed out.
    pub fn contains(&self, start: u64, bytes: u64) -> bool {
        let index = self.ranges.partition_point(|range| range.end <= start);
        let Some(end) = start.checked_add(bytes) else {
            return false;
        };
        self.ranges
            .get(index)
            .is_some_and(|range| !range.is_reserved && range.start <= start && end <= range.end)
    }

    fn find(&self, bytes: u64, align: u64, end: u64) -> Option<u64> {
        let mut start = align;
        for range in &self.ranges {
            if start.checked_add(bytes)?.checked_add(PAGE_SIZE)? <= range.start {
                break;
            }
            let behind = range.end.checked_add(PAGE_SIZE)?;
            start = start.max(behind.checked_next_multiple_of(align)?);
        }
        (start.checked_add(bytes)? <= end).then_some(start)
    }

    fn make_room(&mut self) -> Result<(), Error> {
        if self.ranges.len() >= MAX_RANGES {
            return Err(Error::LimitReached);
        }
        self.ranges.try_reserve(1).map_err(|_| Error::OutOfMemory)
    }

    /// Inserts where there is room, by [`Self::make_room`].
    fn insert(&mut self, range: Range) {
        let index = self
            .ranges
            .partition_point(|other| other.start < range.start);
        self.ranges.insert(index, range);
    }
}

/// One past the last page of addresses with so many bits.
const fn end_of(bits: u32) -> u64 {
    match 1u64.checked_shl(bits) {
        Some(end) => end,
        None => u64::MAX / PAGE_SIZE * PAGE_SIZE,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const PAGE: u64 = PAGE_SIZE;

    #[test]
    fn the_first_address_is_neither_null_nor_its_neighbour() {
        let mut addresses = IoAddresses::new(48).unwrap();
        assert_eq!(addresses.allocate(PAGE, 1, 64), Ok(2 * PAGE));
        assert_eq!(addresses.allocate(PAGE, 1, 64), Ok(4 * PAGE));
        assert_eq!(addresses.free(2 * PAGE), Some(PAGE));
        assert_eq!(addresses.free(2 * PAGE), None);
        assert_eq!(addresses.allocate(PAGE, 1, 64), Ok(2 * PAGE));
    }

    #[test]
    fn interrupts_are_gone_around() {
        let mut addresses = IoAddresses::new(48).unwrap();
        let most = INTERRUPTS.start - 3 * PAGE;
        assert_eq!(addresses.allocate(most, PAGE, 32), Ok(2 * PAGE));
        assert_eq!(
            addresses.allocate(PAGE, PAGE, 32),
            Ok(INTERRUPTS.end + PAGE)
        );
        assert_eq!(
            addresses.allocate(1 << 25, PAGE, 32),
            Err(Error::AddressInUse)
        );
        assert_eq!(addresses.allocate(1 << 25, PAGE, 33), Ok(0xff00_0000));
    }

    #[test]
    fn the_last_page_of_the_width_is_used_and_no_more() {
        let mut addresses = IoAddresses::new(16).unwrap();
        assert_eq!(
            addresses.allocate(15 * PAGE, 1, 64),
            Err(Error::AddressInUse)
        );
        assert_eq!(addresses.allocate(14 * PAGE, 1, 64), Ok(2 * PAGE));
        let mut addresses = IoAddresses::new(64).unwrap();
        assert!(addresses.allocate(1 << 63, 1 << 63, 64).is_err());
        assert_eq!(addresses.allocate(1 << 62, 1 << 62, 64), Ok(1 << 62));
    }

    #[test]
    fn long_ranges_are_placed_for_large_pages_where_there_is_room() {
        let mut addresses = IoAddresses::new(23).unwrap();
        assert_eq!(addresses.allocate(LARGE_PAGE, PAGE, 64), Ok(LARGE_PAGE));
        assert_eq!(addresses.allocate(PAGE, PAGE, 64), Ok(2 * PAGE));
        let long = LARGE_PAGE + PAGE;
        let at = 2 * LARGE_PAGE + PAGE;
        assert_eq!(addresses.allocate(2 * LARGE_PAGE - PAGE, PAGE, 64), Ok(at));
        assert_eq!(addresses.allocate(long, PAGE, 64), Err(Error::AddressInUse));
    }

    #[test]
    fn refuses_what_is_not_pages_and_too_many() {
        let mut addresses = IoAddresses::new(48).unwrap();
        for (bytes, align) in [(0, 1), (100, 1), (PAGE, 0), (PAGE, 3 * PAGE)] {
            assert_eq!(
                addresses.allocate(bytes, align, 48),
                Err(Error::BadArgument)
            );
        }
        for _ in 2..MAX_RANGES {
            addresses.allocate(PAGE, 1, 48).unwrap();
        }
        assert_eq!(addresses.allocate(PAGE, 1, 48), Err(Error::LimitReached));
        assert_eq!(
            addresses.reserve(1 << 40, 1 << 41),
            Err(Error::LimitReached)
        );
        assert_eq!(addresses.free(INTERRUPTS.start), None);
        assert_eq!(addresses.free(0), None);
    }

    #[test]
    fn reserved_ranges_merge_and_stay_clear_of_what_is_in_use() {
        let mut addresses = IoAddresses::new(48).unwrap();
        addresses.reserve(0xc000_0001, 0xd000_0000).unwrap();
        addresses.reserve(0xd000_0000, 0xfee0_0001).unwrap();
        addresses.reserve(0xe000_0000, 0xe000_0000).unwrap();
        assert_eq!(addresses.ranges.len(), 2);
        assert_eq!(
            addresses.allocate((1 << 31) - PAGE, 1 << 30, 33),
            Ok(1 << 30)
        );
        assert_eq!(addresses.allocate(1 << 30, 1 << 30, 33), Ok(1 << 32));
        assert_eq!(
            addresses.reserve((1 << 32) - PAGE, (1 << 32) + 1),
            Err(Error::AddressInUse)
        );
        addresses.reserve((1 << 32) - PAGE, 1 << 32).unwrap();
        addresses.reserve(u64::MAX - 5, u64::MAX).unwrap();
    }

    proptest! {
        #[test]
        fn hands_out_the_lowest_fit_apart_from_all_others(
            bits in 16..40u32,
            steps in prop::collection::vec((1..40u64, 0..6u32, 14..40u32, any::<bool>()), 1..60),
        ) {
            let mut addresses = IoAddresses::new(bits).unwrap();
            let mut used: Vec<(u64, u64)> = Vec::new();
            for (pages, shift, limit, free_one) in steps {
                if free_one && !used.is_empty() {
                    let (start, end) = used.swap_remove(pages as usize % used.len());
                    prop_assert!(addresses.contains(start, end - start));
                    prop_assert_eq!(addresses.free(start), Some(end - start));
                    prop_assert!(!addresses.contains(start, 1));
                    continue;
                }
                let (bytes, align) = (pages * PAGE, PAGE << shift);
                let end_of_all = 1u64 << bits.min(limit);
                let fits = |start: u64| {
                    let end = start + bytes;
                    let mut all = used.iter().copied()
                        .chain([(0, PAGE), (INTERRUPTS.start, INTERRUPTS.end)]);
                    start.is_multiple_of(align)
                        && end <= end_of_all
                        && all.all(|(from, to)| end + PAGE <= from || to + PAGE <= start)
                };
                match addresses.allocate(bytes, align, limit) {
                    Ok(start) => {
                        prop_assert!(fits(start));
                        let lower = (0..start).step_by(align as usize).take(600);
                        prop_assert!(!lower.into_iter().any(fits));
                        used.push((start, start + bytes));
                    }
                    Err(error) => {
                        prop_assert_eq!(error, Error::AddressInUse);
                        let all = (0..end_of_all).step_by(align as usize).take(2000);
                        prop_assert!(!all.into_iter().any(fits));
                    }
                }
            }
        }
    }
}

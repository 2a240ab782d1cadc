//! What is mapped where in an address space.
//!
//! A vector of regions, sorted by address. Looking up is a binary search; adding and removing move
//! what lies behind, at most [`MAX_REGIONS_PER_SPACE`] entries; finding room walks over them.

use alloc::vec::Vec;
use spillway_abi::{Error, PAGE_SIZE};

/// Mappings in one address space.
pub const MAX_REGIONS_PER_SPACE: usize = 1024;

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region<T> {
    /// The first byte; a multiple of the page size.
    pub start: u64,
    /// Bytes; a multiple of the page size, not 0.
    pub length: u64,
    /// What is mapped there.
    pub value: T,
}

impl<T> Region<T> {
    /// One past the last byte.
    #[inline]
    pub const fn end(&self) -> u64 {
        self.start + self.length
    }
}

/// The mappings of an address space.
#[derive(Debug)]
pub struct RegionMap<T> {
    regions: Vec<Region<T>>,
}

impl<T> Default for RegionMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> RegionMap<T> {
    /// Nothing is mapped.
    pub const fn new() -> Self {
        Self {
            regions: Vec::new(),
        }
    }

    /// Records a mapping. If that fails, `value` is dropped.
    ///
    /// [`Error::BadArgument`] if the range is empty, not whole pages, or ends beyond 2⁶⁴;
    /// [`Error::AddressInUse`] if something is mapped in it; [`Error::LimitReached`] if there are
    /// [`MAX_REGIONS_PER_SPACE`] mappings; [`Error::OutOfMemory`].
    pub fn insert(&mut self, start: u64, length: u64, value: T) -> Result<(), Error> {
        if length == 0 || !(start | length).is_multiple_of(PAGE_SIZE) {
            return Err(Error::BadArgument);
        }
        let end = start.checked_add(length).ok_or(Error::BadArgument)?;
        let index = self.first_ending_after(start);
        if self.regions.get(index).is_some_and(|next| next.start < end) {
            return Err(Error::AddressInUse);
        }
        if self.regions.len() >= MAX_REGIONS_PER_SPACE {
            return Err(Error::LimitReached);
        }
        self.regions
            .try_reserve(1)
            .map_err(|_| Error::OutOfMemory)?;
        let region = Region {
            start,
            length,
            value,
        };
        self.regions.insert(index, region);
        Ok(())
    }

    /// The lowest address in `from..to` for a new mapping of `length` bytes with at least one page
    /// left free between it and its neighbours, so that running over the end of one faults. `None`
    /// if there is no room, or an argument is not whole pages.
    pub fn find_free(&self, length: u64, from: u64, to: u64) -> Option<u64> {
        if length == 0 || !(length | from).is_multiple_of(PAGE_SIZE) {
            return None;
        }
        let mut start = from;
        let near = self.first_ending_after(from.saturating_sub(PAGE_SIZE));
        for region in &self.regions[near..] {
            let guarded_end = start.checked_add(length)?.checked_add(PAGE_SIZE)?;
            if guarded_end <= region.start {
                break;
            }
            start = start.max(region.end().checked_add(PAGE_SIZE)?);
        }
        (start.checked_add(length)? <= to).then_some(start)
    }

    /// Takes out the mapping that begins at `start`.
    pub fn take(&mut self, start: u64) -> Option<Region<T>> {
        let index = self.index_of(start)?;
        Some(self.regions.remove(index))
    }

    /// The mapping that begins at `start`, to change its value.
    pub fn get_mut(&mut self, start: u64) -> Option<&mut Region<T>> {
        let index = self.index_of(start)?;
        self.regions.get_mut(index)
    }

    /// Whether the range is exactly one or more whole mappings without a gap between them.
    pub fn covers_whole(&self, start: u64, length: u64) -> bool {
        let (Some(index), Some(end)) = (self.index_of(start), start.checked_add(length)) else {
            return false;
        };
        let mut reached = start;
        for region in &self.regions[index..] {
            if reached >= end || region.start != reached {
                break;
            }
            reached = region.end();
        }
        reached == end && length != 0
    }

    /// The mapping that has this address in it.
    #[inline]
    pub fn find(&self, address: u64) -> Option<&Region<T>> {
        self.regions
            .get(self.first_ending_after(address))
            .filter(|region| region.start <= address)
    }

    /// Takes out any mapping at O(1), for taking an address space apart in steps.
    pub fn pop_any(&mut self) -> Option<Region<T>> {
        self.regions.pop()
    }

    /// How many mappings there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.regions.len()
    }

    /// Whether nothing is mapped.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// The mappings by ascending address.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Region<T>> + ExactSizeIterator {
        self.regions.iter()
    }

    /// The index of the first mapping that ends after `address`: the one with it, or the next.
    #[inline]
    fn first_ending_after(&self, address: u64) -> usize {
        self.regions
            .partition_point(|region| region.end() <= address)
    }

    #[inline]
    fn index_of(&self, start: u64) -> Option<usize> {
        self.regions
            .binary_search_by_key(&start, |region| region.start)
            .ok()
    }
}

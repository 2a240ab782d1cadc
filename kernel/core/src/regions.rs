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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const PAGES: usize = 40;

    /// What each page belongs to.
    type Model = [Option<u32>; PAGES];

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u64),
        Take(u64),
        Covers(u64, u64),
        FindFree(u64, u64, u64),
        PopAny,
    }

    fn step() -> impl Strategy<Value = Step> {
        let page = 0..PAGES as u64;
        let pages = 0..PAGES as u64 + 1;
        prop_oneof![
            4 => (page.clone(), 0..8u64).prop_map(|(s, l)| Step::Insert(s, l)),
            2 => page.clone().prop_map(Step::Take),
            2 => (page.clone(), 0..12u64).prop_map(|(s, l)| Step::Covers(s, l)),
            4 => (0..8u64, page, pages).prop_map(|(l, f, t)| Step::FindFree(l, f, t)),
            1 => Just(Step::PopAny),
        ]
    }

    /// The pages of the region that has this page, if it begins there.
    fn whole(model: &Model, page: usize) -> Option<usize> {
        let id = model.get(page).copied().flatten()?;
        let begins = page == 0 || model[page - 1] != Some(id);
        let length = model[page..].iter().take_while(|&&p| p == Some(id)).count();
        begins.then_some(length)
    }

    fn covers(model: &Model, start: usize, length: usize) -> bool {
        let mut reached = start;
        while reached < start + length
            && let Some(more) = whole(model, reached)
        {
            reached += more;
        }
        length > 0 && reached == start + length
    }

    /// First fit with a free page on both sides; what is outside the model is free.
    fn first_fit(model: &Model, length: usize, from: usize, to: usize) -> Option<u64> {
        let is_free = |page: usize| model.get(page).is_none_or(|p| p.is_none());
        (from..)
            .take_while(|start| start + length <= to)
            .find(|&start| (start.saturating_sub(1)..=start + length).all(is_free))
            .filter(|_| length > 0)
            .map(|page| page as u64 * PAGE_SIZE)
    }

    fn perform(map: &mut RegionMap<u32>, model: &mut Model, id: u32, step: &Step) {
        match *step {
            Step::Insert(start, length) => {
                let result = map.insert(start * PAGE_SIZE, length * PAGE_SIZE, id);
                let (start, end) = (start as usize, (start + length) as usize);
                let inside = &model[start..end.min(PAGES)];
                if length == 0 {
                    assert_eq!(result, Err(Error::BadArgument));
                } else if inside.iter().any(|page| page.is_some()) {
                    assert_eq!(result, Err(Error::AddressInUse));
                } else if end > PAGES {
                    map.take(start as u64 * PAGE_SIZE).unwrap();
                } else {
                    assert_eq!(result, Ok(()));
                    model[start..end].fill(Some(id));
                }
            }
            Step::Take(start) => {
                let length = whole(model, start as usize);
                let taken = map.take(start * PAGE_SIZE);
                assert_eq!(
                    taken.as_ref().map(|region| region.length),
                    length.map(|length| length as u64 * PAGE_SIZE)
                );
                if let Some(length) = length {
                    assert_eq!(Some(taken.unwrap().value), model[start as usize]);
                    model[start as usize..][..length].fill(None);
                }
            }
            Step::Covers(start, length) => assert_eq!(
                map.covers_whole(start * PAGE_SIZE, length * PAGE_SIZE),
                covers(model, start as usize, length as usize)
            ),
            Step::FindFree(length, from, to) => assert_eq!(
                map.find_free(length * PAGE_SIZE, from * PAGE_SIZE, to * PAGE_SIZE),
                first_fit(model, length as usize, from as usize, to as usize)
            ),
            Step::PopAny => {
                if let Some(region) = map.pop_any() {
                    let start = (region.start / PAGE_SIZE) as usize;
                    model[start..][..(region.length / PAGE_SIZE) as usize].fill(None);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn behaves_like_an_array_of_pages(steps in prop::collection::vec(step(), 1..80)) {
            let mut map = RegionMap::new();
            let mut model = [None; PAGES];
            for (id, step) in steps.iter().enumerate() {
                perform(&mut map, &mut model, id as u32, step);
                for (page, owner) in model.iter().enumerate() {
                    let address = page as u64 * PAGE_SIZE + 77;
                    prop_assert_eq!(map.find(address).map(|region| region.value), *owner);
                }
                prop_assert_eq!(map.len(), map.iter().count());
                prop_assert_eq!(map.is_empty(), model.iter().all(|page| page.is_none()));
                prop_assert!(map.iter().is_sorted_by_key(|region| region.start));
            }
        }

        #[test]
        fn no_argument_panics(start: u64, length: u64, to: u64) {
            let mut map = RegionMap::new();
            map.insert(0x5000, 0x1000, ()).unwrap();
            for (start, length, to) in [
                (start, length, to),
                (start & !0xfff, length & !0xfff, to & !0xfff),
                (start | !0xfff_ffff, length & 0xfff_f000, to),
            ] {
                map.covers_whole(start, length);
                map.find(start);
                map.find_free(length, start, to);
                if map.insert(start, length, ()).is_ok() {
                    prop_assert!(map.covers_whole(start, length));
                    map.take(start).unwrap();
                }
            }
        }
    }

    #[test]
    fn the_end_of_the_address_space() {
        let last = PAGE_SIZE.wrapping_neg();
        let mut map = RegionMap::new();
        assert_eq!(map.insert(last, PAGE_SIZE, ()), Err(Error::BadArgument));
        map.insert(last - PAGE_SIZE, PAGE_SIZE, ()).unwrap();
        assert!(map.find(last - 1).is_some());
        assert!(map.find(u64::MAX).is_none());
        assert_eq!(map.find_free(PAGE_SIZE, last - PAGE_SIZE, u64::MAX), None);
        assert_eq!(map.find_free(!0xfff, PAGE_SIZE, u64::MAX), None);
    }

    #[test]
    fn arguments_must_be_whole_pages() {
        let mut map = RegionMap::new();
        for (start, length) in [(1, 4096), (4096, 1), (4096, 0), (2048, 2048)] {
            assert_eq!(map.insert(start, length, ()), Err(Error::BadArgument));
        }
        assert_eq!(map.find_free(1, 0, 1 << 20), None);
        assert_eq!(map.find_free(4096, 1, 1 << 20), None);
    }

    #[test]
    fn the_limit_is_exact() {
        let mut map = RegionMap::default();
        for n in 0..MAX_REGIONS_PER_SPACE as u64 {
            map.insert(n * 2 * PAGE_SIZE, PAGE_SIZE, n).unwrap();
        }
        let next = MAX_REGIONS_PER_SPACE as u64 * 2 * PAGE_SIZE;
        assert_eq!(map.insert(next, PAGE_SIZE, 0), Err(Error::LimitReached));
        // What is wrong with the request comes before what is wrong with the table.
        assert_eq!(map.insert(0, PAGE_SIZE, 0), Err(Error::AddressInUse));
        map.take(0).unwrap();
        map.insert(next, PAGE_SIZE, 0).unwrap();
        let popped: Vec<_> = core::iter::from_fn(|| map.pop_any()).collect();
        assert_eq!(popped.len(), MAX_REGIONS_PER_SPACE);
    }

    #[test]
    fn a_gap_is_not_covered_and_neighbours_are() {
        let mut map = RegionMap::new();
        for page in [1, 2, 4] {
            map.insert(page * PAGE_SIZE, PAGE_SIZE, page).unwrap();
        }
        assert!(map.covers_whole(PAGE_SIZE, 2 * PAGE_SIZE));
        assert!(!map.covers_whole(PAGE_SIZE, 3 * PAGE_SIZE));
        assert!(!map.covers_whole(PAGE_SIZE, 4 * PAGE_SIZE));
        assert!(!map.covers_whole(0, 2 * PAGE_SIZE));
        assert!(!map.covers_whole(PAGE_SIZE, 0));
        assert!(!map.covers_whole(PAGE_SIZE, PAGE_SIZE / 2));
    }
}

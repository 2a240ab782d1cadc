//! What the page tables say: ranges mapped with the largest pages that fit.
//!
//! Four levels, 9 bits each (Intel SDM volume 3, 4.5). Tables are reached through [`Tables`], so
//! that the host's tests can read back what was written.

use core::ops::Range;

/// Bits of a page-table entry (Intel SDM volume 3, tables 4-15 to 4-20).
pub mod bits {
    /// The entry means something.
    pub const PRESENT: u64 = 1;
    /// Writes are permitted.
    pub const WRITABLE: u64 = 1 << 1;
    /// The entry maps a page of 2 MiB or 1 GiB instead of naming a table.
    pub const LARGE: u64 = 1 << 7;
    /// The translation outlives a change of address space.
    pub const GLOBAL: u64 = 1 << 8;
    /// Instructions must not be fetched.
    pub const NO_EXECUTE: u64 = 1 << 63;
    /// Where the address is.
    pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
}

const KIB_4: u64 = 1 << 12;
const MIB_2: u64 = 1 << 21;
const GIB_1: u64 = 1 << 30;

/// Page tables in physical memory. An address is that of a table and a multiple of 4 KiB.
pub trait Tables {
    /// Why there are no more tables.
    type Error;
    /// A new table, all zeros.
    fn allocate(&mut self) -> Result<u64, Self::Error>;
    /// Reads an entry; `index` is below 512.
    fn get(&self, table: u64, index: usize) -> u64;
    /// Writes an entry; `index` is below 512.
    fn set(&mut self, table: u64, index: usize, entry: u64);
}

/// What the processor can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Pages can be made not executable (`EFER.NXE`).
    pub no_execute: bool,
    /// Pages of 1 GiB.
    pub gigabyte_pages: bool,
}

/// How a range is mapped. All mappings are global and readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// It may be written.
    pub write: bool,
    /// Instructions may be fetched from it.
    pub execute: bool,
}

/// An address space that is being built.
#[derive(Debug)]
pub struct AddressSpace<T> {
    tables: T,
    root: u64,
    features: Features,
}

impl<T: Tables> AddressSpace<T> {
    /// An empty one.
    pub fn new(mut tables: T, features: Features) -> Result<Self, T::Error> {
        let root = tables.allocate()?;
        Ok(Self {
            tables,
            root,
            features,
        })
    }

    /// The address of the top table.
    pub const fn root(&self) -> u64 {
        self.root
    }

    /// Gives the tables back.
    pub fn into_tables(self) -> T {
        self.tables
    }

    /// Puts a ready table (of the third level) into the top table, for the 512 GiB from
    /// `virtual_start` on.
    pub fn link(&mut self, virtual_start: u64, table: u64) {
        let entry = table | bits::PRESENT | bits::WRITABLE;
        self.tables.set(self.root, index(virtual_start, 3), entry);
    }

    /// Maps a physical range at `virtual_start`, with the largest pages that its alignment and
    /// the processor permit. All must be whole pages; nothing may be mapped there yet.
    pub fn map(
        &mut self,
        virtual_start: u64,
        physical: Range<u64>,
        access: Access,
    ) -> Result<(), T::Error> {
        let mut flags = bits::PRESENT | bits::GLOBAL;
        if access.write {
            flags |= bits::WRITABLE;
        }
        if !access.execute && self.features.no_execute {
            flags |= bits::NO_EXECUTE;
        }
        let (mut address, mut at) = (virtual_start, physical.start);
        while at < physical.end {
            let (level, size) = self.page_size(address, at, physical.end - at);
            let table = self.table(address, level)?;
            let (first, left) = (index(address, level), (physical.end - at) / size);
            let large = if level == 0 { 0 } else { bits::LARGE };
            // The table's end is the next place where a larger page can begin.
            let pages = left.min(512 - first as u64);
            for page in 0..pages {
                let entry = (at + page * size) | flags | large;
                self.tables.set(table, first + page as usize, entry);
            }
            address += pages * size;
            at += pages * size;
        }
        Ok(())
    }

    /// The level and size of the largest page that can begin here.
    fn page_size(&self, address: u64, physical: u64, length: u64) -> (u32, u64) {
        let fits = |size: u64| (address | physical).is_multiple_of(size) && length >= size;
        if self.features.gigabyte_pages && fits(GIB_1) {
            (2, GIB_1)
        } else if fits(MIB_2) {
            (1, MIB_2)
        } else {
            (0, KIB_4)
        }
    }

    /// The table of this level for this address; those on the way to it are made if necessary.
    fn table(&mut self, address: u64, level: u32) -> Result<u64, T::Error> {
        let mut table = self.root;
        for above in (level + 1..4).rev() {
            let index = index(address, above);
            let mut entry = self.tables.get(table, index);
            if entry & bits::PRESENT == 0 {
                entry = self.tables.allocate()? | bits::PRESENT | bits::WRITABLE;
                self.tables.set(table, index, entry);
            }
            table = entry & bits::ADDRESS;
        }
        Ok(table)
    }
}

/// The index of an address in a table of this level; level 0 maps 4 KiB pages.
const fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * level)) as usize & 511
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::testing::FakeTables;
    use proptest::prelude::*;

    const ALL: Features = Features {
        no_execute: true,
        gigabyte_pages: true,
    };
    const DATA: Access = Access {
        write: true,
        execute: false,
    };

    fn space(features: Features) -> AddressSpace<FakeTables> {
        let Ok(space) = AddressSpace::new(FakeTables::default(), features);
        space
    }

    #[test]
    fn the_largest_pages_are_used() {
        let mut space = space(ALL);
        let start = GIB_1 - 2 * MIB_2 - 3 * KIB_4;
        let end = 3 * GIB_1 + 5 * MIB_2 + KIB_4;
        let Ok(()) = space.map(start, start..end, DATA);
        let root = space.root();
        let tables = space.into_tables();
        let page_at = |address| tables.walk(root, address).map(|found| found.page);
        assert_eq!(page_at(start - 1), None);
        assert_eq!(page_at(start), Some(KIB_4));
        assert_eq!(page_at(start + 3 * KIB_4), Some(MIB_2));
        assert_eq!(page_at(GIB_1), Some(GIB_1));
        assert_eq!(page_at(3 * GIB_1 - 1), Some(GIB_1));
        assert_eq!(page_at(3 * GIB_1 + 5 * MIB_2 - 1), Some(MIB_2));
        assert_eq!(page_at(end - 1), Some(KIB_4));
        assert_eq!(page_at(end), None);
        // The root, one of GiB, two of MiB, two of KiB.
        assert_eq!(tables.0.len(), 6);
    }

    #[test]
    fn rights_follow_the_request_and_the_processor() {
        let old = Features {
            no_execute: false,
            ..ALL
        };
        for (features, write, execute, expected) in [
            (ALL, true, false, bits::WRITABLE | bits::NO_EXECUTE),
            (ALL, false, true, 0),
            (ALL, false, false, bits::NO_EXECUTE),
            (old, false, false, 0),
        ] {
            let mut space = space(features);
            let Ok(()) = space.map(KIB_4, 0..KIB_4, Access { write, execute });
            let root = space.root();
            let found = space.into_tables().walk(root, KIB_4).unwrap();
            assert_eq!(found.flags, expected | bits::PRESENT | bits::GLOBAL);
        }
    }

    #[test]
    fn a_linked_table_is_reached() {
        let mut space = space(ALL);
        let Ok(()) = space.map(1 << 39, 0..GIB_1, DATA);
        let pointers = 2 * KIB_4;
        space.link(0, pointers);
        let root = space.root();
        let found = space.into_tables().walk(root, 5000).unwrap();
        assert_eq!((found.physical, found.page), (5000, GIB_1));
    }

    proptest! {
        #[test]
        fn every_page_of_a_range_is_mapped_and_no_other(
            start in 0u64..1 << 20, shift in prop_oneof![Just(0u64), 0..2048u64],
            pages in 1u64..1 << 20, gigabyte_pages: bool, probes in prop::collection::vec(any::<prop::sample::Index>(), 20),
        ) {
            let mut space = space(Features { gigabyte_pages, ..ALL });
            let physical = start * KIB_4..(start + pages) * KIB_4;
            let virtual_start = (start + shift) * KIB_4 + (1 << 46);
            let Ok(()) = space.map(virtual_start, physical.clone(), DATA);
            let root = space.root();
            let tables = space.into_tables();
            let length = pages * KIB_4;
            let inside = probes.iter().map(|probe| probe.index(length as usize) as u64);
            for offset in inside.chain([0, length - 1]) {
                let found = tables.walk(root, virtual_start + offset).unwrap();
                prop_assert_eq!(found.physical, physical.start + offset);
                prop_assert!(gigabyte_pages || found.page < GIB_1);
            }
            prop_assert_eq!(tables.walk(root, virtual_start - 1), None);
            prop_assert_eq!(tables.walk(root, virtual_start + length), None);
            // The frugal bound: a table per GiB, two at the ends of each level, three above.
            if shift == 0 {
                prop_assert!(tables.0.len() as u64 <= length / GIB_1 + 8);
            }
        }
    }
}

//! What the host's tests use in the place of real memory.

extern crate std;

use crate::{
    Physical,
    page_tables::{Tables, bits},
};
use core::{convert::Infallible, ops::Range};
use std::{vec, vec::Vec};

/// Memory from address 0 on, a page of it unreadable at the start.
pub struct FakeMemory(pub Vec<u8>);

impl FakeMemory {
    /// So many bytes of zeros.
    pub fn new(length: usize) -> Self {
        Self(vec![0; length])
    }

    /// Writes bytes at an address.
    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        self.0[address as usize..][..bytes.len()].copy_from_slice(bytes);
    }
}

impl Physical for FakeMemory {
    fn bytes(&self, range: Range<u64>) -> Option<&[u8]> {
        if range.start == 0 {
            return None;
        }
        self.0.get(range.start as usize..range.end as usize)
    }
}

/// Page tables; the one with index `i` has the address `(i + 1) * 4096`.
#[derive(Debug, Default)]
pub struct FakeTables(pub Vec<[u64; 512]>);

impl Tables for FakeTables {
    type Error = Infallible;

    fn allocate(&mut self) -> Result<u64, Infallible> {
        self.0.push([0; 512]);
        Ok(self.0.len() as u64 * 4096)
    }

    fn get(&self, table: u64, index: usize) -> u64 {
        self.0[table as usize / 4096 - 1][index]
    }

    fn set(&mut self, table: u64, index: usize, entry: u64) {
        let old = &mut self.0[table as usize / 4096 - 1][index];
        assert_eq!(*old & bits::PRESENT, 0, "something is mapped there already");
        *old = entry;
    }
}

/// What a walk through the tables ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The physical address.
    pub physical: u64,
    /// Bytes in the page.
    pub page: u64,
    /// The flags of the last entry.
    pub flags: u64,
}

impl FakeTables {
    /// Walks like the processor.
    pub fn walk(&self, root: u64, address: u64) -> Option<Found> {
        let mut table = root;
        for level in (0..4).rev() {
            let page = 1u64 << (12 + 9 * level);
            let entry = self.get(table, (address / page) as usize % 512);
            if entry & bits::PRESENT == 0 {
                return None;
            }
            if level == 0 || entry & bits::LARGE != 0 {
                assert!(level < 3, "no page has 512 GiB");
                let start = entry & bits::ADDRESS;
                assert_eq!(start % page, 0, "a large page is misaligned");
                return Some(Found {
                    physical: start + address % page,
                    page,
                    flags: entry & !bits::ADDRESS,
                });
            }
            assert!(entry & bits::WRITABLE != 0 && entry & bits::NO_EXECUTE == 0);
            table = entry & bits::ADDRESS;
        }
        None
    }
}

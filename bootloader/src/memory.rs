//! Physical memory, through the identity map of the low 4 GiB.

use core::{ops::Range, ptr, slice};
use spillway_bootinfo::{PAGE_SIZE, RegionKind};
use spillway_bootloader_core::{MapError, MemoryMap, Physical, page_tables::Tables};

/// What the identity map reaches.
const LIMIT: u64 = 4 << 30;
/// Where allocations begin: what is below belongs to firmware and to the start of other cores.
const ALLOCATION_START: u64 = 1 << 20;
/// Page tables are taken from the memory map this many at a time.
const TABLE_BATCH: u64 = 64;

/// The low 4 GiB without the byte at address 0.
pub struct Identity;

impl Physical for Identity {
    fn bytes(&self, range: Range<u64>) -> Option<&[u8]> {
        if range.start == 0 || range.end > LIMIT || range.end < range.start {
            return None;
        }
        let length = (range.end - range.start) as usize;
        let start = ptr::with_exposed_provenance(range.start as usize);
        // SAFETY: the entry has mapped the low 4 GiB to themselves, address 0 is excluded (a null
        // slice is not permitted), and bytes have no invalid values. The loader writes only to
        // its own image and to memory that `allocate` took from the free regions, and reads
        // through this type only what firmware described, which is painted as in use before.
        Some(unsafe { slice::from_raw_parts(start, length) })
    }
}

/// Takes `length` bytes for the kernel from the lowest free memory between 1 MiB and 4 GiB.
/// The content is whatever was there.
pub fn allocate(
    map: &mut MemoryMap,
    length: u64,
    alignment: u64,
) -> Result<(u64, &'static mut [u8]), MapError> {
    let within = ALLOCATION_START..LIMIT;
    let start = map.allocate(length, alignment, within, RegionKind::Kernel)?;
    let pointer = ptr::with_exposed_provenance_mut(start as usize);
    // SAFETY: the range is RAM below 4 GiB, so mapped and writable, and was free: `allocate`
    // gives no page twice, and nothing that is read or runs lies in a free region.
    let bytes = unsafe { slice::from_raw_parts_mut(pointer, length as usize) };
    Ok((start, bytes))
}

/// Page tables in allocated memory.
pub struct PageTables<'a> {
    map: &'a mut MemoryMap,
    /// Pages that are taken but hold no table yet.
    spare: Range<u64>,
}

impl<'a> PageTables<'a> {
    /// None yet.
    pub fn new(map: &'a mut MemoryMap) -> Self {
        Self { map, spare: 0..0 }
    }

    /// Gives back what was taken too much.
    pub fn finish(self) -> Result<(), MapError> {
        self.map
            .paint(self.spare, RegionKind::Free, |old| old.is_some())
    }

    fn entry(table: u64, index: usize) -> *mut u64 {
        debug_assert!(index < 512);
        ptr::with_exposed_provenance_mut::<u64>(table as usize + index % 512 * 8)
    }
}

impl Tables for PageTables<'_> {
    type Error = MapError;

    fn allocate(&mut self) -> Result<u64, MapError> {
        if self.spare.is_empty() {
            let length = TABLE_BATCH * PAGE_SIZE;
            let (start, _) = allocate(self.map, length, PAGE_SIZE)?;
            self.spare = start..start + length;
        }
        let table = self.spare.start;
        self.spare.start += PAGE_SIZE;
        // SAFETY: the page was allocated above and is handed out once.
        unsafe { ptr::write_bytes(Self::entry(table, 0), 0, 512) };
        Ok(table)
    }

    fn get(&self, table: u64, index: usize) -> u64 {
        // SAFETY: `AddressSpace` names only tables that `allocate` returned, which are whole
        // pages of allocated memory; the index is taken modulo their 512 entries.
        unsafe { Self::entry(table, index).read() }
    }

    fn set(&mut self, table: u64, index: usize, entry: u64) {
        // SAFETY: as in `get`; no reference to a table exists anywhere.
        unsafe { Self::entry(table, index).write(entry) }
    }
}

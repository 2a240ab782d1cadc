//! Second-level page tables: which memory a device reaches at which I/O address.
//!
//! The algorithm only; the tables themselves are behind [`TableMemory`]. Large pages are used
//! where both addresses allow. Tables that an unmap leaves empty stay until the whole is freed, as
//! with the tables of the processor, so what was mapped is unmapped as a whole and a large page
//! never has to be split.

use spillway_abi::{Error, PAGE_SIZE};

use crate::iommu::Access;

/// Entries of a table.
pub const ENTRIES: usize = 512;

/// Readable (section 9.8), also in entries that lead to a table.
const READ: u64 = 1;
/// Writable, also in entries that lead to a table.
const WRITE: u64 = 1 << 1;
/// The entry of a level above the lowest is a page, not a table.
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Where tables are.
pub trait TableMemory {
    /// A new table, all zeros, by its physical address.
    fn allocate(&mut self) -> Result<u64, Error>;
    /// Takes a table back.
    fn free(&mut self, table: u64);
    /// An entry of a table.
    fn read(&self, table: u64, index: usize) -> u64;
    /// Sets an entry, so that the unit sees it from its next look on.
    fn write(&mut self, table: u64, index: usize, entry: u64);
}

/// The shape of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Levels of tables, 3 or 4.
    pub levels: u8,
    /// The highest level whose entries may be pages: 1 (4 KiB), 2 (2 MiB) or 3 (1 GiB).
    pub largest: u8,
}

impl Format {
    /// Bits of an address that the tables cover.
    pub const fn address_bits(self) -> u32 {
        12 + 9 * self.levels as u32
    }

    /// The highest level at which both ends of `bits` and the length allow a page.
    fn page_level(self, bits: u64, length: u64) -> u8 {
        let fits = |level: &u8| {
            let size = page_size(*level);
            bits.is_multiple_of(size) && length >= size
        };
        (2..=self.largest).rev().find(fits).unwrap_or(1)
    }
}

/// Bytes of a page at a level.
const fn page_size(level: u8) -> u64 {
    PAGE_SIZE << (9 * (level - 1))
}

const fn index(address: u64, level: u8) -> usize {
    (address / page_size(level)) as usize % ENTRIES
}

const fn is_present(entry: u64) -> bool {
    entry & (READ | WRITE) != 0
}

const fn is_page(entry: u64, level: u8) -> bool {
    is_present(entry) && (level == 1 || entry & LARGE != 0)
}

const fn is_table(entry: u64, level: u8) -> bool {
    is_present(entry) && level > 1 && entry & LARGE == 0
}

/// The page tables of one domain.
#[derive(Debug)]
pub struct SecondLevel {
    root: Option<u64>,
    format: Format,
}

impl SecondLevel {
    /// Tables with nothing mapped. The error is that of the allocation.
    pub fn new(format: Format, memory: &mut impl TableMemory) -> Result<Self, Error> {
        Ok(Self {
            root: Some(memory.allocate()?),
            format,
        })
    }

    /// The physical address of the top table; `None` once it is freed.
    pub const fn root(&self) -> Option<u64> {
        self.root
    }

    /// Maps memory that lies together at `io..io + bytes`.
    ///
    /// [`Error::BadArgument`] if an argument is not whole pages or the access is empty;
    /// [`Error::OutOfRange`] beyond the width of an address; [`Error::AddressInUse`] if something
    /// is mapped there; [`Error::Gone`] after the tables were freed; errors of the allocation.
    /// After an error that came on the way some may be mapped: [`unmap`](Self::unmap) the range.
    pub fn map(
        &mut self,
        memory: &mut impl TableMemory,
        io: u64,
        physical: u64,
        bytes: u64,
        access: Access,
    ) -> Result<(), Error> {
        self.check(io, bytes)?;
        let physical_end = physical.checked_add(bytes).ok_or(Error::OutOfRange)?;
        if !physical.is_multiple_of(PAGE_SIZE) || !(access.read || access.write) {
            return Err(Error::BadArgument);
        }
        if physical_end > ADDRESS + PAGE_SIZE {
            return Err(Error::OutOfRange);
        }
        let flags = if access.read { READ } else { 0 } | if access.write { WRITE } else { 0 };
        let mut done = 0;
        while done < bytes {
            let (io, physical) = (io + done, physical + done);
            let wanted = self.format.page_level(io | physical, bytes - done);
            let (table, level) = self.descend(memory, io, wanted)?;
            let flags = if level > 1 { flags | LARGE } else { flags };
            // Fill this table without walking down again, up to an entry that is a table.
            let size = page_size(level);
            let first = index(io, level);
            let most = (ENTRIES - first).min(((bytes - done) / size) as usize);
            for page in 0..most {
                let entry = memory.read(table, first + page);
                if is_table(entry, level) {
                    break;
                }
                if is_present(entry) {
                    return Err(Error::AddressInUse);
                }
                let target = physical + page as u64 * size;
                memory.write(table, first + page, target | flags);
                done += size;
            }
        }
        Ok(())
    }

    /// Unmaps `io..io + bytes`; what is not mapped is passed over. What the unit remembers must be
    /// flushed before the memory is used for anything else.
    ///
    /// [`Error::BadArgument`] if the range is not whole pages, or cuts a large page: what lies
    /// before that page is unmapped then. [`Error::OutOfRange`] beyond the width of an address;
    /// [`Error::Gone`] after the tables were freed.
    pub fn unmap(
        &mut self,
        memory: &mut impl TableMemory,
        io: u64,
        bytes: u64,
    ) -> Result<(), Error> {
        let root = self.check(io, bytes)?;
        let end = io + bytes;
        let mut address = io;
        while address < end {
            let (mut table, mut level) = (root, self.format.levels);
            let mut entry = memory.read(table, index(address, level));
            while is_table(entry, level) {
                table = entry & ADDRESS;
                level -= 1;
                entry = memory.read(table, index(address, level));
            }
            let size = page_size(level);
            if is_page(entry, level) {
                if !address.is_multiple_of(size) || end - address < size {
                    return Err(Error::BadArgument);
                }
                memory.write(table, index(address, level), 0);
            }
            address = (address / size + 1) * size;
        }
        Ok(())
    }

    /// Where an I/O address leads, and with which access.
    pub fn translate(&self, memory: &impl TableMemory, io: u64) -> Option<(u64, Access)> {
        if io >> self.format.address_bits() != 0 {
            return None;
        }
        let (mut table, mut level) = (self.root?, self.format.levels);
        loop {
            let entry = memory.read(table, index(io, level));
            if is_page(entry, level) {
                let access = Access {
                    read: entry & READ != 0,
                    write: entry & WRITE != 0,
                };
                return Some(((entry & ADDRESS) + io % page_size(level), access));
            }
            if !is_present(entry) {
                return None;
            }
            table = entry & ADDRESS;
            level -= 1;
        }
    }

    /// Frees at most `most` tables, the top one last. Returns how many were freed: fewer than
    /// `most` means that all are. The unit must not walk them any more.
    pub fn free_some(&mut self, memory: &mut impl TableMemory, most: u64) -> u64 {
        let Some(root) = self.root else {
            return 0;
        };
        let freed = free_table(memory, root, self.format.levels, most);
        if freed < most {
            memory.free(root);
            self.root = None;
            return freed + 1;
        }
        freed
    }

    fn check(&self, io: u64, bytes: u64) -> Result<u64, Error> {
        if !(io | bytes).is_multiple_of(PAGE_SIZE) {
            return Err(Error::BadArgument);
        }
        let end = io.checked_add(bytes).ok_or(Error::OutOfRange)?;
        if end > 1 << self.format.address_bits() {
            return Err(Error::OutOfRange);
        }
        self.root.ok_or(Error::Gone)
    }

    /// The table with the entry for an address at the wanted level, made if need be, or at a lower
    /// one if a table stands where the large page would.
    fn descend(
        &mut self,
        memory: &mut impl TableMemory,
        io: u64,
        wanted: u8,
    ) -> Result<(u64, u8), Error> {
        let (mut table, mut level) = (self.root.ok_or(Error::Gone)?, self.format.levels);
        loop {
            let entry = memory.read(table, index(io, level));
            if is_table(entry, level) {
                table = entry & ADDRESS;
            } else if level <= wanted {
                return Ok((table, level));
            } else if is_present(entry) {
                return Err(Error::AddressInUse);
            } else {
                let lower = memory.allocate()?;
                memory.write(table, index(io, level), lower | READ | WRITE);
                table = lower;
            }
            level -= 1;
        }
    }
}

/// Frees what is below a table, which stays, up to a number of tables.
fn free_table(memory: &mut impl TableMemory, table: u64, level: u8, most: u64) -> u64 {
    let mut freed = 0;
    let slots = if level > 1 { ENTRIES } else { 0 };
    for slot in 0..slots {
        let entry = memory.read(table, slot);
        if !is_table(entry, level) {
            continue;
        }
        freed += free_table(memory, entry & ADDRESS, level - 1, most - freed);
        if freed == most {
            break;
        }
        memory.write(table, slot, 0);
        memory.free(entry & ADDRESS);
        freed += 1;
        if freed == most {
            break;
        }
    }
    freed
}

#[cfg(test)]
mod tests;

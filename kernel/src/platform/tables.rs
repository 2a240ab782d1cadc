//! Bounded access to the firmware's ACPI tables.
//!
//! Firmware tables come from outside: an address, a length or an entry may be wrong. The `acpi`
//! crate knows the structures but trusts what they say, so here every table is first cut out as a
//! slice, checked to lie in memory that the loader reported, and structures are copied from it.

use acpi::sdt::{SdtHeader, Signature};
use spillway_bootinfo::{BootInfo, Region, RegionKind};

use crate::memory;

/// Bytes of the header that every table begins with (ACPI 6.5, section 5.2.6).
pub const HEADER: usize = size_of::<SdtHeader>();
/// Longer tables are refused: the largest that are known (a DSDT) have some hundred KiB.
const MAX_LENGTH: usize = 4 << 20;

/// A structure of the `acpi` crate, or a number, that can be copied from a table.
///
/// # Safety
/// Every pattern of bits is a value of the type.
pub unsafe trait Plain: Copy {}

// SAFETY: numbers take every pattern of bits.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: the structure has numbers only.
unsafe impl Plain for SdtHeader {}
// SAFETY: the structure has numbers only, some behind `MaybeUninit`.
unsafe impl Plain for acpi::fadt::Fadt {}

/// Copies a value from `offset` of a table; `None` if it does not fit.
pub fn read<T: Plain>(bytes: &[u8], offset: usize) -> Option<T> {
    let bytes = bytes.get(offset..)?.get(..size_of::<T>())?;
    // SAFETY: the slice has as many bytes as the type, and each pattern of them is a value.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The tables of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    regions: &'a [Region],
    root: &'static [u8],
    /// Bytes of an address in the root table: 4 in an RSDT, 8 in an XSDT.
    entry: usize,
}

impl<'a> Tables<'a> {
    /// Finds the root table. The error says what is wrong with it.
    pub fn open(info: &'a BootInfo) -> Result<Self, &'static str> {
        if info.acpi_root == 0 {
            return Err("the machine has none");
        }
        let regions = info
            .regions
            .get(..info.region_count as usize)
            .unwrap_or_default();
        let mut tables = Self {
            regions,
            root: &[],
            entry: 8,
        };
        if info.acpi_revision == 0 {
            tables.entry = 4;
        }
        let expected = if info.acpi_revision == 0 {
            Signature::RSDT
        } else {
            Signature::XSDT
        };
        let root = tables
            .at(info.acpi_root)
            .ok_or("the root table is not in memory")?;
        if !has_signature(root, expected) {
            return Err("the root table has a wrong signature");
        }
        if !has_valid_sum(root) {
            return Err("the root table has a wrong checksum");
        }
        tables.root = root;
        Ok(tables)
    }

    /// The first table with this signature whose checksum is right.
    pub fn find(&self, signature: Signature) -> Option<&'static [u8]> {
        let entries = self.root.get(HEADER..)?.chunks_exact(self.entry);
        for entry in entries {
            let address = entry
                .iter()
                .rev()
                .fold(0, |address, &byte| address << 8 | u64::from(byte));
            let Some(table) = self.at(address) else {
                continue;
            };
            if has_signature(table, signature) {
                if has_valid_sum(table) {
                    return Some(table);
                }
                log::warn!("ACPI table {signature} has a wrong checksum and is ignored");
            }
        }
        None
    }

    /// The table at a physical address, if it lies in memory as a whole. Signature and checksum
    /// are not looked at.
    pub fn at(&self, address: u64) -> Option<&'static [u8]> {
        let header: SdtHeader = read(self.bytes(address, HEADER)?, 0)?;
        let length = header.length as usize;
        (HEADER..=MAX_LENGTH)
            .contains(&length)
            .then(|| self.bytes(address, length))?
    }

    fn bytes(&self, address: u64, length: usize) -> Option<&'static [u8]> {
        let end = address.checked_add(length as u64)?;
        let mut covered = address;
        for region in self.regions {
            if region.start <= covered && covered < region.end && is_mapped(region) {
                covered = region.end;
            }
        }
        // SAFETY: all of the range is in memory that the loader mapped at the direct map and that
        // the kernel neither frees nor writes (checked below for what it could use).
        (covered >= end)
            .then(|| unsafe { core::slice::from_raw_parts(memory::phys_to_virt(address), length) })
    }
}

/// Whether the memory is in the direct map and nobody's to write.
fn is_mapped(region: &Region) -> bool {
    RegionKind::from_raw(region.kind) == Some(RegionKind::Acpi)
}

fn has_signature(table: &[u8], signature: Signature) -> bool {
    table.get(..4) == Some(signature.as_str().as_bytes())
}

/// The bytes of a table add up to 0 (ACPI 6.5, section 5.2.6).
fn has_valid_sum(table: &[u8]) -> bool {
    table.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)) == 0
}

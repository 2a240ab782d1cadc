//! The way to the ACPI tables: the root pointer is checked, and every table that the root names
//! is noted in the memory map, because firmware may keep them in memory that it calls reserved.

use crate::{
    MapError, MemoryMap, Physical,
    handover::outward,
    physical::{u32_at, u64_at},
};
use spillway_bootinfo::RegionKind;

/// Bytes of the first version of the RSDP, over which its first checksum goes (ACPI 6.5, 5.2.5.3).
const RSDP_V1: usize = 20;
/// Bytes of the second version, over which the extended checksum goes.
const RSDP_V2: usize = 36;
/// The signature of the FADT, and where it names the DSDT: with 4 and with 8 bytes (5.2.9).
const FADT: &[u8] = b"FACP";
const FADT_DSDT: usize = 40;
const FADT_X_DSDT: usize = 140;
/// Bytes of the header of every table (ACPI 6.5, 5.2.6).
const TABLE_HEADER: u64 = 36;
/// The most bytes of one table that are believed.
const MAX_TABLE: u64 = 1 << 20;

/// Where the root table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Root {
    /// The physical address of the RSDT or XSDT; 0 if there is none.
    pub address: u64,
    /// 0: an RSDT, with addresses of 4 bytes. 2 or more: an XSDT, with addresses of 8 bytes.
    pub revision: u32,
}

/// The RSDP at this address, as long as its revision makes it.
pub(crate) fn rsdp_at<P: Physical>(memory: &P, address: u64) -> Option<&[u8]> {
    let first = memory.read(address, RSDP_V1 as u64)?;
    match first[15] {
        0 => Some(first),
        _ => memory.read(address, RSDP_V2 as u64),
    }
}

/// Checks an RSDP's signature and checksums. `None` if one of them is wrong.
pub fn parse_rsdp(rsdp: &[u8]) -> Option<Root> {
    let sums_to_zero = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
            == 0
    };
    let first = rsdp.get(..RSDP_V1)?;
    if first.get(..8) != Some(b"RSD PTR ") || !sums_to_zero(first) {
        return None;
    }
    let rsdt = Root {
        address: u32_at(first, 16)?.into(),
        revision: 0,
    };
    let revision = first[15];
    if revision < 2 {
        return Some(rsdt);
    }
    let second = rsdp.get(..RSDP_V2)?;
    if !sums_to_zero(second) {
        return None;
    }
    match u64_at(second, 24)? {
        0 => Some(rsdt),
        address => Some(Root {
            address,
            revision: revision.into(),
        }),
    }
}

/// Paints the root table, every table that it names and the DSDT, which the FADT names, as [`RegionKind::Acpi`], over anything
/// but what is already in use. Tables that cannot be read (above 4 GiB) are left as they are.
pub fn paint_tables<P: Physical>(
    map: &mut MemoryMap,
    memory: &P,
    root: Root,
) -> Result<(), MapError> {
    let Some(table) = paint_table(map, memory, root.address)? else {
        return Ok(());
    };
    let entries = &table[TABLE_HEADER as usize..];
    if root.revision == 0 {
        for entry in entries.chunks_exact(4) {
            paint_entry(map, memory, u32_at(entry, 0).unwrap_or(0).into())?;
        }
    } else {
        for entry in entries.chunks_exact(8) {
            paint_entry(map, memory, u64_at(entry, 0).unwrap_or(0))?;
        }
    }
    Ok(())
}

/// Paints a table that the root names, and the DSDT if it names that: the kernel finds there how
/// to switch the machine off.
fn paint_entry<P: Physical>(map: &mut MemoryMap, memory: &P, address: u64) -> Result<(), MapError> {
    if let Some(table) = paint_table(map, memory, address)?
        && table.starts_with(FADT)
    {
        let dsdt = match u64_at(table, FADT_X_DSDT) {
            None | Some(0) => u32_at(table, FADT_DSDT).unwrap_or(0).into(),
            Some(address) => address,
        };
        paint_table(map, memory, dsdt)?;
    }
    Ok(())
}

/// Paints one table and returns its bytes.
fn paint_table<'a, P: Physical>(
    map: &mut MemoryMap,
    memory: &'a P,
    address: u64,
) -> Result<Option<&'a [u8]>, MapError> {
    let length = memory
        .read(address, TABLE_HEADER)
        .and_then(|header| u32_at(header, 4))
        .map_or(0, u64::from);
    if !(TABLE_HEADER..=MAX_TABLE).contains(&length) {
        return Ok(None);
    }
    let Some(table) = memory.read(address, length) else {
        return Ok(None);
    };
    map.paint(
        outward(address..address + length),
        RegionKind::Acpi,
        |old| matches!(old, None | Some(RegionKind::Free | RegionKind::Reserved)),
    )?;
    Ok(Some(table))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::testing::FakeMemory;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Makes the bytes up to `length` sum to zero by changing the one at `checksum`.
    fn close(bytes: &mut [u8], length: usize, checksum: usize) {
        bytes[checksum] = 0;
        let sum = bytes[..length]
            .iter()
            .fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        bytes[checksum] = sum.wrapping_neg();
    }

    fn rsdp(revision: u8, rsdt: u32, xsdt: u64) -> Vec<u8> {
        let mut rsdp = b"RSD PTR \0SPILLW".to_vec();
        rsdp.push(revision);
        rsdp.extend(rsdt.to_le_bytes());
        rsdp.extend(36u32.to_le_bytes());
        rsdp.extend(xsdt.to_le_bytes());
        rsdp.extend([0; 4]);
        close(&mut rsdp, 20, 8);
        close(&mut rsdp, 36, 32);
        rsdp
    }

    #[test]
    fn the_revision_decides_which_root_it_is() {
        let root = |address, revision| Some(Root { address, revision });
        assert_eq!(parse_rsdp(&rsdp(0, 0x1000, 0x2000)), root(0x1000, 0));
        assert_eq!(parse_rsdp(&rsdp(2, 0x1000, 0x2000)), root(0x2000, 2));
        assert_eq!(parse_rsdp(&rsdp(2, 0x1000, 0)), root(0x1000, 0));
        assert_eq!(parse_rsdp(&rsdp(0, 0x1000, 0)[..20]), root(0x1000, 0));
        assert_eq!(parse_rsdp(&rsdp(2, 0x1000, 0x2000)[..35]), None);
        assert_eq!(parse_rsdp(&rsdp(0, 0x1000, 0)[..19]), None);
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let right = rsdp(2, 0x1000, 0x2000);
        for bit in 0..right.len() * 8 {
            let mut rsdp = right.clone();
            rsdp[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse_rsdp(&rsdp), None, "bit {bit}");
        }
    }

    fn table(length: u32, entries: &[u8]) -> Vec<u8> {
        let mut table = b"TEST".to_vec();
        table.extend(length.to_le_bytes());
        table.resize(36, 0);
        table.extend(entries);
        table
    }

    #[test]
    fn tables_are_painted_over_what_is_free_or_reserved() {
        let mut memory = FakeMemory::new(0x10000);
        let entries = [0x4ff0u32, 0x8000, 0x9000, 0xf_0000].map(u32::to_le_bytes);
        memory.put(0x2000, &table(52, &entries.concat()));
        memory.put(0x4ff0, &table(36, &[]));
        memory.put(0x8000, &table(0xffff_ffff, &[]));
        memory.put(0x9000, &table(4, &[]));
        let mut map = MemoryMap::new();
        map.paint(0x1000..0x5000, RegionKind::Reserved, |_| true)
            .unwrap();
        map.paint(0x5000..0xf000, RegionKind::Free, |_| true)
            .unwrap();
        let root = Root {
            address: 0x2000,
            revision: 0,
        };
        paint_tables(&mut map, &memory, root).unwrap();
        assert!(map.is_all(0x2000..0x3000, RegionKind::Acpi));
        assert!(map.is_all(0x4000..0x6000, RegionKind::Acpi));
        assert!(
            map.is_all(0x6000..0xf000, RegionKind::Free),
            "malformed tables are left"
        );
    }

    #[test]
    fn the_dsdt_that_the_fadt_names_is_painted() {
        for (narrow, wide, length) in [
            (0x8000u32, 0u64, 148),
            (0x9000, 0x8000, 148),
            (0x8000, 0, 116),
        ] {
            let mut memory = FakeMemory::new(0x10000);
            memory.put(0x2000, &table(40, &0x4000u32.to_le_bytes()));
            let mut fadt = table(length, &[0; 112]);
            fadt[..4].copy_from_slice(FADT);
            fadt[FADT_DSDT..][..4].copy_from_slice(&narrow.to_le_bytes());
            fadt[FADT_X_DSDT..][..8].copy_from_slice(&wide.to_le_bytes());
            memory.put(0x4000, &fadt);
            memory.put(0x8000, &table(36, &[]));
            memory.put(0x9000, &table(36, &[]));
            let mut map = MemoryMap::new();
            map.paint(0x1000..0xf000, RegionKind::Reserved, |_| true)
                .unwrap();
            let root = Root {
                address: 0x2000,
                revision: 0,
            };
            paint_tables(&mut map, &memory, root).unwrap();
            assert!(map.is_all(0x8000..0x9000, RegionKind::Acpi));
            assert!(map.is_all(0x9000..0xf000, RegionKind::Reserved));
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_whatever_memory_holds(
            memory in prop::collection::vec(any::<u8>(), 0x200..0x400),
            address in 0u64..0x200, length in 0u8..255, revision in 0u32..3,
        ) {
            let mut memory = FakeMemory(memory);
            if address + 8 < 0x200 {
                memory.put(address + 4, &[length, 0, 0, 0]);
            }
            let mut map = MemoryMap::new();
            let _ = paint_tables(&mut map, &memory, Root { address, revision });
        }
    }
}

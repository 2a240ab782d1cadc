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

/// Paints the root table and every table that it names as [`RegionKind::Acpi`], over anything
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
            paint_table(map, memory, u32_at(entry, 0).unwrap_or(0).into())?;
        }
    } else {
        for entry in entries.chunks_exact(8) {
            paint_table(map, memory, u64_at(entry, 0).unwrap_or(0))?;
        }
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

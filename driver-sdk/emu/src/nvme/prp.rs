//! From PRP entries to memory (Base 2.0, 4.1.1).

use super::status::{DATA_TRANSFER_ERROR, PRP_OFFSET_INVALID, Status};
use crate::Bus;

const PAGE: u64 = 4096;

/// Calls `piece(address, bytes)` for each page of a transfer of `length` bytes, in order.
///
/// The first entry may have an offset, a multiple of four. The second is a page if that suffices,
/// else a list, which may begin at an offset that is a multiple of eight; where a list does not
/// fit into its page, the page's last entry leads to another.
pub(super) fn walk(
    bus: &Bus<'_>,
    (first, second): (u64, u64),
    length: usize,
    mut piece: impl FnMut(u64, usize) -> Result<(), Status>,
) -> Result<(), Status> {
    if first % 4 != 0 {
        return Err(PRP_OFFSET_INVALID);
    }
    let mut left = length;
    let mut page = |address: u64, left: &mut usize| {
        let bytes = (*left).min((PAGE - address % PAGE) as usize);
        *left -= bytes;
        piece(address, bytes)
    };
    page(first, &mut left)?;
    if left == 0 {
        return Ok(());
    }
    if left <= PAGE as usize {
        return match second % PAGE {
            0 => page(second, &mut left),
            _ => Err(PRP_OFFSET_INVALID),
        };
    }
    if second % 8 != 0 {
        return Err(PRP_OFFSET_INVALID);
    }
    let mut at = second;
    while left > 0 {
        let entry = bus.load::<u64>(at).map_err(|_| DATA_TRANSFER_ERROR)?;
        if entry % PAGE != 0 {
            return Err(PRP_OFFSET_INVALID);
        }
        if at % PAGE == PAGE - 8 && left > PAGE as usize {
            at = entry;
            continue;
        }
        page(entry, &mut left)?;
        at += 8;
    }
    Ok(())
}

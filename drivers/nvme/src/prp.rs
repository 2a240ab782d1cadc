//! Cutting a request's memory into commands and describing each by PRP entries (NVM Express Base
//! Specification 2.0, 4.1.1).
//!
//! The first entry of a command may begin anywhere in a page, at a multiple of four bytes; each
//! further one is a whole page, except that the last may be shorter. Where a request's segments do
//! not join like that, or where the command would be longer than the device takes, another command
//! begins.

use spillway_hal::block::Segment;

/// Bytes of a memory page: what `CC.MPS` is set to.
pub(crate) const PAGE: u64 = 4096;

/// Walks over the memory of a request, a command at a time.
#[derive(Clone, Debug)]
pub(crate) struct Commands<'a> {
    segments: &'a [Segment],
    /// Bytes of the first segment that are already in a command.
    done: u32,
    /// Bytes of the longest command: a multiple of the page.
    limit: u32,
}

impl<'a> Commands<'a> {
    /// The commands for `segments`, none of which is empty or wraps around.
    pub(crate) fn new(segments: &'a [Segment], limit: u32) -> Self {
        Self {
            segments,
            done: 0,
            limit,
        }
    }

    /// The next command's bytes, or `None` after the last. `entry(n, address)` is called for each of
    /// its PRP entries, at most one for each page of the limit and one more.
    #[inline]
    pub(crate) fn next(&mut self, mut entry: impl FnMut(usize, u64)) -> Option<u32> {
        let mut entries = 0;
        let mut length = 0;
        let mut end = None; // where the command's memory ends, so far
        while let [segment, rest @ ..] = self.segments {
            let address = segment.address.0 + u64::from(self.done);
            let in_page = (PAGE - address % PAGE) as u32;
            let joins = match end {
                None => true,
                Some(end) => end == address || (end | address) % PAGE == 0,
            };
            if !joins || length == self.limit {
                break;
            }
            let left = segment.bytes - self.done;
            let bytes = left.min(in_page).min(self.limit - length);
            // Memory that goes on inside of a page is covered by that page's entry.
            if end.is_none() || address.is_multiple_of(PAGE) {
                entry(entries, address);
                entries += 1;
            }
            length += bytes;
            end = Some(address + u64::from(bytes));
            self.done += bytes;
            if self.done == segment.bytes {
                (self.segments, self.done) = (rest, 0);
            }
        }
        (length > 0).then_some(length)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use spillway_hal::IoAddress;
    use std::{vec, vec::Vec};

    fn segment(address: u64, bytes: u32) -> Segment {
        Segment {
            address: IoAddress(address),
            bytes,
        }
    }

    /// All commands, each with its length and its entries.
    fn commands(segments: &[Segment], limit: u32) -> Vec<(u32, Vec<u64>)> {
        let mut walk = Commands::new(segments, limit);
        let mut all = vec![];
        loop {
            let mut entries = vec![];
            let length = walk.next(|index, address| {
                assert_eq!(index, entries.len());
                entries.push(address);
            });
            match length {
                Some(length) => all.push((length, entries)),
                None => return all,
            }
        }
    }

    /// The bytes that a device would touch, by the rules of the specification.
    fn touched(length: u32, entries: &[u64]) -> Vec<(u64, u32)> {
        let mut left = length;
        let mut ranges = vec![];
        for (index, &entry) in entries.iter().enumerate() {
            assert!(index == 0 || entry.is_multiple_of(PAGE));
            let bytes = left.min((PAGE - entry % PAGE) as u32);
            ranges.push((entry, bytes));
            left -= bytes;
        }
        assert_eq!(left, 0, "entries for every byte");
        ranges
    }

    #[test]
    fn one_page_is_one_entry() {
        assert_eq!(
            commands(&[segment(0x3000, 4096)], 8192),
            [(4096, vec![0x3000])]
        );
    }

    #[test]
    fn an_unaligned_page_is_two() {
        let expected = [(4096, vec![0x3004, 0x4000])];
        assert_eq!(commands(&[segment(0x3004, 4096)], 8192), expected);
    }

    #[test]
    fn the_limit_cuts() {
        let expected = [
            (8192, vec![0x3800, 0x4000, 0x5000]),
            (4096, vec![0x5800, 0x6000]),
        ];
        assert_eq!(commands(&[segment(0x3800, 12288)], 8192), expected);
    }

    #[test]
    fn scattered_pages_are_one_command() {
        let pages = [
            segment(0x3200, 0xe00),
            segment(0x9000, 4096),
            segment(0x1000, 512),
        ];
        let expected = [(0xe00 + 4096 + 512, vec![0x3200, 0x9000, 0x1000])];
        assert_eq!(commands(&pages, 1 << 20), expected);
    }

    #[test]
    fn a_gap_inside_of_a_page_cuts() {
        let pieces = [segment(0x3000, 512), segment(0x3400, 512)];
        let expected = [(512, vec![0x3000]), (512, vec![0x3400])];
        assert_eq!(commands(&pieces, 1 << 20), expected);
    }

    #[test]
    fn neighbours_are_one() {
        let pieces = [segment(0x3000, 512), segment(0x3200, 512)];
        assert_eq!(commands(&pieces, 1 << 20), [(1024, vec![0x3000])]);
    }

    proptest! {
        /// The commands touch exactly the memory of the segments, in order, and keep the limits.
        #[test]
        fn every_byte_once(
            pieces in prop::collection::vec((0u64..0x20_000, 1u32..40_000), 1..8),
            limit in (1u32..8).prop_map(|pages| pages * 4096),
        ) {
            let segments: Vec<_> =
                pieces.iter().map(|&(at, bytes)| segment(at * 4, bytes)).collect();
            let all = commands(&segments, limit);
            let merge = |mut merged: Vec<(u64, u64)>, (at, bytes): (u64, u32)| {
                match merged.last_mut() {
                    Some((start, length)) if *start + *length == at => *length += u64::from(bytes),
                    _ => merged.push((at, bytes.into())),
                }
                merged
            };
            let seen = all.iter().flat_map(|(length, entries)| touched(*length, entries));
            let meant = segments.iter().map(|segment| (segment.address.0, segment.bytes));
            prop_assert_eq!(seen.fold(vec![], merge), meant.fold(vec![], merge));
            let total: u64 = all.iter().map(|(length, _)| u64::from(*length)).sum();
            for (length, entries) in &all {
                prop_assert!(*length <= limit);
                prop_assert!(entries.len() <= (limit / 4096 + 1) as usize);
            }
            let bound = total.div_ceil(limit.into()) + segments.len() as u64 - 1;
            prop_assert!(all.len() as u64 <= bound);
        }
    }
}

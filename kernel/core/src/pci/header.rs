//! Reading a function's header from registers that may say anything.
//!
//! What a device puts into its configuration space is not to be trusted: lists may be circular,
//! pointers misaligned, types reserved. Register layouts: PCI Local Bus Specification 3.0, 6.1, 6.2.5
//! and 6.7; PCI Express Base Specification 5.0, 7.6.

use super::policy::CONFIG_SPACE;

/// Offset of the first base address register.
pub const BAR_0: u16 = 0x10;
/// Offset of the pointer to the first capability.
const CAPABILITY_POINTER: u16 = 0x34;
/// Offset of the status register; bit 4 says that there are capabilities.
const STATUS: u16 = 0x06;
const HAS_CAPABILITIES: u32 = 1 << 4;
/// Capabilities lie behind the header.
const FIRST_CAPABILITY: u16 = 0x40;
/// The most that fit: 192 bytes, at least 4 each.
const MAX_CAPABILITIES: usize = 48;
/// Extended capabilities lie behind the 256 bytes of conventional PCI.
const FIRST_EXTENDED: u16 = 0x100;
/// The most that fit: 3840 bytes, at least 4 each.
const MAX_EXTENDED: usize = 960;

/// What a base address register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// Memory, with a 32-bit address.
    Memory32,
    /// Memory, with a 64-bit address, of which the upper half is in the next register.
    Memory64,
    /// I/O ports.
    Ports,
    /// A type that is reserved, or a 64-bit address without a next register.
    Invalid,
}

impl BarKind {
    /// From the value of a register, which may be the last: a device has six, a bridge two.
    pub const fn of(value: u32, is_last: bool) -> Self {
        match (value & 1, value >> 1 & 3) {
            (1, _) => Self::Ports,
            (_, 0b00) => Self::Memory32,
            (_, 0b10) if !is_last => Self::Memory64,
            _ => Self::Invalid,
        }
    }
}

/// The bytes of a memory BAR, from what it reads after all ones were written: the lowest bit that
/// is kept. `None` if it is not implemented, or is smaller than 16 bytes.
pub const fn bar_size(low: u32, high: u32, kind: BarKind) -> Option<u64> {
    let mask = match kind {
        BarKind::Memory32 => low as u64 & !0xf | (u32::MAX as u64) << 32,
        BarKind::Memory64 => (low as u64 & !0xf) | (high as u64) << 32,
        BarKind::Ports | BarKind::Invalid => return None,
    };
    let implemented = match kind {
        BarKind::Memory32 => low & !0xf != 0,
        _ => mask != 0,
    };
    if implemented {
        Some(1 << mask.trailing_zeros())
    } else {
        None
    }
}

/// The capabilities of a function, as identifier and offset, read by `read(offset)` from aligned
/// double words. Ends after as many as there can be, whatever the device says.
pub fn capabilities(mut read: impl FnMut(u16) -> u32) -> impl Iterator<Item = (u8, u16)> {
    let has_any = read(STATUS & !3) >> 16 & HAS_CAPABILITIES != 0;
    let mut offset = if has_any {
        read(CAPABILITY_POINTER) as u16 & 0xfc
    } else {
        0
    };
    core::iter::from_fn(move || {
        if offset < FIRST_CAPABILITY {
            return None;
        }
        let header = read(offset);
        let found = (header as u8, offset);
        offset = (header >> 8) as u16 & 0xfc;
        Some(found)
    })
    .take(MAX_CAPABILITIES)
}

/// Where the first extended capability with this identifier is, read by `read(offset)` as above;
/// `None` if there is none, or if its first `bytes` do not lie in configuration space.
pub fn extended_capability(
    mut read: impl FnMut(u16) -> u32,
    wanted: u16,
    bytes: u16,
) -> Option<u16> {
    let mut offset = FIRST_EXTENDED;
    for _ in 0..MAX_EXTENDED {
        let header = read(offset);
        if header == 0 || header == u32::MAX {
            return None;
        }
        if header as u16 == wanted {
            return (offset + bytes <= CONFIG_SPACE).then_some(offset);
        }
        offset = (header >> 20) as u16 & 0xffc;
        if offset < FIRST_EXTENDED {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn any_list_ends_and_stays_inside(space in prop::collection::vec(any::<u32>(), 64)) {
            let found: Vec<_> =
                capabilities(|offset| space[usize::from(offset) / 4]).collect();
            prop_assert!(found.len() <= MAX_CAPABILITIES);
            prop_assert!(found.iter().all(|(_, at)| (0x40..0x100).contains(at) && at % 4 == 0));
        }

        #[test]
        fn any_extended_list_ends_and_stays_inside(
            space in prop::collection::vec(any::<u32>(), 1024), wanted: u16, bytes in 4u16..64,
        ) {
            let read = |offset| space[usize::from(offset) / 4];
            if let Some(at) = extended_capability(read, wanted, bytes) {
                prop_assert!(at >= 0x100 && at % 4 == 0 && at + bytes <= 4096);
            }
        }

        #[test]
        fn any_readback_is_a_size_or_none(low: u32, high: u32, value: u32, is_last: bool) {
            if let Some(size) = bar_size(low, high, BarKind::of(value, is_last)) {
                prop_assert!(size.is_power_of_two() && size >= 16);
            }
        }

        #[test]
        fn sizes_are_read_back(shift in 4u32..64) {
            let mask = !((1u64 << shift) - 1);
            let kind = BarKind::Memory64;
            prop_assert_eq!(bar_size(mask as u32 | 4, (mask >> 32) as u32, kind), Some(1 << shift));
            if shift < 32 {
                prop_assert_eq!(bar_size(mask as u32, 0, BarKind::Memory32), Some(1 << shift));
            }
        }
    }

    #[test]
    fn a_circle_ends() {
        let found = capabilities(|offset| match offset {
            0x04 => 1 << 20,
            0x34 => 0x41,
            0x40 => 0x4001,
            _ => 0,
        });
        assert_eq!(found.count(), MAX_CAPABILITIES);
    }

    /// The capability 0dh is at `at`, after a circle-free walk over one at 100h.
    fn extended(at: u16) -> Option<u16> {
        let read = |offset| match offset {
            0x100 => u32::from(at) << 20 | 1,
            _ if offset == at => 0x0d,
            _ => panic!("another register"),
        };
        extended_capability(read, 0x0d, 8)
    }

    #[test]
    fn an_extended_capability_that_sticks_out_is_none() {
        assert_eq!(extended(0x148), Some(0x148));
        assert_eq!(extended(0xff8), Some(0xff8));
        assert_eq!(extended(0xffc), None);
        assert_eq!(extended(0xf0), None);
        let circle = extended_capability(|_| 0x100 << 20 | 1, 0x0d, 8);
        assert_eq!(circle, None);
    }

    #[test]
    fn kinds_are_told_apart() {
        assert_eq!(BarKind::of(1, false), BarKind::Ports);
        assert_eq!(BarKind::of(8, false), BarKind::Memory32);
        assert_eq!(BarKind::of(4, false), BarKind::Memory64);
        assert_eq!(BarKind::of(4, true), BarKind::Invalid);
        assert_eq!(BarKind::of(2, false), BarKind::Invalid);
        assert_eq!(BarKind::of(6, false), BarKind::Invalid);
        assert_eq!(bar_size(0, 0, BarKind::Memory32), None);
        assert_eq!(bar_size(0xf, 0, BarKind::Memory64), None);
    }
}

//! Reading a function's header from registers that may say anything.
//!
//! What a device puts into its configuration space is not to be trusted: lists may be circular,
//! pointers misaligned, types reserved. Register layouts: PCI Local Bus Specification 3.0, 6.1, 6.2.5
//! and 6.7.

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
    /// From the value of the register in a slot, 0 to 5.
    pub const fn of(value: u32, slot: u8) -> Self {
        match (value & 1, value >> 1 & 3) {
            (1, _) => Self::Ports,
            (_, 0b00) => Self::Memory32,
            (_, 0b10) if slot < 5 => Self::Memory64,
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
        fn any_readback_is_a_size_or_none(low: u32, high: u32, value: u32, slot in 0u8..6) {
            if let Some(size) = bar_size(low, high, BarKind::of(value, slot)) {
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

    #[test]
    fn kinds_are_told_apart() {
        assert_eq!(BarKind::of(1, 0), BarKind::Ports);
        assert_eq!(BarKind::of(8, 0), BarKind::Memory32);
        assert_eq!(BarKind::of(4, 4), BarKind::Memory64);
        assert_eq!(BarKind::of(4, 5), BarKind::Invalid);
        assert_eq!(BarKind::of(2, 0), BarKind::Invalid);
        assert_eq!(BarKind::of(6, 0), BarKind::Invalid);
        assert_eq!(bar_size(0, 0, BarKind::Memory32), None);
        assert_eq!(bar_size(0xf, 0, BarKind::Memory64), None);
    }
}

//! The structures that Identify returns, as far as the driver needs them.
//!
//! They come from the device: every value is checked here before anything is computed from it.

use spillway_hal::block::{BlockCount, BlockSize, NamespaceId};
use spillway_hal::{DriverError, DriverErrorKind};

/// Values of CNS (NVM Express Base Specification 2.0, 5.17, figure 273).
pub(crate) mod cns {
    pub(crate) const NAMESPACE: u8 = 0x00;
    pub(crate) const CONTROLLER: u8 = 0x01;
    pub(crate) const ACTIVE_NAMESPACES: u8 = 0x02;
}

/// Bytes of every structure that Identify returns.
pub(crate) const IDENTIFY_BYTES: usize = 4096;

/// One structure: a private copy, as the device could still write to the original.
pub(crate) type Page = [u8; IDENTIFY_BYTES];

/// What the controller says about itself (5.17.2.1, figure 275). The texts are ASCII, padded with
/// spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControllerInfo {
    /// Serial number: SN, bytes 23:04.
    pub serial: [u8; 20],
    /// Model number: MN, bytes 63:24.
    pub model: [u8; 40],
    /// Firmware revision: FR, bytes 71:64.
    pub firmware: [u8; 8],
    /// Version of the specification, as register `VS` has it (3.1.3.2).
    pub version: u32,
    /// Namespaces that it may have: NN, bytes 519:516.
    pub namespaces: u32,
    /// The largest transfer of one command as the exponent of two above 4 KiB, zero without a
    /// limit: MDTS, byte 77.
    pub max_transfer_exponent: u8,
    /// Whether it has a volatile write cache: VWC, byte 525, bit 0.
    pub volatile_cache: bool,
    /// Blocks that are written whole even when power fails: AWUPF, bytes 529:528.
    pub atomic_write: BlockCount,
}

impl ControllerInfo {
    /// Reads the structure.
    ///
    /// # Errors
    ///
    /// `Unsupported` for entries of other sizes than 64 and 16 bytes.
    pub(crate) fn parse(page: &Page, version: u32) -> Result<Self, DriverError> {
        // SQES and CQES, bytes 512 and 513: the smallest size in bits 03:00, the largest in 07:04.
        let permits = |byte: u8, size: u8| byte & 0xf <= size && size <= byte >> 4;
        if !permits(page[512], 6) || !permits(page[513], 4) {
            return Err(DriverError::new(
                DriverErrorKind::Unsupported,
                "the controller does not take queue entries of 64 and 16 bytes",
            ));
        }
        Ok(Self {
            serial: bytes(page, 4),
            model: bytes(page, 24),
            firmware: bytes(page, 64),
            version,
            namespaces: u32::from_le_bytes(bytes(page, 516)),
            max_transfer_exponent: page[77],
            volatile_cache: page[525] & 1 != 0,
            atomic_write: BlockCount(u64::from(u16::from_le_bytes(bytes(page, 528))) + 1),
        })
    }

    /// Bytes of the largest transfer that one command may ask for, but no more than `cap`.
    pub(crate) fn command_bytes(&self, cap: u32) -> u32 {
        match u32::from(self.max_transfer_exponent) {
            exponent @ 1..=19 => (4096 << exponent).min(cap),
            _ => cap,
        }
    }
}

/// A namespace that the driver can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// How the controller numbers it.
    pub id: NamespaceId,
    /// Bytes of a block.
    pub block_size: BlockSize,
    /// Its size: NSZE.
    pub capacity: BlockCount,
    /// Blocks that are written whole even when power fails.
    pub atomic_write: BlockCount,
}

impl Namespace {
    /// Reads the structure (NVM Command Set Specification 1.0, 4.1.5.1). `None` for a namespace
    /// that the driver cannot use: inactive, with metadata, or with a size that no transfer fits.
    pub(crate) fn parse(
        page: &Page,
        id: NamespaceId,
        controller: &ControllerInfo,
        command_bytes: u32,
    ) -> Option<Self> {
        let capacity = u64::from_le_bytes(bytes(page, 0)); // NSZE, bytes 07:00
        // FLBAS, byte 26: the format in use, its low bits in 03:00, its high ones in 06:05.
        let format = usize::from(page[26] & 0xf | page[26] >> 1 & 0x30);
        if format > usize::from(page[25]) {
            return None; // NLBAF, byte 25: the last format that there is
        }
        // The format, from byte 128: metadata bytes in 15:00, LBADS in 23:16.
        let [metadata_low, metadata_high, shift, _] = bytes(page, 128 + 4 * format);
        let block_size = BlockSize::from_shift(shift.into())?;
        let usable = capacity != 0
            && capacity <= u64::MAX >> block_size.shift()
            && metadata_low | metadata_high == 0
            && block_size.bytes() <= command_bytes;
        // NSFEAT, byte 24, bit 1: the namespace has an atomic unit of its own, NAWUPF, 37:36.
        let atomic_write = match page[24] & 2 {
            0 => controller.atomic_write,
            _ => BlockCount(u64::from(u16::from_le_bytes(bytes(page, 36))) + 1),
        };
        usable.then_some(Self {
            id,
            block_size,
            capacity: BlockCount(capacity),
            atomic_write,
        })
    }
}

/// The next active namespaces (5.17.2.2): ascending, ended by zero. Anything that is not ascending
/// ends it as well.
pub(crate) fn active_namespaces(page: &Page) -> impl Iterator<Item = u32> + '_ {
    let mut last = 0;
    page.as_chunks::<4>()
        .0
        .iter()
        .map(|id| u32::from_le_bytes(*id))
        .take_while(move |id| *id > core::mem::replace(&mut last, *id))
}

/// `N` bytes at a constant offset of the structure.
fn bytes<const N: usize>(page: &Page, offset: usize) -> [u8; N] {
    core::array::from_fn(|index| page[offset + index])
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn controller() -> ControllerInfo {
        let mut page = [0; IDENTIFY_BYTES];
        (page[512], page[513], page[77]) = (0x66, 0x44, 7);
        ControllerInfo::parse(&page, 0x2_0000).unwrap()
    }

    fn namespace(blocks: u64, shift: u8) -> Page {
        let mut page = [0; IDENTIFY_BYTES];
        page[..8].copy_from_slice(&blocks.to_le_bytes());
        page[130] = shift;
        page
    }

    #[test]
    fn entry_sizes_are_checked() {
        let mut page = [0; IDENTIFY_BYTES];
        (page[512], page[513]) = (0x77, 0x44);
        assert!(ControllerInfo::parse(&page, 0).is_err());
        (page[512], page[513]) = (0x76, 0x54);
        assert!(ControllerInfo::parse(&page, 0).is_ok());
    }

    #[test]
    fn transfers_have_a_cap() {
        let with = |exponent| {
            let info = ControllerInfo {
                max_transfer_exponent: exponent,
                ..controller()
            };
            info.command_bytes(1 << 20)
        };
        assert_eq!(with(0), 1 << 20, "no limit");
        assert_eq!(with(1), 8192);
        assert_eq!(with(7), 512 << 10);
        assert_eq!(with(255), 1 << 20);
    }

    #[test]
    fn what_cannot_be_used_is_left_out() {
        let parse = |page: &Page| Namespace::parse(page, NamespaceId(1), &controller(), 1 << 20);
        assert_eq!(
            parse(&namespace(100, 12)).unwrap().capacity,
            BlockCount(100)
        );
        assert_eq!(parse(&namespace(0, 12)), None, "inactive");
        assert_eq!(parse(&namespace(100, 8)), None, "blocks of 256 bytes");
        assert_eq!(
            parse(&namespace(u64::MAX >> 8, 9)),
            None,
            "more than 2^64 bytes"
        );
        let mut metadata = namespace(100, 9);
        metadata[128] = 8;
        assert_eq!(parse(&metadata), None);
        let mut format = namespace(100, 9);
        format[26] = 1;
        assert_eq!(parse(&format), None, "a format that does not exist");
    }

    #[test]
    fn a_list_ends_where_it_stops_ascending() {
        let mut page = [0; IDENTIFY_BYTES];
        for (index, id) in [1u32, 4, 9, 9, 12].iter().enumerate() {
            page[4 * index..4 * index + 4].copy_from_slice(&id.to_le_bytes());
        }
        assert_eq!(active_namespaces(&page).collect::<Vec<_>>(), [1, 4, 9]);
        assert_eq!(active_namespaces(&[0xff; IDENTIFY_BYTES]).count(), 1);
    }

    proptest! {
        /// No structure makes the parser panic or accept what cannot be addressed.
        #[test]
        fn any_bytes_are_safe(seed in prop::collection::vec(any::<u8>(), IDENTIFY_BYTES)) {
            let page: &Page = seed.as_slice().try_into().unwrap();
            let info = ControllerInfo::parse(page, 0).unwrap_or(controller());
            let bytes = info.command_bytes(1 << 20);
            prop_assert!((4096..=1 << 20).contains(&bytes));
            if let Some(namespace) = Namespace::parse(page, NamespaceId(1), &info, bytes) {
                prop_assert!(namespace.capacity.bytes(namespace.block_size).is_some());
            }
        }
    }
}

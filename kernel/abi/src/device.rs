//! Devices: the table of PCI functions, what a granted function offers, and pins.
//!
//! | object | Open | Create | Destroy | Read, Write | GetMeta, SetMeta |
//! |---|---|---|---|---|---|
//! | Devices | by name, for a process | – | – | Read: [`DeviceEntry`] | – |
//! | PciFunction | – | [`FunctionCreate`] | gives it back | configuration space, mediated | [`FunctionMeta`] |
//! | DmaSpace | – | [`PinArguments`] | – | – | [`DmaSpaceMeta`] |
//! | Pin | – | – | – | – | [`PinMeta`] |
//! | Interrupt | – | – | – | – | – ([`crate::Call::Wait`] returns how many came) |
//!
//! `Open` on Devices takes `a` = address of a name, `b` = its length, `c` = a Process with
//! [`crate::Rights::MANAGE`] that becomes the owner, or null for the caller. The handle is put into
//! the owner's table and its number is returned. A name is one of
//!
//! - `pci:SSSS:BB:DD.F`: an address (segment, bus, device, function; hexadecimal),
//! - `class:CCSSII` with an optional `#N`: the N-th function, from 0, of a class, subclass and
//!   programming interface,
//! - `id:VVVV:DDDD` with an optional `#N`: the N-th function of a vendor and device.
//!
//! A function has one owner. Its handle can be neither duplicated nor passed; closing it, or the
//! owner's end, gives the function back after its revocation.

/// Why or for whom a function cannot be opened now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FunctionState {
    /// It can be opened.
    Free = 0,
    /// It has an owner.
    Owned = 1,
    /// It is being taken back.
    Revoking = 2,
    /// It could not be reset, and stays blocked.
    Blocked = 3,
    /// It is a bridge, which is never granted.
    Bridge = 4,
}

/// One function in the table of devices: a record of [`DEVICE_ENTRY_SIZE`] bytes, read at the
/// offset of its position times that size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceEntry {
    /// Segment, bus, device and function: `segment << 16 | bus << 8 | device << 3 | function`.
    pub address: u32,
    /// The vendor's number.
    pub vendor: u16,
    /// The vendor's number for the device.
    pub device: u16,
    /// What it is for.
    pub class: u8,
    /// What it is for, more exactly.
    pub subclass: u8,
    /// Its programming interface.
    pub interface: u8,
    /// Its revision.
    pub revision: u8,
    /// Functions of one group can reach each other behind the IOMMU's back, so they are granted
    /// to one owner only.
    pub group: u16,
    /// A [`FunctionState`].
    pub state: u8,
}

/// Bytes of a [`DeviceEntry`] as it is read.
pub const DEVICE_ENTRY_SIZE: usize = 16;

impl DeviceEntry {
    /// As it is read, little-endian.
    pub fn to_bytes(&self) -> [u8; DEVICE_ENTRY_SIZE] {
        let mut bytes = [0; DEVICE_ENTRY_SIZE];
        bytes[..4].copy_from_slice(&self.address.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.vendor.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.device.to_le_bytes());
        bytes[8..12].copy_from_slice(&[self.class, self.subclass, self.interface, self.revision]);
        bytes[12..14].copy_from_slice(&self.group.to_le_bytes());
        bytes[14] = self.state;
        bytes
    }

    /// The entry that was read.
    pub fn from_bytes(bytes: &[u8; DEVICE_ENTRY_SIZE]) -> Self {
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Self {
            address: u32::from(half(0)) | u32::from(half(2)) << 16,
            vendor: half(4),
            device: half(6),
            class: bytes[8],
            subclass: bytes[9],
            interface: bytes[10],
            revision: bytes[11],
            group: half(12),
            state: bytes[14],
        }
    }
}

/// `Create` on a PciFunction, the kind being argument `a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum FunctionCreate {
    /// `b` = which BAR, 0 to 5; `c` = a [`Caching`]. A Memory of its registers, mappable by the
    /// owner only.
    Bar = 1,
    /// What the function may reach by DMA. One per function.
    DmaSpace = 2,
    /// `b` = which of the function's vectors; `c` = the core that is interrupted.
    Interrupt = 3,
}

impl FunctionCreate {
    /// The kind with this number, if there is one.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        match raw {
            1 => Some(Self::Bar),
            2 => Some(Self::DmaSpace),
            3 => Some(Self::Interrupt),
            _ => None,
        }
    }
}

/// How the processor treats accesses to a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Caching {
    /// Every access reaches the device, in order.
    Uncached = 0,
    /// Writes may be gathered: for frame buffers and the like.
    WriteCombining = 1,
}

impl Caching {
    /// The caching with this number, if there is one.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        match raw {
            0 => Some(Self::Uncached),
            1 => Some(Self::WriteCombining),
            _ => None,
        }
    }
}

/// Keys of a PciFunction. Reading needs [`crate::Rights::READ`], setting
/// [`crate::Rights::MANAGE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum FunctionMeta {
    /// As in [`DeviceEntry::address`].
    Address = 1,
    /// Vendor in the low 16 bits, device above.
    Identity = 2,
    /// Revision, interface, subclass, class, from the low byte up.
    Class = 3,
    /// MSI-X or MSI vectors; 0 if it has neither.
    Vectors = 4,
    /// Settable: 1 lets the function master the bus; needs its DmaSpace.
    BusMaster = 5,
    /// Settable: any value resets the function, which takes a tenth of a second. BARs, interrupts
    /// and pins stay; bus mastering is off afterwards.
    Reset = 6,
    /// Bytes of BAR 0; the keys from here to `Bar0Size + 5` are for the six BARs. 0 if there is
    /// none, or it is an I/O port range.
    Bar0Size = 16,
}

impl FunctionMeta {
    /// The key with this number, and which BAR is meant.
    pub const fn from_raw(raw: u64) -> Option<(Self, u8)> {
        Some(match raw {
            1 => (Self::Address, 0),
            2 => (Self::Identity, 0),
            3 => (Self::Class, 0),
            4 => (Self::Vectors, 0),
            5 => (Self::BusMaster, 0),
            6 => (Self::Reset, 0),
            16..=21 => (Self::Bar0Size, (raw - 16) as u8),
            _ => return None,
        })
    }
}

/// Keys of a DmaSpace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum DmaSpaceMeta {
    /// 1 if an IOMMU confines the function, 0 if it is trusted (`dma=trust`).
    Confined = 1,
    /// Bytes pinned now.
    Pinned = 2,
}

/// Keys of a Pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum PinMeta {
    /// The address by which the function reaches the first byte.
    IoAddress = 1,
    /// Bytes.
    Length = 2,
}

/// What `Create` on a DmaSpace pins; `a` is the address of this. The Memory handle needs
/// [`crate::Rights::DMA`], and [`crate::Rights::READ`] or [`crate::Rights::WRITE`] to match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PinArguments {
    /// The Memory.
    pub memory: u32,
    /// [`PIN_TO_DEVICE`], [`PIN_FROM_DEVICE`] or both.
    pub direction: u32,
    /// Where in the Memory the range begins; whole pages.
    pub offset: u64,
    /// Bytes; whole pages.
    pub length: u64,
    /// The I/O address lies below 2 to the power of this: 20 to 64.
    pub address_bits: u32,
    /// The I/O address is a multiple of 2 to the power of this: 12 to 30.
    pub alignment_bits: u32,
}

const _: () = assert!(size_of::<PinArguments>() == 32);

/// The function may read the memory.
pub const PIN_TO_DEVICE: u32 = 1;
/// The function may write the memory.
pub const PIN_FROM_DEVICE: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_round_trip(bytes: [u8; DEVICE_ENTRY_SIZE]) {
            let entry = DeviceEntry::from_bytes(&bytes);
            let mut expected = bytes;
            expected[15] = 0;
            prop_assert_eq!(entry.to_bytes(), expected);
        }
    }

    #[test]
    fn the_bars_have_six_keys() {
        assert_eq!(FunctionMeta::from_raw(15), None);
        assert_eq!(
            FunctionMeta::from_raw(16),
            Some((FunctionMeta::Bar0Size, 0))
        );
        assert_eq!(
            FunctionMeta::from_raw(21),
            Some((FunctionMeta::Bar0Size, 5))
        );
        assert_eq!(FunctionMeta::from_raw(22), None);
    }
}

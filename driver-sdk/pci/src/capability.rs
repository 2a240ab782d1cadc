//! The two lists of capabilities.

use core::iter::FusedIterator;

use spillway_hal::{ConfigWidth, Device, DriverError};

use crate::{malformed, require_endpoint, status};

/// Offset of the pointer to the first capability (PCI Local Bus 3.0, section 6.7).
const POINTER: u16 = 0x34;
/// Capabilities lie behind the header and before the extended ones, four bytes apart at least.
const FIRST: u16 = 0x40;
const LAST: u16 = 0xfc;
/// Extended capabilities fill the rest (PCI Express Base 5.0, section 7.6.1).
const FIRST_EXTENDED: u16 = 0x100;
const LAST_EXTENDED: u16 = 0xffc;
/// As many as there is room for.
const MAX: u16 = (LAST - FIRST) / 4 + 1;
const MAX_EXTENDED: u16 = (LAST_EXTENDED - FIRST_EXTENDED) / 4 + 1;

/// What a capability is about (PCI Code and ID Assignment 1.11, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CapabilityId(pub u8);

impl CapabilityId {
    /// Power management.
    pub const POWER_MANAGEMENT: Self = Self(0x01);
    /// Message-signalled interrupts.
    pub const MSI: Self = Self(0x05);
    /// Vendor-specific; virtio describes its registers in these.
    pub const VENDOR: Self = Self(0x09);
    /// PCI Express.
    pub const EXPRESS: Self = Self(0x10);
    /// Message-signalled interrupts with a table.
    pub const MSIX: Self = Self(0x11);
}

/// A capability: what it is about and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// What it is about.
    pub id: CapabilityId,
    /// Offset in configuration space; a multiple of 4, from 0x40 to 0xfc.
    pub offset: u16,
}

/// An extended capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedCapability {
    /// What it is about (PCI Code and ID Assignment 1.11, section 3).
    pub id: u16,
    /// The version of its layout.
    pub version: u8,
    /// Offset in configuration space; a multiple of 4, from 0x100 to 0xffc.
    pub offset: u16,
}

/// The capabilities of a function, in the order of its list. At most 48; ends after an error.
///
/// # Errors
///
/// `Unsupported` for a bridge; those of the back end. Each item is `Protocol` for a list that leads
/// out of its place or runs in circles.
pub fn capabilities<D: Device>(
    device: &D,
) -> Result<impl FusedIterator<Item = Result<Capability, DriverError>>, DriverError> {
    require_endpoint(device)?;
    let first = match status(device)?.has_capability_list() {
        true => device.config_read(POINTER, ConfigWidth::Byte)? as u16,
        false => 0,
    };
    Ok(Walk {
        device,
        next: first,
        left: MAX,
        range: FIRST..=LAST,
        decode: capability,
    })
}

/// The extended capabilities of a function. At most 960; ends after an error. None where the
/// function has no extended configuration space.
pub fn extended_capabilities<D: Device>(
    device: &D,
) -> impl FusedIterator<Item = Result<ExtendedCapability, DriverError>> {
    let range = FIRST_EXTENDED..=LAST_EXTENDED;
    Walk {
        device,
        next: FIRST_EXTENDED,
        left: MAX_EXTENDED,
        range,
        decode: extended_capability,
    }
}

/// The first capability of a kind, if there is one.
///
/// # Errors
///
/// As [`capabilities`].
pub fn find_capability(
    device: &impl Device,
    id: CapabilityId,
) -> Result<Option<Capability>, DriverError> {
    capabilities(device)?
        .find(|item| !matches!(item, Ok(other) if other.id != id))
        .transpose()
}

/// A list of headers that each say where the next one is.
struct Walk<'a, D, T> {
    device: &'a D,
    /// Where the next header lies; zero at the end.
    next: u16,
    /// How many headers there can be at most: a longer list runs in circles.
    left: u16,
    range: core::ops::RangeInclusive<u16>,
    /// What a header says, `None` if it is to be skipped; and where the next one lies.
    decode: fn(u32, u16) -> (Option<T>, u16),
}

impl<D: Device, T> Walk<'_, D, T> {
    fn header(&mut self) -> Result<(Option<T>, u16), DriverError> {
        // The lowest two bits are reserved and have to be ignored.
        let offset = self.next & !3;
        if !self.range.contains(&offset) {
            return Err(malformed(
                "a capability list leads out of its place",
                offset.into(),
            ));
        }
        if self.left == 0 {
            return Err(malformed(
                "a capability list runs in circles",
                offset.into(),
            ));
        }
        self.left -= 1;
        Ok((self.decode)(
            self.device.config_read(offset, ConfigWidth::Dword)?,
            offset,
        ))
    }
}

impl<D: Device, T> Iterator for Walk<'_, D, T> {
    type Item = Result<T, DriverError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next != 0 {
            match self.header() {
                Ok((item, next)) => {
                    self.next = next;
                    if let Some(item) = item {
                        return Some(Ok(item));
                    }
                }
                Err(error) => {
                    self.next = 0;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl<D: Device, T> FusedIterator for Walk<'_, D, T> {}

fn capability(header: u32, offset: u16) -> (Option<Capability>, u16) {
    let [id, next, ..] = header.to_le_bytes();
    match id {
        // A function that is gone reads as all ones.
        0xff => (None, 0),
        // The null capability holds nothing but the pointer.
        0x00 => (None, next.into()),
        _ => (
            Some(Capability {
                id: CapabilityId(id),
                offset,
            }),
            next.into(),
        ),
    }
}

fn extended_capability(header: u32, offset: u16) -> (Option<ExtendedCapability>, u16) {
    if header == 0 || header == u32::MAX {
        return (None, 0);
    }
    let item = ExtendedCapability {
        id: header as u16,
        version: (header >> 16) as u8 & 0xf,
        offset,
    };
    (Some(item), (header >> 20) as u16)
}

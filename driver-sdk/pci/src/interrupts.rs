//! How many interrupt vectors a function has, and where their table lies. The back end programs
//! them; a driver reads this to decide how many queues to open and what not to touch.

use core::ops::Range;

use spillway_hal::{ConfigWidth, Device, DriverError};

use crate::{CapabilityId, find_capability, malformed};

/// Bytes of an entry of the MSI-X table (PCI Local Bus 3.0, section 6.8.2.6).
const ENTRY: u64 = 16;
/// Bytes of the MSI-X capability, and where capabilities have to end.
const LENGTH: u16 = 12;
const EXTENDED: u16 = 0x100;
/// The last BAR of an endpoint.
const LAST_BAR: u8 = 5;

/// The MSI capability (PCI Local Bus 3.0, section 6.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msi {
    /// Vectors: 1 to 32, a power of two.
    pub vectors: u16,
    /// Whether messages can go above 4 GiB.
    pub wide: bool,
    /// Whether single vectors can be masked.
    pub maskable: bool,
}

impl Msi {
    /// Reads it; `None` if the function has none.
    ///
    /// # Errors
    ///
    /// `Protocol` for a reserved number of vectors or a broken list; those of the back end.
    pub fn read(device: &impl Device) -> Result<Option<Self>, DriverError> {
        let Some(capability) = find_capability(device, CapabilityId::MSI)? else {
            return Ok(None);
        };
        let control = device.config_read(capability.offset + 2, ConfigWidth::Word)?;
        let exponent = control >> 1 & 0x7;
        if exponent > 5 {
            return Err(malformed("MSI has at most 32 vectors", control.into()));
        }
        Ok(Some(Self {
            vectors: 1 << exponent,
            wide: control & 0x80 != 0,
            maskable: control & 0x100 != 0,
        }))
    }
}

/// A place in a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which BAR, 0 to 5.
    pub bar: u8,
    /// Bytes from its start; a multiple of 8.
    pub offset: u32,
}

/// The MSI-X capability (PCI Local Bus 3.0, section 6.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msix {
    /// Vectors: 1 to 2048.
    pub vectors: u16,
    /// Where the table lies.
    pub table: Place,
    /// Where the pending bits lie.
    pub pending: Place,
}

impl Msix {
    /// Reads it; `None` if the function has none.
    ///
    /// # Errors
    ///
    /// `Protocol` for a table in a BAR that cannot be, one that overlaps its pending bits, or a
    /// broken list; those of the back end.
    pub fn read(device: &impl Device) -> Result<Option<Self>, DriverError> {
        let Some(capability) = find_capability(device, CapabilityId::MSIX)? else {
            return Ok(None);
        };
        let at = capability.offset;
        if at + LENGTH > EXTENDED {
            return Err(malformed(
                "MSI-X reaches into the extended capabilities",
                at.into(),
            ));
        }
        let control = device.config_read(at + 2, ConfigWidth::Word)?;
        let [table, pending] =
            [at + 4, at + 8].map(|offset| place(device.config_read(offset, ConfigWidth::Dword)?));
        let msix = Self {
            vectors: (control & 0x7ff) as u16 + 1,
            table: table?,
            pending: pending?,
        };
        let (table, pending) = (msix.table_range(), msix.pending_range());
        let apart = table.end <= pending.start || pending.end <= table.start;
        if msix.table.bar == msix.pending.bar && !apart {
            return Err(malformed(
                "the MSI-X table overlaps its pending bits",
                table.start,
            ));
        }
        Ok(Some(msix))
    }

    /// The bytes of its BAR that the table takes.
    pub fn table_range(&self) -> Range<u64> {
        let start = u64::from(self.table.offset);
        start..start + ENTRY * u64::from(self.vectors)
    }

    /// The bytes of its BAR that the pending bits take: words of 64 vectors.
    pub fn pending_range(&self) -> Range<u64> {
        let start = u64::from(self.pending.offset);
        start..start + 8 * u64::from(self.vectors.div_ceil(64))
    }
}

fn place(register: u32) -> Result<Place, DriverError> {
    let bar = register as u8 & 0x7;
    if bar > LAST_BAR {
        return Err(malformed(
            "MSI-X lies in a BAR that cannot be",
            register.into(),
        ));
    }
    Ok(Place {
        bar,
        offset: register & !0x7,
    })
}

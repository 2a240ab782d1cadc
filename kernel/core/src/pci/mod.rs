//! PCI without the hardware: addresses, names, isolation groups, and what an owner may write into
//! configuration space.

pub mod groups;
pub mod header;
pub mod name;
pub mod policy;
pub mod windows;

use core::fmt;

/// Where a function is: also what it signs its requests with (segment apart).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId {
    /// The segment group.
    pub segment: u16,
    /// The bus.
    pub bus: u8,
    /// The device on the bus, 0 to 31.
    pub device: u8,
    /// The function of the device, 0 to 7.
    pub function: u8,
}

impl FunctionId {
    /// From `segment << 16 | bus << 8 | device << 3 | function`.
    pub const fn from_raw(raw: u32) -> Self {
        Self {
            segment: (raw >> 16) as u16,
            bus: (raw >> 8) as u8,
            device: raw as u8 >> 3,
            function: raw as u8 & 7,
        }
    }

    /// As one number, the inverse of [`Self::from_raw`].
    pub const fn raw(self) -> u32 {
        (self.segment as u32) << 16 | self.requester() as u32
    }

    /// The requester identifier: bus, device and function.
    pub const fn requester(self) -> u16 {
        (self.bus as u16) << 8 | (self.device as u16) << 3 | self.function as u16
    }
}

impl fmt::Display for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            segment,
            bus,
            device,
            function,
        } = self;
        write!(f, "{segment:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn addresses_round_trip(raw: u32) {
            prop_assert_eq!(FunctionId::from_raw(raw).raw(), raw);
        }
    }
}

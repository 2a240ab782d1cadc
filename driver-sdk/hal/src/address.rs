//! Addresses as the device sees them.

use core::fmt;
use core::ops::Add;

/// Where a device finds a byte of pinned memory: what a driver writes into descriptors.
///
/// It is neither a virtual nor a physical address and means something to one device only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct IoAddress(pub u64);

impl IoAddress {
    /// The address as the device's registers and descriptors take it.
    #[inline]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The address `bytes` further on, or `None` past the end of the address space.
    #[inline]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(address) => Some(Self(address)),
            None => None,
        }
    }
}

/// Wraps around at the end of the address space: no memory is pinned there, so a wrapped address
/// can only be refused.
impl Add<u64> for IoAddress {
    type Output = Self;

    #[inline]
    fn add(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

impl fmt::Debug for IoAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "IoAddress({:#x})", self.0)
    }
}

impl fmt::LowerHex for IoAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, out)
    }
}

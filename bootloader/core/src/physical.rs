//! Reading physical memory that firmware or a hypervisor has filled.

use core::ops::Range;

/// Physical memory that can be read.
pub trait Physical {
    /// The bytes of a range, or `None` where the loader cannot read: address 0, and
    /// everything above 4 GiB.
    fn bytes(&self, range: Range<u64>) -> Option<&[u8]>;

    /// `length` bytes from `start` on.
    fn read(&self, start: u64, length: u64) -> Option<&[u8]> {
        self.bytes(start..start.checked_add(length)?)
    }
}

/// The little-endian 32-bit word at this offset.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The little-endian 64-bit word at this offset.
pub fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

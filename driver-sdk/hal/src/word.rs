//! The integers that one bus access can carry.

use core::fmt::{Debug, LowerHex};

mod sealed {
    pub trait Sealed {}
}

/// `u8`, `u16`, `u32` or `u64`: what one access to a register or to DMA memory carries.
///
/// Sealed, so that a back end may rely on every bit pattern being a value.
pub trait Word: Copy + Eq + Debug + LowerHex + sealed::Sealed + 'static {
    /// Bytes of one access; the natural alignment as well.
    const BYTES: usize;

    /// The low bytes of `value`.
    fn from_u64(value: u64) -> Self;

    /// The value, zero-extended.
    fn to_u64(self) -> u64;
}

macro_rules! word {
    ($($integer:ty),*) => {$(
        impl sealed::Sealed for $integer {}

        impl Word for $integer {
            const BYTES: usize = size_of::<$integer>();

            #[inline(always)]
            fn from_u64(value: u64) -> Self {
                value as Self
            }

            #[inline(always)]
            fn to_u64(self) -> u64 {
                self as u64
            }
        }
    )*};
}

word!(u8, u16, u32, u64);

//! Handles and the rights they carry.

use bitflags::bitflags;

/// Names an object in the calling process's handle table: 16 bits of index, 16 of generation.
///
/// A handle says nothing by itself: the kernel looks it up at every use. The generation makes a
/// handle that was closed invalid, also after its slot is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Handle(u32);

impl Handle {
    /// Names nothing. Generations begin at 1, so no real handle has this value.
    pub const NULL: Self = Self(0);

    /// A handle from its parts. A generation of 0 names nothing.
    pub const fn new(index: u16, generation: u16) -> Self {
        Self((generation as u32) << 16 | index as u32)
    }

    /// A handle from a register or a message. Any value is allowed; most name nothing.
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The value that travels in registers and messages.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// The slot in the handle table.
    pub const fn index(self) -> u16 {
        self.0 as u16
    }

    /// How often the slot had been given out when this handle was made.
    pub const fn generation(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

bitflags! {
    /// What a handle allows. Rights can only shrink, by [`crate::Call::Duplicate`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Rights: u32 {
        /// Read the object, or map it readable.
        const READ = 1 << 0;
        /// Write the object, or map it writable.
        const WRITE = 1 << 1;
        /// Map it executable.
        const EXECUTE = 1 << 2;
        /// Map it at all.
        const MAP = 1 << 3;
        /// Pin it for a device.
        const DMA = 1 << 4;
        /// Make another handle in the same process.
        const DUPLICATE = 1 << 5;
        /// Make a handle in another process.
        const TRANSFER = 1 << 6;
        /// Change or end what the object stands for, or create objects from it.
        const MANAGE = 1 << 7;
        /// Wait for what the object reports.
        const WAIT = 1 << 8;
    }
}

impl Rights {
    /// The accesses that a mapping can have.
    pub const ACCESS: Self = Self::READ.union(Self::WRITE).union(Self::EXECUTE);
    /// The right to make more handles, here and elsewhere.
    pub const PASS: Self = Self::DUPLICATE.union(Self::TRANSFER);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_round_trip(index: u16, generation: u16) {
            let handle = Handle::new(index, generation);
            prop_assert_eq!((handle.index(), handle.generation()), (index, generation));
            prop_assert_eq!(Handle::from_raw(handle.raw()), handle);
        }
    }

    #[test]
    fn null_has_generation_zero() {
        assert_eq!(Handle::NULL, Handle::new(0, 0));
    }
}

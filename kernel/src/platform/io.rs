//! Ports and model-specific registers.
//!
//! Whether an access can do harm depends on the register, not on the moment. So the promise is
//! made once, where a register gets its name, and using it is safe.

use core::marker::PhantomData;

use x86_64::{
    registers::model_specific,
    structures::port::{PortRead, PortWrite},
};

/// An I/O port that takes values of type `T`.
#[derive(Debug)]
pub struct Port<T> {
    number: u16,
    value: PhantomData<T>,
}

impl<T> Port<T> {
    /// Names a port.
    ///
    /// # Safety
    /// No read of it and no value written to it may change memory that Rust relies on.
    pub const unsafe fn new(number: u16) -> Self {
        Self {
            number,
            value: PhantomData,
        }
    }
}

impl<T: PortRead> Port<T> {
    /// Reads the port.
    #[inline]
    pub fn read(&self) -> T {
        // SAFETY: who named the port promised that access to it is harmless.
        unsafe { T::read_from_port(self.number) }
    }
}

impl<T: PortWrite> Port<T> {
    /// Writes the port.
    #[inline]
    pub fn write(&self, value: T) {
        // SAFETY: who named the port promised that access to it is harmless.
        unsafe { T::write_to_port(self.number, value) }
    }
}

/// A model-specific register.
#[derive(Clone, Copy, Debug)]
pub struct Msr(u32);

impl Msr {
    /// Names a register.
    ///
    /// # Safety
    /// It must exist wherever it is used, and no value that its users write may change what
    /// memory means to Rust.
    pub const unsafe fn new(number: u32) -> Self {
        Self(number)
    }

    /// Reads the register.
    #[inline]
    pub fn read(self) -> u64 {
        // SAFETY: who named the register promised that it exists.
        unsafe { model_specific::Msr::new(self.0).read() }
    }

    /// Writes the register.
    #[inline]
    pub fn write(self, value: u64) {
        // SAFETY: who named the register promised that it exists and that writes are harmless.
        unsafe { model_specific::Msr::new(self.0).write(value) }
    }
}

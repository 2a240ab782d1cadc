//! What a function reaches by DMA: its space, pins in it, and its interrupts.

use spillway_abi::{
    Error, Handle,
    call::Operation,
    device::{DmaSpaceMeta, PinArguments, PinMeta},
};

use super::{Object, OwnedHandle, object};
use crate::{syscall, time::Deadline};

/// The I/O address space of one function.
#[derive(Debug)]
pub struct DmaSpace(OwnedHandle);

object!(DmaSpace);

impl DmaSpace {
    /// Whether an IOMMU confines the function. If not, what is pinned must be contiguous in
    /// physical memory.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn is_confined(&self) -> Result<bool, Error> {
        self.meta(DmaSpaceMeta::Confined).map(|value| value != 0)
    }

    /// One of the values that describe the space.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn meta(&self, key: DmaSpaceMeta) -> Result<u64, Error> {
        // SAFETY: reading a value touches no memory.
        unsafe { syscall::do_io(self.handle(), Operation::GetMeta, [key as u64, 0, 0, 0]) }
    }

    /// Lets the function reach a range of memory.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] for arguments outside the ranges that [`PinArguments`] names,
    /// [`Error::OutOfRange`] for a range outside the memory or an I/O address that cannot be had,
    /// [`Error::LimitReached`], [`Error::Gone`], and those of the two handles.
    pub fn pin(&self, arguments: &PinArguments) -> Result<Pin, Error> {
        let address = core::ptr::from_ref(arguments) as u64;
        // SAFETY: the kernel only reads the arguments. What the function does to the memory is a
        // matter of whoever makes slices of a mapping of it, which is unsafe.
        let handle =
            unsafe { syscall::do_io(self.handle(), Operation::Create, [address, 0, 0, 0])? };
        Ok(Pin(OwnedHandle::new(Handle::from_raw(handle as u32))))
    }
}

/// A range of memory that a function reaches. Dropping it takes the range away: the function no
/// longer reaches it when that returns, if an IOMMU confines it.
#[derive(Debug)]
pub struct Pin(OwnedHandle);

object!(Pin);

impl Pin {
    /// The address by which the function reaches the first byte.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn io_address(&self) -> Result<u64, Error> {
        self.meta(PinMeta::IoAddress)
    }

    /// Bytes.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn length(&self) -> Result<u64, Error> {
        self.meta(PinMeta::Length)
    }

    fn meta(&self, key: PinMeta) -> Result<u64, Error> {
        // SAFETY: reading a value touches no memory.
        unsafe { syscall::do_io(self.handle(), Operation::GetMeta, [key as u64, 0, 0, 0]) }
    }
}

/// One of a function's vectors, bound to a core; unbound when dropped.
#[derive(Debug)]
pub struct Interrupt(OwnedHandle);

object!(Interrupt);

impl Interrupt {
    /// Waits until it comes; returns how often it came since the last time.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Interrupted`], [`Error::Gone`] after the revocation, and those
    /// of the handle.
    pub fn wait(&self, deadline: Deadline) -> Result<u64, Error> {
        syscall::wait(self.handle(), deadline.raw())
    }

    /// How often it came since the last time, without waiting.
    ///
    /// # Errors
    ///
    /// As for [`Self::wait`], without [`Error::TimedOut`].
    pub fn poll(&self) -> Result<u64, Error> {
        match self.wait(Deadline::NOW) {
            Err(Error::TimedOut) => Ok(0),
            result => result,
        }
    }
}

//! PCI functions: the table of all, and one that this process owns.

use alloc::vec::Vec;

use spillway_abi::{
    Error, Handle,
    call::Operation,
    device::{Caching, DEVICE_ENTRY_SIZE, DeviceEntry, FunctionCreate, FunctionMeta},
};

use super::{DmaSpace, Interrupt, Memory, Object, OwnedHandle, Process, object};
use crate::syscall;

/// The table of all PCI functions of the machine.
#[derive(Debug)]
pub struct Devices(OwnedHandle);

object!(Devices);

impl Devices {
    /// Every function, by address.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn list(&self) -> Result<Vec<DeviceEntry>, Error> {
        let mut entries = Vec::new();
        let mut bytes = [[0; DEVICE_ENTRY_SIZE]; 32];
        loop {
            let arguments = [
                (entries.len() * DEVICE_ENTRY_SIZE) as u64,
                bytes.as_mut_ptr() as u64,
                size_of_val(&bytes) as u64,
                0,
            ];
            // SAFETY: the array is ours to be written.
            let read = unsafe { syscall::do_io(self.handle(), Operation::Read, arguments)? };
            let read = read as usize / DEVICE_ENTRY_SIZE;
            if read == 0 {
                return Ok(entries);
            }
            entries.extend(bytes[..read].iter().map(DeviceEntry::from_bytes));
        }
    }

    /// Opens a function for this process, by a name as [`spillway_abi::device`] describes.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Busy`] if it or another of its isolation group belongs to
    /// somebody else, [`Error::Refused`] for a bridge, [`Error::DeviceFailed`] if it could not be
    /// reset after its last owner, [`Error::BadArgument`] for a text that is no name, and those of
    /// the handle.
    pub fn open(&self, name: &str) -> Result<PciFunction, Error> {
        let handle = self.open_for_handle(name, Handle::NULL)?;
        Ok(PciFunction(OwnedHandle::new(handle)))
    }

    /// Opens a function for another process; the handle's number there.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`], and those of the process's handle.
    pub fn open_for(&self, name: &str, owner: &Process) -> Result<Handle, Error> {
        self.open_for_handle(name, owner.handle())
    }

    fn open_for_handle(&self, name: &str, owner: Handle) -> Result<Handle, Error> {
        let arguments = [
            name.as_ptr() as u64,
            name.len() as u64,
            owner.raw().into(),
            0,
        ];
        // SAFETY: the name is only read.
        let handle = unsafe { syscall::do_io(self.handle(), Operation::Open, arguments)? };
        Ok(Handle::from_raw(handle as u32))
    }
}

/// A PCI function that this process owns. Dropping it gives it back: what came from it is dead
/// then, and the function is reset, which takes a tenth of a second.
#[derive(Debug)]
pub struct PciFunction(OwnedHandle);

object!(PciFunction);

impl PciFunction {
    /// One of the values that describe the function.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] after the revocation, and those of the handle.
    pub fn meta(&self, key: FunctionMeta) -> Result<u64, Error> {
        self.raw_meta(key as u64)
    }

    fn raw_meta(&self, key: u64) -> Result<u64, Error> {
        // SAFETY: reading a value touches no memory.
        unsafe { syscall::do_io(self.handle(), Operation::GetMeta, [key, 0, 0, 0]) }
    }

    fn set_meta(&self, key: FunctionMeta, value: u64) -> Result<(), Error> {
        let arguments = [key as u64, value, 0, 0];
        // SAFETY: the function reaches pinned memory only, and whoever pinned it expects writes.
        unsafe { syscall::do_io(self.handle(), Operation::SetMeta, arguments) }.map(drop)
    }

    /// Reads `width` bytes (1, 2 or 4) of configuration space, at a multiple of the width.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] for another width or offset, [`Error::Gone`], and those of the
    /// handle.
    pub fn config_read(&self, offset: u16, width: u8) -> Result<u32, Error> {
        let mut bytes = [0; 4];
        self.config(Operation::Read, offset, &mut bytes, width)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Writes `width` bytes (1, 2 or 4) of configuration space, at a multiple of the width.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for what could harm others, [`Error::BadArgument`] for another width or
    /// offset, [`Error::Gone`], and those of the handle.
    pub fn config_write(&self, offset: u16, width: u8, value: u32) -> Result<(), Error> {
        self.config(Operation::Write, offset, &mut value.to_le_bytes(), width)
    }

    fn config(
        &self,
        operation: Operation,
        offset: u16,
        bytes: &mut [u8; 4],
        width: u8,
    ) -> Result<(), Error> {
        if usize::from(width) > bytes.len() {
            return Err(Error::BadArgument);
        }
        let arguments = [offset.into(), bytes.as_mut_ptr() as u64, width.into(), 0];
        // SAFETY: the bytes are ours to be read and written, and there are as many as said.
        unsafe { syscall::do_io(self.handle(), operation, arguments) }.map(drop)
    }

    /// Bytes of memory BAR `index`; 0 if there is none, or it is a range of I/O ports.
    ///
    /// # Errors
    ///
    /// [`Error::BadOperation`] for an index above 5, [`Error::Gone`], and those of the handle.
    pub fn bar_size(&self, index: u8) -> Result<u64, Error> {
        match index {
            0..=5 => self.raw_meta(FunctionMeta::Bar0Size as u64 + u64::from(index)),
            _ => Err(Error::BadOperation),
        }
    }

    /// The whole pages that have the registers of memory BAR `index` in them.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no such memory BAR, [`Error::Refused`] if another
    /// function's registers are in the same page, [`Error::Busy`] if it was asked for with another
    /// caching, [`Error::Gone`], and those of the handle.
    pub fn bar(&self, index: u8, caching: Caching) -> Result<Memory, Error> {
        self.create(FunctionCreate::Bar, index.into(), caching as u64)
            .map(Memory::from)
    }

    /// What the function may reach by DMA. Asking again gives the same one.
    ///
    /// # Errors
    ///
    /// [`Error::NoIommu`] if nothing would confine it and it is not trusted, [`Error::Gone`], and
    /// those of the handle.
    pub fn dma_space(&self) -> Result<DmaSpace, Error> {
        self.create(FunctionCreate::DmaSpace, 0, 0)
            .map(DmaSpace::from)
    }

    /// Binds one of the function's vectors, counted from 0, to a core.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] if there is no such vector, or no such core for this process;
    /// [`Error::Busy`] if the vector is bound; [`Error::LimitReached`], [`Error::Gone`], and those
    /// of the handle.
    pub fn interrupt(&self, vector: u16, core: usize) -> Result<Interrupt, Error> {
        self.create(FunctionCreate::Interrupt, vector.into(), core as u64)
            .map(Interrupt::from)
    }

    fn create(&self, kind: FunctionCreate, b: u64, c: u64) -> Result<OwnedHandle, Error> {
        // SAFETY: nothing but a handle comes to be.
        let handle =
            unsafe { syscall::do_io(self.handle(), Operation::Create, [kind as u64, b, c, 0])? };
        Ok(OwnedHandle::new(Handle::from_raw(handle as u32)))
    }

    /// Lets the function master the bus, which DMA and interrupts need, or not.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] before [`Self::dma_space`], [`Error::Gone`], and those of the handle.
    pub fn set_bus_master(&self, on: bool) -> Result<(), Error> {
        self.set_meta(FunctionMeta::BusMaster, on.into())
    }

    /// Resets the function: it is quiet afterwards, and masters the bus no more. BARs, vectors
    /// and pins stay. Takes a tenth of a second.
    ///
    /// # Errors
    ///
    /// [`Error::DeviceFailed`] if it cannot be reset or does not answer afterwards,
    /// [`Error::Gone`], and those of the handle.
    pub fn reset(&self) -> Result<(), Error> {
        self.set_meta(FunctionMeta::Reset, 1)
    }

    /// Gives the function back. When this returns, none of its registers is mapped, it reaches no
    /// memory, and another can open it, unless it could not be reset.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn revoke(&self) -> Result<(), Error> {
        // SAFETY: the mappings that end have pointers only behind `Mapping`, whose users expect it.
        unsafe { syscall::do_io(self.handle(), Operation::Destroy, [0; 4]) }.map(drop)
    }
}

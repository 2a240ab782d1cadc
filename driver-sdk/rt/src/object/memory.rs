//! Memory objects and their mappings in this process.

use alloc::{vec, vec::Vec};
use core::ptr::NonNull;

use spillway_abi::{
    Error, Rights,
    call::Operation,
    object::{CreateKind, MemoryMeta, memory_contiguous},
};

use super::{Object, OwnedHandle, Process, object};
use crate::{startup::own_process, syscall};

/// Pages, committed when created and of fixed size.
#[derive(Debug)]
pub struct Memory(OwnedHandle);

object!(Memory);

impl Memory {
    /// Zeroed pages for at least `length` bytes, charged to this process.
    ///
    /// # Errors
    ///
    /// [`Error::LimitReached`], [`Error::OutOfMemory`], [`Error::BadArgument`] for no bytes.
    pub fn new(length: u64) -> Result<Self, Error> {
        Self::charged_to(own_process(), length)
    }

    /// Zeroed pages that are charged to another process; the handle comes here.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`], and those of the process's handle.
    pub fn charged_to(process: &Process, length: u64) -> Result<Self, Error> {
        Self::create(process, length, 0)
    }

    /// Zeroed pages that follow each other in physical memory.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`].
    pub fn contiguous(length: u64) -> Result<Self, Error> {
        Self::contiguous_below(length, 64)
    }

    /// The same at physical addresses of at most `address_bits` bits, for a device that is trusted
    /// without an IOMMU and cannot express longer ones.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`]; [`Error::BadArgument`] also for fewer than 20 or more than 64 bits.
    pub fn contiguous_below(length: u64, address_bits: u32) -> Result<Self, Error> {
        Self::create(own_process(), length, memory_contiguous(address_bits))
    }

    fn create(process: &Process, length: u64, flags: u64) -> Result<Self, Error> {
        // SAFETY: new pages are nobody's yet.
        let handle =
            unsafe { syscall::create(process.handle(), CreateKind::Memory, length, flags)? };
        Ok(Self(OwnedHandle::new(handle)))
    }

    /// Bytes, a multiple of the page size.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn size(&self) -> Result<u64, Error> {
        // SAFETY: reading a value touches no memory.
        unsafe {
            syscall::do_io(
                self.handle(),
                Operation::GetMeta,
                [MemoryMeta::Size as u64, 0, 0, 0],
            )
        }
    }

    /// Copies bytes from `offset` into `buffer`; returns how many. The kernel may stop before the
    /// buffer is full.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], and those of the handle.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let arguments = [offset, buffer.as_mut_ptr() as u64, buffer.len() as u64, 0];
        // SAFETY: the buffer is ours to be written.
        unsafe { syscall::do_io(self.handle(), Operation::Read, arguments) }.map(|n| n as usize)
    }

    /// Copies bytes from `buffer` to `offset`; returns how many. The kernel may stop before the
    /// buffer's end.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], and those of the handle.
    pub fn write(&self, offset: u64, buffer: &[u8]) -> Result<usize, Error> {
        let arguments = [offset, buffer.as_ptr() as u64, buffer.len() as u64, 0];
        // SAFETY: the buffer is only read. Who maps this memory has promised to expect writes.
        unsafe { syscall::do_io(self.handle(), Operation::Write, arguments) }.map(|n| n as usize)
    }

    /// Copies all of `buffer` to `offset`, in as many steps as it takes.
    ///
    /// # Errors
    ///
    /// As for [`Self::write`].
    pub fn write_all(&self, offset: u64, buffer: &[u8]) -> Result<(), Error> {
        let mut done = 0;
        while done < buffer.len() {
            match self.write(offset + done as u64, &buffer[done..])? {
                0 => return Err(Error::OutOfRange),
                count => done += count,
            }
        }
        Ok(())
    }

    /// A copy of everything.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn read_all(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.size()? as usize];
        let mut done = 0;
        while done < bytes.len() {
            match self.read(done as u64, &mut bytes[done..])? {
                0 => return Err(Error::OutOfRange),
                count => done += count,
            }
        }
        Ok(bytes)
    }

    /// Maps all of it into this process, where the kernel likes.
    ///
    /// # Errors
    ///
    /// See [`syscall::map`].
    pub fn map(&self, access: Rights) -> Result<Mapping, Error> {
        self.map_range(0, self.size()?, access)
    }

    /// Maps a part of it into this process, where the kernel likes. Both numbers are in bytes and
    /// multiples of the page size.
    ///
    /// # Errors
    ///
    /// See [`syscall::map`].
    pub fn map_range(&self, offset: u64, length: u64, access: Rights) -> Result<Mapping, Error> {
        let process = own_process().handle();
        // SAFETY: the kernel chooses addresses that nobody uses.
        let address = unsafe { syscall::map(process, self.handle(), 0, offset, length, access)? };
        let start = NonNull::new(address as *mut u8).ok_or(Error::BadPointer)?;
        Ok(Mapping {
            start,
            length: length as usize,
        })
    }
}

/// Pages of a Memory in this process's address space, unmapped when dropped. They keep the
/// memory alive, also after the handle is closed.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping is an address range of the whole process; it is tied to no thread.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference it only tells where it is.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The first byte. The pointer is good for `len` bytes of the access that was mapped.
    pub const fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Bytes.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether it has no bytes; the kernel makes no such mappings.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The address of the first byte.
    pub fn address(&self) -> u64 {
        self.as_ptr() as u64
    }

    /// Copies out bytes from `offset`, which others may change meanwhile; returns how many there
    /// were before the end. The mapping is readable, or the program ends with a fault.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.length.saturating_sub(offset));
        // SAFETY: the range is inside the mapping. What others write meanwhile is bytes like any
        // others.
        unsafe {
            let from = self.as_ptr().add(offset.min(self.length));
            core::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), count);
        }
        count
    }

    /// Copies bytes in, to `offset`; returns how many had room before the end. The mapping is
    /// writable, or the program ends with a fault. Who makes slices of another mapping of the memory
    /// has promised that nobody does this.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.length.saturating_sub(offset));
        // SAFETY: as for `read`.
        unsafe {
            let to = self.as_ptr().add(offset.min(self.length));
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, count);
        }
        count
    }

    /// The bytes.
    ///
    /// # Safety
    ///
    /// The mapping is readable, and nobody (another mapping of the memory, another process,
    /// [`Memory::write`]) changes it while the slice lives.
    pub const unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: the range is mapped as long as `self` lives; the rest is the caller's promise.
        unsafe { core::slice::from_raw_parts(self.as_ptr(), self.length) }
    }

    /// The bytes, to be written.
    ///
    /// # Safety
    ///
    /// The mapping is readable and writable, and nobody else reads or changes it while the slice
    /// lives.
    pub const unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: the range is mapped as long as `self` lives; the rest is the caller's promise.
        unsafe { core::slice::from_raw_parts_mut(self.as_ptr(), self.length) }
    }

    /// Keeps it mapped until the process ends.
    pub const fn leak(self) -> NonNull<u8> {
        let start = self.start;
        core::mem::forget(self);
        start
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: slices borrow from `self`, so none is left; raw pointers are their owners' duty.
        let _ =
            unsafe { syscall::unmap(own_process().handle(), self.address(), self.length as u64) };
    }
}

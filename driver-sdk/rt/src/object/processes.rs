//! A table of processes: the kernel's for a process's descendants, or one that a process serves.

use alloc::vec::Vec;

use spillway_abi::{
    Error, Handle,
    call::Operation,
    object::{CreateKind, PROCESS_ENTRY_SIZE, ProcessArguments, ProcessEntry},
};

use super::{Object, OwnedHandle, Process, create_on, object};
use crate::syscall;

/// A table of processes, in which more can be made.
#[derive(Debug)]
pub struct Processes(OwnedHandle);

object!(Processes);

impl Processes {
    /// The table of a process's descendants.
    ///
    /// # Errors
    ///
    /// Those of the process's handle, which needs the right to manage it.
    pub fn of(process: &Process) -> Result<Self, Error> {
        create_on(process, CreateKind::Processes, 0, 0).map(Self)
    }

    /// Every process in it that runs. One that starts or ends meanwhile may be in the list or not.
    ///
    /// # Errors
    ///
    /// Those of the handle, and of the server if a process serves the table.
    pub fn list(&self) -> Result<Vec<ProcessEntry>, Error> {
        let mut entries: Vec<ProcessEntry> = Vec::new();
        let mut bytes = [[0u8; PROCESS_ENTRY_SIZE]; 32];
        loop {
            let arguments = [
                entries.last().map_or(0, |last| last.next),
                bytes.as_mut_ptr() as u64,
                size_of_val(&bytes) as u64,
                0,
            ];
            // SAFETY: the array is ours to be written.
            let read = unsafe { syscall::do_io(self.handle(), Operation::Read, arguments)? };
            let read = (read as usize / PROCESS_ENTRY_SIZE).min(bytes.len());
            if read == 0 {
                return Ok(entries);
            }
            entries.extend(bytes[..read].iter().map(ProcessEntry::from_bytes));
        }
    }

    /// The process of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], and those of the handle and the server.
    pub fn open(&self, name: &str) -> Result<Process, Error> {
        let arguments = [name.as_ptr() as u64, name.len() as u64, 0, 0];
        // SAFETY: the name is only read.
        let handle = unsafe { syscall::do_io(self.handle(), Operation::Open, arguments)? };
        Ok(Process::from(OwnedHandle::new(Handle::from_raw(
            handle as u32,
        ))))
    }

    /// A new process in it, without threads. Whose child it is, is the table's matter.
    ///
    /// # Errors
    ///
    /// As for [`Process::create_process`], and those of the server.
    pub fn create(&self, arguments: &ProcessArguments) -> Result<Process, Error> {
        let address = core::ptr::from_ref(arguments) as u64;
        // SAFETY: the arguments are only read, during the call.
        let handle = unsafe { syscall::create(self.handle(), CreateKind::Process, address, 0)? };
        Ok(Process::from(OwnedHandle::new(handle)))
    }
}

//! Processes: this one and its children.

use spillway_abi::{
    Error, ExitStatus, Fault, Rights,
    call::Operation,
    object::{CreateKind, ProcessArguments, ProcessMeta, ThreadArguments},
};

use super::{Counters, Memory, Object, OwnedHandle, Thread, object};
use crate::{syscall, time::Deadline};

/// An address space with its handle table, limits and counters.
#[derive(Debug)]
pub struct Process(OwnedHandle);

object!(Process);

/// How a process ended by a fault: the reason, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultReport {
    /// What the processor refused.
    pub fault: Fault,
    /// The instruction that faulted.
    pub instruction: u64,
    /// The address that the instruction tried to reach, where the fault has one.
    pub address: u64,
}

impl Process {
    /// A child of this process, without threads; charged to its limit of processes.
    ///
    /// # Errors
    ///
    /// [`Error::LimitReached`]; [`Error::BadArgument`] if it would have more than its creator.
    pub fn create_process(&self, arguments: &ProcessArguments) -> Result<Process, Error> {
        let address = core::ptr::from_ref(arguments) as u64;
        // SAFETY: the kernel only reads the arguments, during the call.
        let handle = unsafe { syscall::create(self.handle(), CreateKind::Process, address, 0)? };
        Ok(Self(OwnedHandle::new(handle)))
    }

    /// Starts a thread in this process.
    ///
    /// # Errors
    ///
    /// [`Error::LimitReached`]; [`Error::BadArgument`] for a priority or cores that the process
    /// may not use; [`Error::BadPointer`] for an entry or stack outside user addresses.
    ///
    /// # Safety
    ///
    /// In the calling process, entry and stack must be a function that never returns and memory
    /// that is its alone, as long as it runs.
    pub unsafe fn create_thread(&self, arguments: &ThreadArguments) -> Result<Thread, Error> {
        let address = core::ptr::from_ref(arguments) as u64;
        // SAFETY: the kernel only reads the arguments, during the call; the rest is the caller's.
        let handle = unsafe { syscall::create(self.handle(), CreateKind::Thread, address, 0)? };
        Ok(Thread::from(OwnedHandle::new(handle)))
    }

    /// The counters of this process.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn counters(&self) -> Result<Counters, Error> {
        // SAFETY: nothing but a handle comes to be.
        let handle = unsafe { syscall::create(self.handle(), CreateKind::Counters, 0, 0)? };
        Ok(Counters::from(OwnedHandle::new(handle)))
    }

    /// Ends the process from outside, with this code.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn kill(&self, code: i32) -> Result<(), Error> {
        let arguments = [u64::from(code as u32), 0, 0, 0];
        // SAFETY: another address space ends, or this one with everything that could notice.
        unsafe { syscall::do_io(self.handle(), Operation::Destroy, arguments) }.map(drop)
    }

    /// Waits until it has ended and all of its memory is back.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Interrupted`], and those of the handle.
    pub fn wait(&self, deadline: Deadline) -> Result<ExitStatus, Error> {
        let raw = syscall::wait(self.handle(), deadline.raw())?;
        ExitStatus::from_raw(raw).ok_or(Error::BadOperation)
    }

    /// One of the values that describe the process.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn meta(&self, key: ProcessMeta) -> Result<u64, Error> {
        // SAFETY: reading a value touches no memory.
        unsafe { syscall::do_io(self.handle(), Operation::GetMeta, [key as u64, 0, 0, 0]) }
    }

    /// The fault that ended it, if one did.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn fault(&self) -> Result<Option<FaultReport>, Error> {
        let kind = self.meta(ProcessMeta::FaultKind)?;
        let Some(fault) = Fault::from_raw(kind as u8) else {
            return Ok(None);
        };
        Ok(Some(FaultReport {
            fault,
            instruction: self.meta(ProcessMeta::FaultInstruction)?,
            address: self.meta(ProcessMeta::FaultAddress)?,
        }))
    }

    /// Maps pages of a Memory into this process at a given address.
    ///
    /// # Errors
    ///
    /// See [`syscall::map`].
    ///
    /// # Safety
    ///
    /// As for [`syscall::map`] if this is the calling process.
    pub unsafe fn map(
        &self,
        memory: &Memory,
        address: u64,
        offset: u64,
        length: u64,
        access: Rights,
    ) -> Result<u64, Error> {
        // SAFETY: passed on to the caller.
        unsafe {
            syscall::map(
                self.handle(),
                memory.handle(),
                address,
                offset,
                length,
                access,
            )
        }
    }
}

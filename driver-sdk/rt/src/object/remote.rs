//! Objects of any kind, by the operations that all objects share. Whether the kernel or a process
//! serves the object makes no difference here.

use spillway_abi::{Error, Handle, Rights, call::Operation, service::FIRST_SERVED_KIND};

use super::{Object, OwnedHandle, object};
use crate::{
    syscall::{self, Failure},
    time::Deadline,
};

/// An object of any kind, whoever serves it.
#[derive(Debug)]
pub struct Remote(OwnedHandle);

object!(Remote);

impl Remote {
    /// The same object, with a trace id that follows each request, and a deadline for each answer
    /// if a process serves it.
    pub const fn with(&self, trace: u64, deadline: Deadline) -> With<'_> {
        With {
            object: self,
            trace,
            deadline,
        }
    }

    /// The same object with a deadline for each answer.
    pub const fn until(&self, deadline: Deadline) -> With<'_> {
        self.with(0, deadline)
    }

    /// The same handle as an object of a kind. That it is one, its operations will show.
    pub fn into_kind<T: Object>(self) -> T {
        T::from(self.0)
    }
}

/// An object whose operations carry a trace id and a deadline; from [`Remote::with`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct With<'a> {
    object: &'a Remote,
    trace: u64,
    deadline: Deadline,
}

/// The operations that all objects share. An object that does not know one answers
/// [`Error::BadOperation`].
///
/// Every operation can fail with the errors of the handle ([`Error::BadHandle`],
/// [`Error::MissingRight`]), and on an object that a process serves with [`Error::ServerGone`],
/// [`Error::TimedOut`], [`Error::Interrupted`] and whatever the server answers.
pub trait Operations {
    /// Any operation with any arguments.
    ///
    /// # Errors
    ///
    /// Those of the object.
    ///
    /// # Safety
    ///
    /// As for [`syscall::do_io`].
    unsafe fn ask(&self, operation: Operation, arguments: [u64; 4]) -> Result<u64, Failure>;

    /// Looks up a named object; what `value` means is the object's matter.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], and those of every operation.
    fn open(&self, name: &str, value: u64) -> Result<Remote, Failure> {
        let arguments = [name.as_ptr() as u64, name.len() as u64, value, 0];
        // SAFETY: the name is only read.
        to_object(unsafe { self.ask(Operation::Open, arguments)? })
    }

    /// Makes a new object of one of the server's own kinds, from data of the server's own layout.
    /// Objects of the kernel's kinds are made by their types ([`super::Memory::charged_to`]).
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] for a kind below [`FIRST_SERVED_KIND`], and those of every operation.
    fn create(&self, kind: u64, data: &[u8]) -> Result<Remote, Failure> {
        if kind < FIRST_SERVED_KIND {
            return Err(Error::BadArgument.into());
        }
        let arguments = [kind, data.as_ptr() as u64, data.len() as u64, 0];
        // SAFETY: the data is only read.
        to_object(unsafe { self.ask(Operation::Create, arguments)? })
    }

    /// Ends what the object stands for.
    ///
    /// # Errors
    ///
    /// Those of every operation.
    fn destroy(&self, code: i32) -> Result<(), Failure> {
        let arguments = [u64::from(code as u32), 0, 0, 0];
        // SAFETY: what can end so has no memory that safe code relies on.
        unsafe { self.ask(Operation::Destroy, arguments) }.map(drop)
    }

    /// Reads bytes from `offset`; returns how many.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], and those of every operation.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        let arguments = [offset, buffer.as_mut_ptr() as u64, buffer.len() as u64, 0];
        // SAFETY: the buffer is ours to be written.
        let read = unsafe { self.ask(Operation::Read, arguments)? };
        Ok((read as usize).min(buffer.len()))
    }

    /// Writes bytes at `offset`; returns how many.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], and those of every operation.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<usize, Failure> {
        let arguments = [offset, bytes.as_ptr() as u64, bytes.len() as u64, 0];
        // SAFETY: the bytes are only read. Who maps a memory has promised to expect writes.
        let written = unsafe { self.ask(Operation::Write, arguments)? };
        Ok((written as usize).min(bytes.len()))
    }

    /// Reads into a memory that the server knows by its registration ([`Self::share`]): `length`
    /// bytes from `offset`, to `at` in the memory. Nothing is copied on the way. Returns how many.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] for registration 0, and those of every operation.
    fn read_registered(
        &self,
        offset: u64,
        registration: u16,
        at: u64,
        length: u64,
    ) -> Result<u64, Failure> {
        let arguments = registered(offset, registration, at, length)?;
        // SAFETY: no address is among the arguments. Who maps a memory that was shared for
        // writing has promised to expect writes.
        unsafe { self.ask(Operation::Read, arguments) }
    }

    /// Writes from a memory that the server knows by its registration: `length` bytes at `at` in
    /// the memory, to `offset`. Nothing is copied on the way. Returns how many.
    ///
    /// # Errors
    ///
    /// As for [`Self::read_registered`].
    fn write_registered(
        &self,
        offset: u64,
        registration: u16,
        at: u64,
        length: u64,
    ) -> Result<u64, Failure> {
        let arguments = registered(offset, registration, at, length)?;
        // SAFETY: no address is among the arguments.
        unsafe { self.ask(Operation::Write, arguments) }
    }

    /// One of the values that describe the object.
    ///
    /// # Errors
    ///
    /// Those of every operation.
    fn get_meta(&self, key: u64) -> Result<u64, Failure> {
        // SAFETY: reading a value touches no memory.
        unsafe { self.ask(Operation::GetMeta, [key, 0, 0, 0]) }
    }

    /// Sets one of the values that describe the object.
    ///
    /// # Errors
    ///
    /// Those of every operation.
    fn set_meta(&self, key: u64, value: u64) -> Result<u64, Failure> {
        // SAFETY: what can be set so is no matter of memory safety.
        unsafe { self.ask(Operation::SetMeta, [key, value, 0, 0]) }
    }

    /// Gives the object a Memory or an Event to use, with these rights; what `key` means and the
    /// value says is the object's matter. For a memory that requests are to name it is the
    /// registration.
    ///
    /// # Errors
    ///
    /// Those of the handle that is shared, which needs the right to be transferred, and of every
    /// operation.
    fn share<T: AsRef<OwnedHandle>>(
        &self,
        what: &T,
        rights: Rights,
        key: u64,
    ) -> Result<u64, Failure> {
        let handle = what.as_ref().get();
        let arguments = [handle.raw().into(), rights.bits().into(), key, 0];
        // SAFETY: who maps a memory that is shared for writing has promised to expect writes.
        unsafe { self.ask(Operation::Share, arguments) }
    }

    /// Says something to the object by a `Share` without a handle whose answer is no handle either, as
    /// that it is to forget what was shared; what `key` and the value mean is the object's matter.
    ///
    /// # Errors
    ///
    /// Those of every operation.
    fn share_nothing(&self, key: u64) -> Result<u64, Failure> {
        // SAFETY: no address is among the arguments, and nothing comes to be that anybody has.
        unsafe { self.ask(Operation::Share, [0, 0, key, 0]) }
    }

    /// Has the object yield a Memory or an Event, with these rights.
    ///
    /// # Errors
    ///
    /// Those of every operation.
    fn obtain<T: Object>(&self, rights: Rights, key: u64) -> Result<T, Failure> {
        let arguments = [0, rights.bits().into(), key, 0];
        // SAFETY: nothing but a handle comes to be.
        to_object(unsafe { self.ask(Operation::Share, arguments)? }).map(Remote::into_kind)
    }
}

impl Operations for Remote {
    #[inline]
    unsafe fn ask(&self, operation: Operation, arguments: [u64; 4]) -> Result<u64, Failure> {
        // SAFETY: passed on to the caller.
        unsafe { syscall::ask(self.handle(), operation, arguments) }
    }
}

impl Operations for With<'_> {
    #[inline]
    unsafe fn ask(&self, operation: Operation, arguments: [u64; 4]) -> Result<u64, Failure> {
        let (object, deadline) = (self.object.handle(), self.deadline.raw());
        // SAFETY: passed on to the caller.
        unsafe { syscall::ask_until(object, operation, arguments, self.trace, deadline) }
    }
}

fn to_object(value: u64) -> Result<Remote, Failure> {
    match u32::try_from(value) {
        Ok(raw) if raw != 0 => Ok(Remote(OwnedHandle::new(Handle::from_raw(raw)))),
        _ => Err(Error::BadHandle.into()),
    }
}

fn registered(offset: u64, registration: u16, at: u64, length: u64) -> Result<[u64; 4], Error> {
    match registration {
        0 => Err(Error::BadArgument),
        number => Ok([offset, at, length, number.into()]),
    }
}

//! Requests with their buffers.

use alloc::{string::String, vec::Vec};

use spillway_abi::{
    Error, Handle,
    call::Operation,
    queue::{Completion, Submission},
};

use super::driver::Entry;
use crate::{
    object::{self, OwnedHandle},
    syscall::Failure,
    time::Deadline,
};

/// An operation on an object, and the memory that it uses.
#[derive(Debug)]
pub struct Request<B> {
    pub(super) entry: Entry,
    pub(super) buffers: B,
}

impl<B> Request<B> {
    /// Any operation, with what is to be kept until its completion.
    ///
    /// # Safety
    ///
    /// Memory that the submission names belongs to `buffers`, does not move when these do, and may
    /// be used as [`crate::syscall::do_io`] says.
    pub const unsafe fn raw(submission: Submission, buffers: B) -> Self {
        Self {
            entry: Entry(submission),
            buffers,
        }
    }

    /// The same with a trace id.
    pub const fn traced(mut self, trace: u64) -> Self {
        self.entry.0.trace = trace;
        self
    }
}

impl Request<Vec<u8>> {
    /// Reads from `offset` into all of the buffer.
    pub fn read(object: &impl AsRef<OwnedHandle>, offset: u64, mut buffer: Vec<u8>) -> Self {
        let (address, length) = (buffer.as_mut_ptr() as u64, buffer.len() as u64);
        let arguments = [offset, address, length, 0];
        // SAFETY: the vector owns the memory, which does not move with it.
        unsafe { Self::raw(submission(object, Operation::Read, arguments), buffer) }
    }

    /// Writes all of the buffer at `offset`.
    pub fn write(object: &impl AsRef<OwnedHandle>, offset: u64, buffer: Vec<u8>) -> Self {
        let arguments = [offset, buffer.as_ptr() as u64, buffer.len() as u64, 0];
        // SAFETY: as for `read`; it is only read.
        unsafe { Self::raw(submission(object, Operation::Write, arguments), buffer) }
    }
}

impl Request<String> {
    /// Looks up a named object, as [`object::Operations::open`]. [`opened`] has the object.
    pub fn open(object: &impl AsRef<OwnedHandle>, name: String, value: u64) -> Self {
        let arguments = [name.as_ptr() as u64, name.len() as u64, value, 0];
        // SAFETY: the string owns the memory, which does not move with it and is only read.
        unsafe { Self::raw(submission(object, Operation::Open, arguments), name) }
    }
}

impl Request<()> {
    /// Waits for an Event, a Timer, an Interrupt, a Process or a Thread.
    pub fn wait(object: &impl AsRef<OwnedHandle>, deadline: Deadline) -> Self {
        let mut submission = submission(object, Operation::Wait, [0; 4]);
        submission.deadline = deadline.raw();
        // SAFETY: it names no memory.
        unsafe { Self::raw(submission, ()) }
    }

    /// Nothing, which completes at once.
    pub const fn nothing() -> Self {
        let submission = Submission::new(Handle::NULL, Operation::Nothing, 0, [0; 4]);
        // SAFETY: it names no memory.
        unsafe { Self::raw(submission, ()) }
    }

    /// The value behind a key.
    pub fn get_meta(object: &impl AsRef<OwnedHandle>, key: u64) -> Self {
        // SAFETY: it names no memory.
        unsafe { Self::raw(submission(object, Operation::GetMeta, [key, 0, 0, 0]), ()) }
    }
}

impl<B> Request<B> {
    /// A read or a write of a memory that the object's server knows by a registration. What is kept
    /// is the part of that memory.
    pub const fn registered(request: &object::Registered, buffers: B) -> Self {
        // SAFETY: the kernel reaches no memory of ours; the memory was registered with its rights.
        unsafe { Self::raw(request.submission(), buffers) }
    }
}

fn submission(
    object: &impl AsRef<OwnedHandle>,
    operation: Operation,
    arguments: [u64; 4],
) -> Submission {
    Submission::new(object.as_ref().get(), operation, 0, arguments)
}

/// What came of a request, with what the server says beside an error.
///
/// # Errors
///
/// Those of the operation.
pub fn outcome(completion: &Completion) -> Result<u64, Failure> {
    completion.result().map_err(|error: Error| Failure {
        error,
        detail: completion.value,
    })
}

/// The object that a [`Request::open`] has found. To be called once: the handle is its caller's.
///
/// # Errors
///
/// Those of the operation.
pub fn opened(completion: &Completion) -> Result<object::Remote, Failure> {
    match u32::try_from(outcome(completion)?) {
        Ok(raw) if raw != 0 => Ok(OwnedHandle::new(Handle::from_raw(raw)).into()),
        _ => Err(Error::BadHandle.into()),
    }
}

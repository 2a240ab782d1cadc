//! `do_io`: one operation on one object.

use core::arch::asm;

use spillway_abi::{
    Call, Error, Handle,
    call::{Operation, TIMED, TRACED},
    error::decode_result,
    object::CreateKind,
};

/// One operation on one object.
///
/// # Errors
///
/// Those of the object; see [`spillway_abi::object`].
///
/// # Safety
///
/// Arguments that are addresses must lead to memory that the operation may use as it does, and
/// what it ends or creates must not be relied on by safe code.
#[inline]
pub unsafe fn do_io(
    object: Handle,
    operation: Operation,
    arguments: [u64; 4],
) -> Result<u64, Error> {
    // SAFETY: passed on to the caller.
    unsafe { ask(object, operation, arguments) }.map_err(Error::from)
}

/// `Create` on a Process; the value is the new handle.
///
/// # Errors
///
/// See [`CreateKind`].
///
/// # Safety
///
/// As for [`do_io`]: a thread or process starts with what the arguments say.
pub unsafe fn create(process: Handle, kind: CreateKind, b: u64, c: u64) -> Result<Handle, Error> {
    // SAFETY: passed on to the caller.
    let value = unsafe { do_io(process, Operation::Create, [kind as u64, b, c, 0])? };
    Ok(Handle::from_raw(value as u32))
}

/// What a call returns that was refused: the error, and the value beside it. A server says more
/// there about [`Error::Failed`]; it is 0 from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// What the server adds.
    pub detail: u64,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, detail: 0 }
    }
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.detail {
            0 => self.error.fmt(f),
            detail => write!(f, "{} ({detail:#x})", self.error),
        }
    }
}

impl core::error::Error for Failure {}

fn decode_failure((status, value): (u64, u64)) -> Result<u64, Failure> {
    decode_result(status, value).map_err(|error| Failure {
        error,
        detail: value,
    })
}

/// One operation on one object, with what its server says beside an error.
///
/// # Errors
///
/// Those of the object.
///
/// # Safety
///
/// As for [`do_io`].
#[inline]
pub unsafe fn ask(
    object: Handle,
    operation: Operation,
    arguments: [u64; 4],
) -> Result<u64, Failure> {
    let [a, b, c, d] = arguments;
    // SAFETY: the caller answers for the effect.
    decode_failure(unsafe {
        syscall!(
            Call::DoIo as u64,
            "rdi" = u64::from(object.raw()),
            "rsi" = operation as u64,
            "r10" = b,
            "r8" = c,
            "r9" = d;
            rdx = a
        )
    })
}

/// The same with a trace id for the server, and a deadline for its answer.
///
/// # Errors
///
/// Those of the object, and [`Error::TimedOut`].
///
/// # Safety
///
/// As for [`do_io`].
#[inline]
pub unsafe fn ask_until(
    object: Handle,
    operation: Operation,
    arguments: [u64; 4],
    trace: u64,
    deadline: u64,
) -> Result<u64, Failure> {
    let [a, b, c, d] = arguments;
    // SAFETY: the caller answers for the effect. The kernel leaves `r12` and `r13` as they are.
    decode_failure(unsafe {
        syscall!(
            Call::DoIo as u64,
            "rdi" = u64::from(object.raw()),
            "rsi" = operation as u64 | TRACED | TIMED,
            "r10" = b,
            "r8" = c,
            "r9" = d,
            "r12" = trace,
            "r13" = deadline;
            rdx = a
        )
    })
}

//! System calls with arguments that the typed ones do not allow.

use driver_sdk::{
    abi::{Call, Error, Handle, call::Operation, error::decode_result},
    rt::syscall,
};

/// A call by its number, with any arguments.
pub fn call_number(number: u64, arguments: [u64; 6]) -> Result<u64, Error> {
    // SAFETY: the tests pass addresses that the kernel must refuse, or buffers of their own.
    let (status, value) = unsafe { syscall::raw(number, arguments) };
    decode_result(status, value)
}

/// A known call with any arguments.
pub fn call(call: Call, arguments: [u64; 6]) -> Result<u64, Error> {
    call_number(call as u64, arguments)
}

/// An operation with any arguments.
pub fn do_io(object: Handle, operation: Operation, arguments: [u64; 4]) -> Result<u64, Error> {
    let [a, b, c, d] = arguments;
    call(
        Call::DoIo,
        [object.raw().into(), operation as u64, a, b, c, d],
    )
}

/// A call by its number, with any arguments, a trace id and a deadline.
pub fn call_timed(number: u64, arguments: [u64; 6], [trace, deadline]: [u64; 2]) -> (u64, u64) {
    let [a, b, c, d, e, f] = arguments;
    let (status, value): (u64, u64);
    // SAFETY: as for the others; the kernel leaves `r12` and `r13` as they are, but for `Serve`,
    // which returns something in `r12`.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => status,
            in("rdi") a,
            in("rsi") b,
            inlateout("rdx") c => value,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            inlateout("r12") trace => _,
            inlateout("r13") deadline => _,
            clobber_abi("C"),
            options(nostack),
        );
    }
    (status, value)
}

//! The calls in which a server and a program of many requests wait.

use core::arch::asm;

use spillway_abi::{
    Call, Error, Handle,
    error::decode_result,
    service::{Message, Reply, Token, What},
};

/// Answers a request, unless the token is [`Token::NONE`], and waits for the next message to a
/// service.
///
/// # Errors
///
/// [`Error::NotFound`] if no request has the token, and then nothing was waited for;
/// [`Error::TimedOut`], [`Error::Interrupted`], [`Error::ServerGone`] after the service's end,
/// [`Error::Busy`] if it is bound to a queue, [`Error::Refused`] in another process than the
/// server, and those of the handle.
#[inline]
pub fn serve(service: Handle, token: Token, reply: Reply, deadline: u64) -> Result<Message, Error> {
    let [status, value, extra] = reply.to_raw();
    let (failed, token_out, object, what, a, b, c, trace): (
        u64,
        u64,
        u64,
        u64,
        u64,
        u64,
        u64,
        u64,
    );
    // SAFETY: the kernel writes to the receive window only, whose slots belong to requests. The
    // message comes in registers, all of which are outputs.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") Call::Serve as u64 => failed,
            inlateout("rdi") u64::from(service.raw()) => object,
            inlateout("rsi") token.0 => what,
            inlateout("rdx") status => token_out,
            inlateout("r10") value => a,
            inlateout("r8") extra => b,
            inlateout("r9") deadline => c,
            lateout("r12") trace,
            clobber_abi("C"),
            options(nostack),
        );
    }
    decode_result(failed, token_out)?;
    Ok(Message {
        token: Token(token_out),
        object,
        what: What(what),
        arguments: [a, b, c],
        trace,
    })
}

/// Hands a queue what was submitted, and waits until `minimum` completions are there.
///
/// # Errors
///
/// [`Error::TimedOut`], [`Error::Interrupted`], [`Error::Corrupt`] for a ring that cannot be and
/// [`Error::Gone`] ever after, [`Error::Busy`] if another thread waits for it,
/// [`Error::BadArgument`] for more than the completion ring has, and those of the handle.
///
/// # Safety
///
/// What was submitted is as [`do_io`] asks, until its completion.
#[inline]
pub unsafe fn enter(queue: Handle, minimum: u32, deadline: u64) -> Result<(), Error> {
    // SAFETY: the caller answers for what was submitted.
    let (status, value) = unsafe {
        syscall!(
            Call::Enter as u64,
            "rdi" = u64::from(queue.raw()),
            "rsi" = u64::from(minimum);
            rdx = deadline
        )
    };
    decode_result(status, value).map(drop)
}

/// Signals the first event and waits for the second; returns how often that was signalled.
///
/// # Errors
///
/// [`Error::TimedOut`], [`Error::Interrupted`], and those of the handles.
#[inline]
pub fn signal_and_wait(signal: Handle, wait: Handle, deadline: u64) -> Result<u64, Error> {
    // SAFETY: events touch no memory.
    let (status, value) = unsafe {
        syscall!(
            Call::SignalAndWait as u64,
            "rdi" = u64::from(signal.raw()),
            "rsi" = u64::from(wait.raw());
            rdx = deadline
        )
    };
    decode_result(status, value)
}

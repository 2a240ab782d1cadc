//! Giving up the core, for now or for good.

use alloc::sync::Arc;
use spillway_abi::{Error, ExitStatus};

use super::{Arguments, Outcome, SystemCall};
use crate::{kernel, object::Thread, sched};

/// [`spillway_abi::Call::Yield`].
pub struct Yield;
/// [`spillway_abi::Call::ExitThread`].
pub struct ExitThread;
/// [`spillway_abi::Call::ExitProcess`].
pub struct ExitProcess;

impl SystemCall for Yield {
    fn call(thread: &Arc<Thread>, _: Arguments) -> Outcome {
        let mut guard = kernel::lock();
        if sched::yield_now(&mut guard, thread) {
            Outcome::Switch(guard)
        } else {
            Outcome::Done(Ok(0))
        }
    }
}

/// An exit code from a register: its low 32 bits, as long as the rest is their sign.
pub(super) fn exit_code(raw: u64) -> Result<ExitStatus, Error> {
    let code = i32::try_from(raw as i64).or(u32::try_from(raw).map(|code| code as i32));
    code.map(ExitStatus::Exited).map_err(|_| Error::BadArgument)
}

impl SystemCall for ExitThread {
    fn call(thread: &Arc<Thread>, [code, ..]: Arguments) -> Outcome {
        let status = match exit_code(code) {
            Ok(status) => status,
            Err(error) => return Outcome::Done(Err(error)),
        };
        let mut guard = kernel::lock();
        sched::end_thread(&mut guard, thread, status);
        Outcome::Switch(guard)
    }
}

impl SystemCall for ExitProcess {
    fn call(thread: &Arc<Thread>, [code, ..]: Arguments) -> Outcome {
        let status = match exit_code(code) {
            Ok(status) => status,
            Err(error) => return Outcome::Done(Err(error)),
        };
        let mut guard = kernel::lock();
        thread.process.begin_end(&mut guard, status);
        sched::end_thread(&mut guard, thread, status);
        Outcome::Switch(guard)
    }
}

//! Waiting for the end of a process or a thread.

use alloc::sync::Arc;
use spillway_abi::{Error, Rights};

use super::{Arguments, Outcome, SystemCall, handle};
use crate::{
    kernel::{self, Kernel},
    object::{Object, Thread, thread},
    sched,
};

/// [`spillway_abi::Call::Wait`].
pub struct Wait;

impl SystemCall for Wait {
    fn call(thread: &Arc<Thread>, [object, deadline, ..]: Arguments) -> Outcome {
        let mut guard = kernel::lock();
        let wait = match target(&guard, thread, object) {
            Ok(wait) => wait,
            Err(error) => return Outcome::Done(Err(error)),
        };
        if let thread::Wait::Interrupt(interrupt) = &wait {
            match interrupt.take(&mut guard) {
                Ok(None) => {}
                Ok(Some(count)) => return Outcome::Done(Ok(count)),
                Err(error) => return Outcome::Done(Err(error)),
            }
        }
        let status = match &wait {
            thread::Wait::Process(process) => process.final_status(&guard),
            thread::Wait::Thread(other) => sched::thread_status(&guard, other),
            _ => None,
        };
        if let Some(status) = status {
            return Outcome::Done(Ok(status.to_raw()));
        }
        if sched::has_passed(deadline) {
            return Outcome::Done(Err(Error::TimedOut));
        }
        sched::wait(&mut guard, thread, wait, deadline);
        Outcome::Switch(guard)
    }
}

/// What to wait for. A process or thread that waits for its own end would wait for ever:
/// [`Error::BadArgument`].
fn target(kernel: &Kernel, thread: &Arc<Thread>, raw: u64) -> Result<thread::Wait, Error> {
    match thread.process.object(kernel, handle(raw)?, Rights::WAIT)? {
        Object::Process(process) if Arc::ptr_eq(process, &thread.process) => {
            Err(Error::BadArgument)
        }
        Object::Process(process) => Ok(thread::Wait::Process(process.clone())),
        Object::Thread(other) if Arc::ptr_eq(other, thread) => Err(Error::BadArgument),
        Object::Thread(other) => Ok(thread::Wait::Thread(other.clone())),
        Object::Interrupt(interrupt) => Ok(thread::Wait::Interrupt(interrupt.clone())),
        _ => Err(Error::WrongObject),
    }
}

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
    let (object, rights) = thread.process.state.get(kernel).handles.get(handle(raw)?)?;
    let wait = match object {
        Object::Process(process) => thread::Wait::Process(process.clone()),
        Object::Thread(other) => thread::Wait::Thread(other.clone()),
        Object::Interrupt(interrupt) => thread::Wait::Interrupt(interrupt.clone()),
        _ => return Err(Error::WrongObject),
    };
    if !rights.contains(Rights::WAIT) {
        return Err(Error::MissingRight);
    }
    match &wait {
        thread::Wait::Process(process) if Arc::ptr_eq(process, &thread.process) => {
            Err(Error::BadArgument)
        }
        thread::Wait::Thread(other) if Arc::ptr_eq(other, thread) => Err(Error::BadArgument),
        _ => Ok(wait),
    }
}

//! Waiting for an object: the end of a process or a thread, an interrupt, an event, a timer.

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
        match already(&mut guard, &wait) {
            Ok(None) if sched::has_passed(deadline) => Outcome::Done(Err(Error::TimedOut)),
            Ok(None) => {
                sched::wait(&mut guard, thread, wait, deadline);
                Outcome::Switch(guard)
            }
            Ok(Some(value)) => Outcome::Done(Ok(value)),
            Err(error) => Outcome::Done(Err(error)),
        }
    }
}

/// The value of what is waited for, if it is there already. [`Error::Gone`].
pub fn already(kernel: &mut Kernel, wait: &thread::Wait) -> Result<Option<u64>, Error> {
    Ok(match wait {
        thread::Wait::Interrupt(interrupt) => return interrupt.take(kernel),
        thread::Wait::Event(event) => event.take(kernel),
        thread::Wait::Timer(timer) => timer.take(kernel),
        thread::Wait::Process(process) => {
            process.final_status(kernel).map(|status| status.to_raw())
        }
        thread::Wait::Thread(other) => {
            sched::thread_status(kernel, other).map(|status| status.to_raw())
        }
        _ => None,
    })
}

fn target(kernel: &Kernel, thread: &Arc<Thread>, raw: u64) -> Result<thread::Wait, Error> {
    let (object, rights) = thread.process.state.get(kernel).handles.get(handle(raw)?)?;
    wait_on(kernel, thread, object, rights)
}

/// What a thread waits for on an object. Waiting for its own end would never end:
/// [`Error::BadArgument`]. [`Error::WrongObject`], [`Error::MissingRight`].
pub fn wait_on(
    _kernel: &Kernel,
    thread: &Arc<Thread>,
    object: &Object,
    rights: Rights,
) -> Result<thread::Wait, Error> {
    let wait = match object {
        Object::Process(process) => thread::Wait::Process(process.clone()),
        Object::Thread(other) => thread::Wait::Thread(other.clone()),
        Object::Interrupt(interrupt) => thread::Wait::Interrupt(interrupt.clone()),
        Object::Event(event) => thread::Wait::Event(event.clone()),
        Object::Timer(timer) => thread::Wait::Timer(timer.clone()),
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

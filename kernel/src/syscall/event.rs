//! `SignalAndWait`: two parties on one core hand each other the turn.

use alloc::sync::Arc;
use spillway_abi::{Error, Handle, Rights};

use super::{Arguments, Outcome, SystemCall, handle};
use crate::{
    kernel::{self, Kernel},
    object::{Event, Object, Thread, thread::Wait},
    sched,
};

/// [`spillway_abi::Call::SignalAndWait`].
pub struct SignalAndWait;

impl SystemCall for SignalAndWait {
    fn call(thread: &Arc<Thread>, [signal, wait, deadline, ..]: Arguments) -> Outcome {
        let mut guard = kernel::lock();
        let events = handle(signal)
            .and_then(|signal| event(&guard, thread, signal, Rights::WRITE))
            .and_then(|signal| {
                let wait = event(&guard, thread, handle(wait)?, Rights::WAIT)?;
                Ok((signal, wait))
            });
        let (signal, wait) = match events {
            Ok(events) => events,
            Err(error) => return Outcome::Done(Err(error)),
        };
        let woken = signal.signal_for_switch(&mut guard);
        let result = match wait.take(&mut guard) {
            Some(count) => Some(Ok(count)),
            None if sched::has_passed(deadline) => Some(Err(Error::TimedOut)),
            None => None,
        };
        if let Some(result) = result {
            woken.inspect(|other| sched::make_ready(&mut guard, other));
            return Outcome::Done(result);
        }
        sched::wait(&mut guard, thread, Wait::Event(wait), deadline);
        match woken {
            Some(other) if sched::can_switch_to(&guard, &other) => Outcome::SwitchTo(guard, other),
            Some(other) => {
                sched::make_ready(&mut guard, &other);
                Outcome::Switch(guard)
            }
            None => Outcome::Switch(guard),
        }
    }
}

fn event(
    kernel: &Kernel,
    thread: &Thread,
    handle: Handle,
    right: Rights,
) -> Result<Arc<Event>, Error> {
    thread.process.typed(kernel, handle, right, Object::event)
}

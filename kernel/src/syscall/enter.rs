//! `Enter`: what was put into a queue is begun, and completions are waited for.

use alloc::sync::Arc;
use spillway_abi::{Error, Rights};

use super::{Arguments, Outcome, SystemCall, handle};
use crate::{
    ipc::enter,
    kernel,
    object::{Object, Thread},
};

/// [`spillway_abi::Call::Enter`].
pub struct Enter;

impl SystemCall for Enter {
    fn call(thread: &Arc<Thread>, [queue, minimum, deadline, ..]: Arguments) -> Outcome {
        let guard = kernel::lock();
        let process = &thread.process;
        let found = handle(queue)
            .and_then(|queue| process.typed(&guard, queue, Rights::WRITE, Object::queue))
            .and_then(|queue| {
                if !Arc::ptr_eq(&queue.owner, process) {
                    return Err(Error::Refused);
                }
                if minimum > u64::from(queue.completions) {
                    return Err(Error::BadArgument);
                }
                Ok(queue)
            });
        match found {
            Ok(queue) => enter::enter(guard, thread, queue, minimum as u32, deadline),
            Err(error) => Outcome::Done(Err(error)),
        }
    }
}

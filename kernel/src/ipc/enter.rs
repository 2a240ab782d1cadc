//! The usual stay in the kernel with a queue: all entries go from queue to queue, and the thread waits.

use alloc::sync::Arc;
use spillway_abi::Error;

use super::{
    batch::{ENTRIES, Enter},
    relay::{self, Due},
};
use crate::{
    kernel::{Guard, Kernel},
    object::{IoQueue, Thread},
    sched::{
        self,
        work::{self, Work},
    },
    syscall::Outcome,
};

/// Takes entries, and waits for so many completions. Whatever is not from queue to queue is left to
/// [`Enter`].
pub fn enter(
    mut guard: Guard,
    thread: &Arc<Thread>,
    queue: Arc<IoQueue>,
    minimum: u32,
    deadline: u64,
) -> Outcome {
    let kernel = &mut *guard;
    let mut due = Due::default();
    let mut left = ENTRIES;
    while left > 0 {
        match relay::run(kernel, thread, &queue, left, &mut due) {
            0 => break,
            relayed => left -= relayed,
        }
    }
    if !queue.is_quiet(kernel) {
        due.wake(kernel);
        let enter = Enter::new(queue, minimum, deadline);
        return work::begin(guard, thread, Work::Enter(enter));
    }
    if let Some(result) = is_over(kernel, thread, &queue, (minimum, deadline)) {
        due.wake(kernel);
        return Outcome::Done(result);
    }
    due.wait(guard, thread, queue, deadline)
}

/// The end of a stay in the kernel for so many completions, until a time. `None` if the thread is to
/// wait, of which the queue has been told.
pub fn is_over(
    kernel: &mut Kernel,
    thread: &Arc<Thread>,
    queue: &IoQueue,
    (minimum, deadline): (u32, u64),
) -> Option<Result<u64, Error>> {
    let available = match queue.available(kernel) {
        Ok(available) => available,
        Err(error) => {
            queue.fail(kernel);
            return Some(Err(error));
        }
    };
    if available >= minimum {
        return Some(Ok(available.into()));
    }
    if sched::has_passed(deadline) {
        return Some(Err(Error::TimedOut));
    }
    if thread.state.get(kernel).stop || thread.process.is_ending() {
        return Some(Err(Error::Interrupted));
    }
    let works = queue.has_entries(kernel);
    let missing = minimum - available;
    let set = queue.set_waiter(kernel, thread, missing, (minimum, deadline), works);
    set.err().map(Err)
}

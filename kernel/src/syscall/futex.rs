//! Sleeping on a word of memory.

use alloc::sync::Arc;
use spillway_abi::{Error, call::FUTEX_DEAF};

use super::{Arguments, Outcome, SystemCall};
use crate::{
    arch::user_copy,
    kernel,
    object::{Thread, thread::Wait},
    sched,
};

/// [`spillway_abi::Call::FutexWait`].
pub struct FutexWait;
/// [`spillway_abi::Call::FutexWake`].
pub struct FutexWake;

impl SystemCall for FutexWait {
    fn call(thread: &Arc<Thread>, [address, expected, deadline, flags, ..]: Arguments) -> Outcome {
        let Ok(expected) = u32::try_from(expected) else {
            return Outcome::Done(Err(Error::BadArgument));
        };
        if flags > FUTEX_DEAF {
            return Outcome::Done(Err(Error::BadArgument));
        }
        // The word is read under the lock that a waker takes, so no wake-up falls between the
        // look and the sleep.
        let mut guard = kernel::lock();
        match user_copy::read_value::<u32>(address) {
            Err(error) => Outcome::Done(Err(error)),
            Ok(value) if value != expected => Outcome::Done(Err(Error::Changed)),
            Ok(_) if sched::has_passed(deadline) => Outcome::Done(Err(Error::TimedOut)),
            Ok(_) => {
                thread.state.get_mut(&mut guard).deaf = flags == FUTEX_DEAF;
                sched::wait(&mut guard, thread, Wait::Futex(address), deadline);
                Outcome::Switch(guard)
            }
        }
    }
}

impl SystemCall for FutexWake {
    fn call(thread: &Arc<Thread>, [address, count, ..]: Arguments) -> Outcome {
        if !address.is_multiple_of(4) {
            return Outcome::Done(Err(Error::BadArgument));
        }
        if let Err(error) = user_copy::UserRange::new(address, 4) {
            return Outcome::Done(Err(error));
        }
        let most = u32::try_from(count).unwrap_or(u32::MAX);
        let woken = sched::wake_futex(&mut kernel::lock(), thread.process.id, address, most);
        Outcome::Done(Ok(woken as u64))
    }
}

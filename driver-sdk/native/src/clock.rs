//! Time, from the time-stamp counter and the kernel's time page.

use spillway_rt::{
    syscall,
    time::{self, Instant},
};

/// The monotonic clock: the same nanoseconds as [`spillway_rt::time`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl spillway_hal::Clock for Clock {
    #[inline]
    fn now(&self) -> u64 {
        Instant::now().as_nanoseconds()
    }

    /// Gives the core away if somebody else is ready to use it.
    #[inline]
    fn pause(&self) {
        if time::runnable(time::core_index()) > 0 {
            syscall::yield_now();
        } else {
            core::hint::spin_loop();
        }
    }

    fn sleep_until(&self, deadline: u64) {
        time::sleep_until(Instant::from_nanoseconds(deadline));
    }
}

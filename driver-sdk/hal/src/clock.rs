//! Time, and how to pass it.

/// Time as the back end counts it; on an emulated device it is virtual.
///
/// # What the implementer promises
///
/// - [`now`](Self::now) never goes back, and is the same time in every clone and on every core.
/// - [`pause`](Self::pause) returns soon, and lets whoever else shares the core run. An emulated
///   device may move in it, and time passes.
/// - [`sleep_until`](Self::sleep_until) does not return before its deadline.
///
/// # What the caller promises
///
/// - Every loop that waits for the device calls [`pause`](Self::pause) or sleeps in each round,
///   and has a deadline: [`poll_until`](Self::poll_until) does both.
pub trait Clock: Clone {
    /// Nanoseconds since some fixed moment.
    fn now(&self) -> u64;

    /// What a polling loop does between two looks.
    fn pause(&self);

    /// Gives the core away until [`now`](Self::now) is `deadline` or later.
    fn sleep_until(&self, deadline: u64);

    /// Gives the core away for at least `nanoseconds`.
    fn delay(&self, nanoseconds: u64) {
        self.sleep_until(self.now().saturating_add(nanoseconds));
    }

    /// Asks `ready` again and again until it has an answer. `None` once `deadline` has passed;
    /// `ready` is asked once more after that, so that a slow caller is not taken for a slow device.
    fn poll_until<T>(&self, deadline: u64, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            let late = self.now() >= deadline;
            if let Some(answer) = ready() {
                return Some(answer);
            }
            if late {
                return None;
            }
            self.pause();
        }
    }
}

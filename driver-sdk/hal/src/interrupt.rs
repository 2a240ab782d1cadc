//! One interrupt vector of the device.

use crate::HalError;

/// A vector, bound to the core on which it was asked for. What arrives are edges, and they are
/// counted: none is lost, several may be told at once.
///
/// # What the implementer promises
///
/// - An edge that arrives after the last [`wait`](Self::wait) or [`poll`](Self::poll) returned is
///   reported by the next one, also if it arrived before that was called.
/// - DMA stores that the device made before it raised the vector are visible to the caller once
///   `wait` or `poll` has reported it.
/// - Both re-arm the vector. A storm of interrupts stalls nobody: the back end may mask the vector
///   while edges are untaken, as long as it still reports one.
///
/// # What the caller promises
///
/// - A count is a hint. It looks at the device's own state after each report, and before it sleeps
///   for the first time.
/// - It treats spurious reports as harmless.
pub trait Interrupt {
    /// Sleeps until the vector fires or the [`Clock`](crate::Clock) reaches `deadline`, and says
    /// how many edges have arrived since the last report: at least one.
    ///
    /// # Errors
    ///
    /// `TimedOut` once the deadline has passed, also if edges have arrived (they stay counted): so
    /// a loop around it ends, however the device storms. `Interrupted` when the process is asked
    /// to stop, `Gone` when the device was revoked.
    fn wait(&mut self, deadline: u64) -> Result<u64, HalError>;

    /// How many edges have arrived since the last report, without waiting.
    fn poll(&mut self) -> u64;
}

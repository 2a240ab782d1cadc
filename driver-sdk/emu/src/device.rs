//! What an emulated device is.

use crate::{Bus, ConfigSpace};

/// A device written in software, from its specification.
///
/// # What the implementer promises
///
/// - It accepts every offset and width inside its BARs, as hardware does; what the specification
///   leaves open reads as all ones or zero and ignores writes.
/// - It reaches memory, raises interrupts and reads time only through the [`Bus`].
/// - It is deterministic: the same calls give the same results.
///
/// # What the caller (the [`Machine`](crate::Machine)) promises
///
/// - `offset` and `bytes` lie inside the BAR, `bytes` is 1, 2, 4 or 8, and `offset` is a multiple
///   of it.
/// - [`step`](Self::step) is called after each advance of the clock, and never later than
///   [`next_event`](Self::next_event) while the driver sleeps.
pub trait EmulatedDevice {
    /// What the function says about itself, with its BARs and capabilities. Asked once.
    fn config(&self) -> ConfigSpace;

    /// The driver reads `bytes` bytes of BAR `bar`.
    fn read(&mut self, bus: &Bus<'_>, bar: u8, offset: usize, bytes: usize) -> u64;

    /// The driver writes `bytes` bytes of BAR `bar`.
    fn write(&mut self, bus: &Bus<'_>, bar: u8, offset: usize, bytes: usize, value: u64);

    /// Does what is due at [`Bus::now`].
    fn step(&mut self, bus: &Bus<'_>) {
        let _ = bus;
    }

    /// When the device will next do something by itself, in nanoseconds; `None` if only the driver
    /// can make it move. A sleeping driver's clock jumps to this moment.
    fn next_event(&self) -> Option<u64> {
        None
    }

    /// A function-level reset: registers get their initial values, work in progress is dropped.
    fn reset(&mut self);
}

//! Faults that any device can have.

/// Changes what happens between the driver and its device. Each method has a default that changes
/// nothing; a test implements the ones that it wants to see, and hands them to
/// [`Machine::set_faults`](crate::Machine::set_faults).
pub trait Faults {
    /// What the driver gets to read instead of `value`.
    fn register_read(&mut self, bar: u8, offset: usize, value: u64) -> u64 {
        let _ = (bar, offset);
        value
    }

    /// What the device gets instead of `value`; `None` loses the write.
    fn register_write(&mut self, bar: u8, offset: usize, value: u64) -> Option<u64> {
        let _ = (bar, offset);
        Some(value)
    }

    /// How often the device's interrupt arrives: 0 loses it, 2 repeats it.
    fn interrupt(&mut self, vector: u16) -> u32 {
        let _ = vector;
        1
    }

    /// Whether the bus carries out a DMA access; if not, the device sees a failed one.
    fn dma(&mut self, address: u64, bytes: usize, write: bool) -> bool {
        let _ = (address, bytes, write);
        true
    }

    /// A vector that fires out of nowhere, asked at each step of the clock.
    fn spurious(&mut self) -> Option<u16> {
        None
    }
}

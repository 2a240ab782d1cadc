//! Which way data flows through a piece of DMA memory, as types: wrong use does not compile.

mod sealed {
    pub trait Sealed {}
}

/// Which way data flows, as a value: what a back end gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The driver writes, the device reads.
    ToDevice,
    /// The device writes, the driver reads.
    FromDevice,
    /// Both read and write.
    Both,
}

impl Direction {
    /// Whether the device may read.
    pub const fn device_reads(self) -> bool {
        matches!(self, Self::ToDevice | Self::Both)
    }

    /// Whether the device may write.
    pub const fn device_writes(self) -> bool {
        matches!(self, Self::FromDevice | Self::Both)
    }
}

/// A direction as a type: [`ToDevice`], [`FromDevice`] or [`Both`].
pub trait DmaDirection: sealed::Sealed + 'static {
    /// The same as a value.
    const DIRECTION: Direction;
}

/// Directions in which the driver stores and the device loads.
pub trait DriverWrites: DmaDirection {}

/// Directions in which the device stores and the driver loads.
pub trait DriverReads: DmaDirection {}

/// The driver writes, the device reads: submission queues, data to be sent.
#[derive(Debug)]
pub enum ToDevice {}

/// The device writes, the driver reads: completion queues, received data.
#[derive(Debug)]
pub enum FromDevice {}

/// Both read and write: rings with flags on either side, buffers of a pool.
#[derive(Debug)]
pub enum Both {}

impl sealed::Sealed for ToDevice {}
impl sealed::Sealed for FromDevice {}
impl sealed::Sealed for Both {}

impl DmaDirection for ToDevice {
    const DIRECTION: Direction = Direction::ToDevice;
}
impl DmaDirection for FromDevice {
    const DIRECTION: Direction = Direction::FromDevice;
}
impl DmaDirection for Both {
    const DIRECTION: Direction = Direction::Both;
}

impl DriverWrites for ToDevice {}
impl DriverWrites for Both {}
impl DriverReads for FromDevice {}
impl DriverReads for Both {}

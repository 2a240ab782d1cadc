//! What a driver or a device must not do, when it was done.

use std::fmt;

use spillway_hal::IoAddress;

/// Something that would have gone wrong, or been blocked, on hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What kind of thing.
    pub kind: ViolationKind,
    /// Where: an I/O address for DMA, the offset for a register, the number of a vector.
    pub address: IoAddress,
    /// Bytes of the access.
    pub bytes: usize,
    /// When, in virtual nanoseconds.
    pub time: u64,
}

/// The kinds of [`Violation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViolationKind {
    /// DMA to an address that was never pinned, or past the end of a pin.
    NotPinned,
    /// DMA to memory that was pinned once and has been given back.
    Unpinned,
    /// The device read memory that is pinned `FromDevice`.
    ReadFromDeviceMemory,
    /// The device wrote memory that is pinned `ToDevice`.
    WriteToDeviceMemory,
    /// DMA while bus mastering is off.
    DmaWithoutBusMaster,
    /// An interrupt while bus mastering is off: it is a memory write too, and is lost.
    InterruptWithoutBusMaster,
    /// An interrupt on a vector that the function does not have.
    NoSuchVector,
    /// The driver wrote the pages of the MSI-X table, which belong to the kernel.
    VectorTableWrite,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            address,
            bytes,
            time,
        } = self;
        let what = match kind {
            ViolationKind::NotPinned => "DMA outside of every pin",
            ViolationKind::Unpinned => "DMA to memory that is no longer pinned",
            ViolationKind::ReadFromDeviceMemory => "DMA read of memory pinned FromDevice",
            ViolationKind::WriteToDeviceMemory => "DMA write to memory pinned ToDevice",
            ViolationKind::DmaWithoutBusMaster => "DMA with bus mastering off",
            ViolationKind::InterruptWithoutBusMaster => "interrupt with bus mastering off, vector",
            ViolationKind::NoSuchVector => "interrupt on a vector that does not exist,",
            ViolationKind::VectorTableWrite => "register write to a page of the MSI-X table",
        };
        write!(out, "{time} ns: {what} {address:#x}")?;
        if *bytes > 0 {
            write!(out, ", {bytes} bytes")?;
        }
        Ok(())
    }
}

//! One PCI function in a driver's hands.

use crate::{Clock, DmaBuffer, DmaDirection, DmaMemory, HalError, Interrupt, Registers};

/// Bytes of a page: what DMA memory is counted in and aligned to.
pub const PAGE_SIZE: usize = 4096;

/// What a function says it is (PCI Local Bus 3.0, section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceId {
    /// Vendor ID, offset 0x00.
    pub vendor: u16,
    /// Device ID, offset 0x02.
    pub device: u16,
    /// Base class code, offset 0x0b.
    pub class: u8,
    /// Sub-class code, offset 0x0a.
    pub subclass: u8,
    /// Programming interface, offset 0x09.
    pub interface: u8,
    /// Revision ID, offset 0x08.
    pub revision: u8,
}

/// How much of configuration space one access carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigWidth {
    /// One byte.
    Byte,
    /// Two bytes.
    Word,
    /// Four bytes.
    Dword,
}

impl ConfigWidth {
    /// Bytes of the access, and the alignment of its offset.
    pub const fn bytes(self) -> u16 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Dword => 4,
        }
    }
}

/// What a device asks of the addresses of its DMA memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaConstraints {
    /// The device can express addresses of so many bits: 28 means below 256 MiB.
    pub address_bits: u8,
    /// The first byte's address is a multiple of this, a power of two. Less than a page counts as
    /// a page.
    pub alignment: usize,
}

impl DmaConstraints {
    /// Page-aligned, below the given number of address bits.
    pub const fn bits(address_bits: u8) -> Self {
        Self {
            address_bits,
            alignment: PAGE_SIZE,
        }
    }
}

/// Any 64-bit address that is a multiple of a page.
impl Default for DmaConstraints {
    fn default() -> Self {
        Self::bits(64)
    }
}

/// One PCI function, owned by its driver alone.
///
/// # What the implementer promises
///
/// - Nobody else drives the function while this value, or anything that came from it, lives.
/// - Whatever it gives out stays valid after this value is dropped, until it is dropped itself or
///   the function is revoked.
/// - The device reaches pinned memory only, in the pinned direction only, or the back end says in
///   its documentation that it cannot enforce that.
/// - A revoked function gives `Gone` from every method that can fail; none hangs.
///
/// # What the caller promises
///
/// - It checks [`id`](Self::id) before it touches anything else.
/// - It turns bus mastering on only after the device is quiet, or reset.
/// - It assumes nothing of the state in which it finds the device: a previous owner may have
///   crashed.
pub trait Device {
    /// A mapped BAR.
    type Registers: Registers;
    /// Pinned memory.
    type Dma: DmaMemory;
    /// One vector.
    type Interrupt: Interrupt;
    /// Time.
    type Clock: Clock;

    /// What the function says it is.
    fn id(&self) -> DeviceId;

    /// Reads configuration space at `offset`, a multiple of the width, below 4096. A register that
    /// the function does not have reads as all ones or zero, as on the bus.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an unaligned offset or one past the end; `Gone`.
    fn config_read(&self, offset: u16, width: ConfigWidth) -> Result<u32, HalError>;

    /// Writes configuration space. The back end mediates.
    ///
    /// # Errors
    ///
    /// `Refused` for what could harm others: BARs, interrupt vectors, power, the bus-master bit
    /// (that is [`set_bus_master`](Self::set_bus_master)). `InvalidArgument` for an unaligned
    /// offset or one past the end; `Gone`.
    fn config_write(&self, offset: u16, width: ConfigWidth, value: u32) -> Result<(), HalError>;

    /// Maps memory BAR `index` (0 to 5; a 64-bit BAR has the index of its lower half), of which the
    /// driver needs at least `minimum` bytes.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a BAR or when it is shorter than `minimum`, `Unsupported` for an I/O
    /// port BAR, `Refused` when it shares a page with another function's, `Gone`.
    fn bar(&self, index: u8, minimum: usize) -> Result<Self::Registers, HalError>;

    /// Allocates zeroed memory of at least `bytes`, rounded up to pages, and pins it for direction
    /// `D`. `Device::allocate::<ToDevice>(…)`.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` when memory or addresses that meet the constraints are used up;
    /// `InvalidArgument` for no bytes, an alignment that is no power of two, or address bits above
    /// 64; `Refused` without the right to use DMA; `Gone`.
    fn allocate<D: DmaDirection>(
        &self,
        bytes: usize,
        constraints: DmaConstraints,
    ) -> Result<DmaBuffer<Self::Dma, D>, HalError>;

    /// Takes interrupt vector `vector` of the function: an entry of its MSI-X table, or an MSI
    /// message, counted from zero. The back end programs and unmasks it.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a vector, `Busy` when it is taken, `Unsupported` for a function with
    /// neither MSI-X nor MSI; `Gone`.
    fn interrupt(&self, vector: u16) -> Result<Self::Interrupt, HalError>;

    /// Lets the function access memory and send interrupts, or stops it from doing so.
    ///
    /// # Errors
    ///
    /// `Refused` when nothing would confine its accesses; `Gone`.
    fn set_bus_master(&self, on: bool) -> Result<(), HalError>;

    /// Resets the function. Afterwards it is quiet, bus mastering is off, and its registers have
    /// their initial values; BARs, pins and vectors that were given out stay valid.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a function that cannot be reset, `TimedOut` when it does not come back;
    /// `Gone`.
    fn reset(&self) -> Result<(), HalError>;

    /// The clock by which deadlines count.
    fn clock(&self) -> Self::Clock;
}

//! A driver for QEMU's teaching device (`-device edu`; its specification is docs/specs/edu.rst of
//! QEMU). It does everything that a driver does, once: it finds out whether the device is the right
//! one, uses registers, waits for an interrupt, and moves data by DMA both ways.
//!
//! It sees the device only through the traits of `spillway-hal`, so that it runs on Spillway and,
//! in `tests/emulated.rs`, on an emulated device. docs/driver-sdk.md walks through it.
#![no_std]
#![forbid(unsafe_code)]

use spillway_hal::{
    Clock, Device, DmaBuffer, DmaConstraints, DriverError, DriverErrorKind as Kind, FromDevice,
    Interrupt, PAGE_SIZE, ReadOnly, ReadWrite, Register, Registers, ToDevice, WriteOnly,
};

// The registers, with the names and offsets of the specification's section "MMIO area spec". Their
// types know the width of an access and whether they can be read and written.
const IDENTIFICATION: Register<u32, ReadOnly> = Register::new("IDENTIFICATION", 0x00);
const LIVENESS: Register<u32, ReadWrite> = Register::new("LIVENESS", 0x04);
const FACTORIAL: Register<u32, ReadWrite> = Register::new("FACTORIAL", 0x08);
const STATUS: Register<u32, ReadWrite> = Register::new("STATUS", 0x20);
const INTERRUPT_STATUS: Register<u32, ReadOnly> = Register::new("INTERRUPT_STATUS", 0x24);
const INTERRUPT_ACK: Register<u32, WriteOnly> = Register::new("INTERRUPT_ACK", 0x64);
const DMA_SOURCE: Register<u64, ReadWrite> = Register::new("DMA_SOURCE", 0x80);
const DMA_DESTINATION: Register<u64, ReadWrite> = Register::new("DMA_DESTINATION", 0x88);
const DMA_COUNT: Register<u64, ReadWrite> = Register::new("DMA_COUNT", 0x90);
const DMA_COMMAND: Register<u64, ReadWrite> = Register::new("DMA_COMMAND", 0x98);
/// Bytes of BAR 0 that these registers need.
const REGISTERS_END: usize = 0xa0;

// Their bits.
const STATUS_COMPUTING: u32 = 0x01;
const STATUS_RAISE_WHEN_COMPUTED: u32 = 0x80;
const DMA_START: u64 = 0x1;
const DMA_TO_RAM: u64 = 0x2;
const DMA_RAISE_WHEN_MOVED: u64 = 0x4;
const INTERRUPT_COMPUTED: u32 = 0x001;
const INTERRUPT_MOVED: u32 = 0x100;

/// Where the device sees its internal buffer ("DMA controller").
const BUFFER_ADDRESS: u64 = 0x40000;
/// Bytes of the internal buffer.
pub const BUFFER_SIZE: usize = 4096;
/// Address bits that the device can express unless QEMU was told otherwise (`dma_mask`).
pub const DEFAULT_ADDRESS_BITS: u8 = 28;
/// How long the device may take for anything, in nanoseconds. A transfer takes it 0.1 seconds.
const TIMEOUT: u64 = 2_000_000_000;

// An error has a kind to decide by, and a sentence for people.
const WRONG_DEVICE: DriverError =
    DriverError::new(Kind::WrongDevice, "this is not an edu, PCI ID 1234:11e8");
const STILL_BUSY: DriverError = DriverError::new(Kind::TimedOut, "the device does not get ready");

/// The device, ready for use.
pub struct Edu<D: Device> {
    device: D,
    registers: D::Registers,
    interrupt: D::Interrupt,
    clock: D::Clock,
    outgoing: DmaBuffer<D::Dma, ToDevice>,
    incoming: DmaBuffer<D::Dma, FromDevice>,
}

impl<D: Device> Edu<D> {
    /// Takes over a device, in whatever state it is, whose DMA can express `address_bits` bits.
    ///
    /// # Errors
    ///
    /// `WrongDevice` if it is something else, `TimedOut` if it is busy and stays so, and what the
    /// system refuses.
    pub fn new(device: D, address_bits: u8) -> Result<Self, DriverError> {
        if (device.id().vendor, device.id().device) != (0x1234, 0x11e8) {
            return Err(WRONG_DEVICE);
        }
        let registers = device.bar(0, REGISTERS_END)?;
        if registers.read(IDENTIFICATION) & 0xff != 0xed {
            return Err(WRONG_DEVICE);
        }
        // A previous owner may have left a transfer running. Its addresses are not ours: it has to
        // end before the device may access memory again.
        let idle = || (registers.read(DMA_COMMAND) & DMA_START == 0).then_some(());
        let clock = device.clock();
        let deadline = clock.now() + TIMEOUT;
        clock.poll_until(deadline, idle).ok_or(STILL_BUSY)?;
        let constraints = DmaConstraints::bits(address_bits);
        let edu = Self {
            interrupt: device.interrupt(0)?,
            outgoing: device.allocate(PAGE_SIZE, constraints)?,
            incoming: device.allocate(PAGE_SIZE, constraints)?,
            device,
            registers,
            clock,
        };
        edu.device.set_bus_master(true)?;
        Ok(edu)
    }

    /// The device's major and minor version.
    pub fn version(&self) -> (u8, u8) {
        let [_, _, minor, major] = self.registers.read(IDENTIFICATION).to_le_bytes();
        (major, minor)
    }

    /// Whether the device answers: it inverts what it is given.
    pub fn is_alive(&self) -> bool {
        self.registers.write(LIVENESS, 0x5a17_beef);
        self.registers.read(LIVENESS) == !0x5a17_beef
    }

    /// Lets the device compute n! modulo 2^32, and sleeps meanwhile.
    ///
    /// # Errors
    ///
    /// `TimedOut` when it does not answer.
    pub fn factorial(&mut self, n: u32) -> Result<u32, DriverError> {
        let computing = |bar: &D::Registers| bar.read(STATUS) & STATUS_COMPUTING != 0;
        self.run(INTERRUPT_COMPUTED, computing, |bar| {
            bar.write(STATUS, STATUS_RAISE_WHEN_COMPUTED);
            bar.write(FACTORIAL, n);
        })?;
        Ok(self.registers.read(FACTORIAL))
    }

    /// Moves `data` into the device's buffer at `offset`, by DMA.
    ///
    /// # Errors
    ///
    /// `OutOfRange` past the end of the buffer, `TimedOut` when the device does not answer.
    pub fn store(&mut self, offset: usize, data: &[u8]) -> Result<(), DriverError> {
        let inside = inside(offset, data.len())?;
        self.outgoing.copy_from_slice(0, data);
        self.transfer(self.outgoing.io_address(0).0, inside, data.len(), 0)
    }

    /// Moves the device's buffer at `offset` into `data`. Errors as for [`store`](Self::store).
    pub fn load(&mut self, offset: usize, data: &mut [u8]) -> Result<(), DriverError> {
        let inside = inside(offset, data.len())?;
        let destination = self.incoming.io_address(0).0;
        self.transfer(inside, destination, data.len(), DMA_TO_RAM)?;
        self.incoming.copy_to_slice(0, data);
        Ok(())
    }

    fn transfer(&mut self, from: u64, to: u64, count: usize, way: u64) -> Result<(), DriverError> {
        let moving = |bar: &D::Registers| bar.read(DMA_COMMAND) & DMA_START != 0;
        self.run(INTERRUPT_MOVED, moving, |bar| {
            bar.write(DMA_SOURCE, from);
            bar.write(DMA_DESTINATION, to);
            bar.write(DMA_COUNT, count as u64);
            bar.write(DMA_COMMAND, DMA_START | DMA_RAISE_WHEN_MOVED | way);
        })
    }

    /// Starts something, and sleeps until the device has interrupted with `cause` and is not busy:
    /// the interrupt alone may be the late one of something that was given up.
    fn run(
        &mut self,
        cause: u32,
        busy: impl Fn(&D::Registers) -> bool,
        start: impl FnOnce(&D::Registers),
    ) -> Result<(), DriverError> {
        if busy(&self.registers) {
            return Err(STILL_BUSY);
        }
        self.acknowledge();
        start(&self.registers);
        let deadline = self.clock.now() + TIMEOUT;
        let mut causes = self.acknowledge();
        while causes & cause == 0 || busy(&self.registers) {
            self.interrupt.wait(deadline)?;
            causes |= self.acknowledge();
        }
        Ok(())
    }

    /// Why the device has interrupted; from now on it may interrupt again.
    fn acknowledge(&self) -> u32 {
        let causes = self.registers.read(INTERRUPT_STATUS);
        self.registers.write(INTERRUPT_ACK, causes);
        causes
    }
}

/// The device must not reach memory that is about to be given back.
impl<D: Device> Drop for Edu<D> {
    fn drop(&mut self) {
        let _ = self.device.set_bus_master(false); // if this fails the device is gone already
    }
}

/// Where the device sees a range of its buffer. It does not check that itself.
fn inside(offset: usize, length: usize) -> Result<u64, DriverError> {
    match offset.checked_add(length) {
        Some(end) if end <= BUFFER_SIZE => Ok(BUFFER_ADDRESS + offset as u64),
        _ => Err(DriverError::new(
            Kind::OutOfRange,
            "an edu's buffer has 4096 bytes",
        )),
    }
}

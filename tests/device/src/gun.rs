//! An edu whose DMA can be aimed at anything.

use driver_sdk::{
    abi::{
        counters::Counter,
        device::{PIN_FROM_DEVICE, PIN_TO_DEVICE, PinArguments},
    },
    prelude::*,
    rt::object::{DmaSpace, Pin},
};
use guest_harness::{
    child::PATIENCE,
    harness::{Outcome, check},
};
use spillway_hal::{Clock, Device, ReadWrite, Register, Registers};
use spillway_native::Function;

use crate::machine::{counted, whole};

/// Registers of the edu's DMA controller (QEMU, docs/specs/edu.rst).
const SOURCE: Register<u64, ReadWrite> = Register::new("DMA_SOURCE", 0x80);
const DESTINATION: Register<u64, ReadWrite> = Register::new("DMA_DESTINATION", 0x88);
const COUNT: Register<u64, ReadWrite> = Register::new("DMA_COUNT", 0x90);
const COMMAND: Register<u64, ReadWrite> = Register::new("DMA_COMMAND", 0x98);
const START: u64 = 1;
const TO_RAM: u64 = 2;
/// Where the device sees its buffer.
const BUFFER: u64 = 0x40000;

/// An edu, loaded from a page of memory.
pub struct Gun {
    bar: spillway_native::Registers,
    pub space: DmaSpace,
    magazine: Memory,
    magazine_pin: Pin,
    pub function: Function,
}

impl Gun {
    /// An edu that masters the bus.
    pub fn new(function: PciFunction) -> Outcome<Self> {
        let function = Function::new(function)?;
        let space = function.object().dma_space()?;
        let magazine = Memory::new(4096)?;
        let magazine_pin = pin(&space, &magazine, PIN_TO_DEVICE)?;
        function.set_bus_master(true)?;
        Ok(Self {
            bar: function.bar(0, 0x100)?,
            space,
            magazine,
            magazine_pin,
            function,
        })
    }

    /// Where the device may read, but not write.
    pub fn magazine(&self) -> Outcome<(&Memory, u64)> {
        Ok((&self.magazine, self.magazine_pin.io_address()?))
    }

    /// Has the device store a value wherever. Returns when it has tried.
    pub fn fire(&self, value: &[u8], address: u64) -> Outcome {
        self.load(value)?;
        self.shoot(value.len(), address)
    }

    /// The same; the IOMMU must block it.
    pub fn fire_in_vain(&self, value: &[u8], address: u64) -> Outcome {
        self.load(value)?;
        let before = counted(Counter::BlockedRequests)?;
        self.shoot(value.len(), address)?;
        let deadline = Instant::now() + PATIENCE;
        // Those of a second in which there were many are counted at its end.
        while counted(Counter::BlockedRequests)? == before {
            check!(
                Instant::now() < deadline,
                "a write of {address:#x} was not blocked"
            );
            thread::sleep(core::time::Duration::from_millis(1));
        }
        Ok(())
    }

    /// Has the device take a value into its buffer.
    fn load(&self, value: &[u8]) -> Outcome {
        self.magazine.write_all(0, value)?;
        let from = self.magazine_pin.io_address()?;
        self.start(from, BUFFER, value.len() as u64, 0);
        self.finish()
    }

    fn shoot(&self, length: usize, address: u64) -> Outcome {
        self.start(BUFFER, address, length as u64, TO_RAM);
        self.finish()
    }

    fn start(&self, from: u64, to: u64, count: u64, way: u64) {
        self.bar.write(SOURCE, from);
        self.bar.write(DESTINATION, to);
        self.bar.write(COUNT, count);
        self.bar.write(COMMAND, START | way);
    }

    fn finish(&self) -> Outcome {
        let clock = self.function.clock();
        let deadline = clock.now() + PATIENCE.as_nanos() as u64;
        let done = || (self.bar.read(COMMAND) & START == 0).then_some(());
        Ok(clock
            .poll_until(deadline, done)
            .ok_or("the edu does not finish")?)
    }
}

/// Pins all of a memory where every edu reaches it.
pub fn pin(space: &DmaSpace, memory: &Memory, direction: u32) -> Outcome<Pin> {
    Ok(space.pin(&PinArguments {
        direction,
        address_bits: 28,
        ..whole(memory)?
    })?)
}

/// Pins all of a memory for the device to write, at an I/O address that is no gun's own.
pub fn pin_far_away(space: &DmaSpace, memory: &Memory) -> Outcome<Pin> {
    Ok(space.pin(&PinArguments {
        direction: PIN_FROM_DEVICE,
        address_bits: 28,
        alignment_bits: 24,
        ..whole(memory)?
    })?)
}

/// The first number in a memory.
pub fn value_of(memory: &Memory) -> Outcome<u64> {
    let mut bytes = [0; 8];
    memory.read(0, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

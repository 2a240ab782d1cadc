//! What a function reaches behind an IOMMU: what was pinned for it, in the direction that was
//! said, and nothing else.

use driver_sdk::{
    abi::device::{PIN_FROM_DEVICE, PIN_TO_DEVICE, PinArguments},
    prelude::*,
    rt::object::DmaSpace,
};
use guest_harness::harness::{Outcome, check, equal, tests};
use spillway_hal::{
    Both, Clock, Device, DmaConstraints, HalErrorKind, ReadWrite, Register, Registers,
};
use spillway_native::Function;

use crate::machine::{disk, edu, whole};

tests![
    scattered_memory_is_one_range,
    addresses_keep_width_and_alignment,
    the_traits_give_memory_as_asked_for,
    a_device_reaches_what_is_pinned_and_no_more,
];

fn scattered_memory_is_one_range() -> Outcome {
    let disk = disk()?;
    let space = disk.dma_space()?;
    check!(space.is_confined()?);
    // More than one large page, so that it is in pieces.
    let memory = Memory::new(5 << 20)?;
    let pin = space.pin(&whole(&memory)?)?;
    equal!(pin.length(), Ok(5 << 20));
    check!(pin.io_address()? > 0, "an address of 0 is as good as none");
    Ok(())
}

fn addresses_keep_width_and_alignment() -> Outcome {
    let disk = disk()?;
    let space = disk.dma_space()?;
    let memory = Memory::new(1 << 16)?;
    for (bits, alignment) in [(20, 12), (28, 12), (28, 16), (32, 21), (64, 30), (31, 30)] {
        let pin = space.pin(&PinArguments {
            address_bits: bits,
            alignment_bits: alignment,
            ..whole(&memory)?
        });
        let address = pin?.io_address()?;
        let end = u128::from(address) + (1 << 16);
        check!(end <= 1 << bits, "{address:#x} has more than {bits} bits");
        equal!(
            address % (1 << alignment),
            0,
            "{address:#x} by {alignment} bits"
        );
    }
    Ok(())
}

fn the_traits_give_memory_as_asked_for() -> Outcome {
    let function = Function::new(disk()?)?;
    let buffer = function.allocate::<Both>(10_000, DmaConstraints::bits(28))?;
    equal!(buffer.len(), 12288);
    check!(buffer.io_address(12287).as_u64() < 1 << 28);
    check!(
        buffer.load_words::<8>(12288 - 64) == [0; 8],
        "new memory is not zero"
    );
    let sent: [u8; 61] = core::array::from_fn(|index| index as u8 ^ 0x5a);
    let mut back = [0; 61];
    for offset in [0, 1, 7, 4090, 12288 - 61] {
        buffer.copy_from_slice(offset, &sent);
        buffer.copy_to_slice(offset, &mut back);
        equal!(back, sent, "at {offset}");
        equal!(buffer.load::<u8>(offset), sent[0]);
    }
    let bytes: [u8; 32] = core::array::from_fn(|index| index as u8);
    buffer.copy_from_slice(0, &bytes);
    buffer.fill(3, 18, 0xee);
    let around = [2, 3, 20, 21].map(|offset| buffer.load::<u8>(offset));
    equal!(around, [2, 0xee, 0xee, 21]);
    buffer.clear();
    equal!(buffer.load::<u64>(0), 0);
    let refused = |bytes, address_bits, alignment| {
        let constraints = DmaConstraints {
            address_bits,
            alignment,
        };
        let refused = function.allocate::<Both>(bytes, constraints).map(drop);
        refused.map_err(|error| error.kind)
    };
    equal!(refused(0, 64, 1), Err(HalErrorKind::InvalidArgument));
    equal!(
        refused(usize::MAX, 64, 1),
        Err(HalErrorKind::InvalidArgument)
    );
    equal!(refused(1, 65, 1), Err(HalErrorKind::InvalidArgument));
    equal!(refused(1, 64, 3), Err(HalErrorKind::InvalidArgument));
    equal!(refused(1, 64, 0), Err(HalErrorKind::InvalidArgument));
    equal!(refused(1, 12, 1), Err(HalErrorKind::OutOfMemory));
    equal!(refused(1 << 40, 64, 1), Err(HalErrorKind::OutOfMemory));
    equal!(refused(1 << 21, 20, 1), Err(HalErrorKind::OutOfMemory));
    equal!(refused(1, 20, 1), Ok(()));
    Ok(())
}

/// Registers of the edu's DMA controller (QEMU, docs/specs/edu.rst).
const SOURCE: Register<u64, ReadWrite> = Register::new("DMA_SOURCE", 0x80);
const DESTINATION: Register<u64, ReadWrite> = Register::new("DMA_DESTINATION", 0x88);
const COUNT: Register<u64, ReadWrite> = Register::new("DMA_COUNT", 0x90);
const COMMAND: Register<u64, ReadWrite> = Register::new("DMA_COMMAND", 0x98);
const START: u64 = 1;
const TO_RAM: u64 = 2;
/// Where the device sees its buffer.
const BUFFER: u64 = 0x40000;

/// An edu whose DMA can be aimed at anything.
struct Gun<'a> {
    function: &'a Function,
    bar: spillway_native::Registers,
}

impl Gun<'_> {
    /// Moves 8 bytes between the device's buffer and an address.
    fn fire(&self, address: u64, to_ram: bool) -> Outcome {
        let (from, to, way) = match to_ram {
            true => (BUFFER, address, TO_RAM),
            false => (address, BUFFER, 0),
        };
        self.bar.write(SOURCE, from);
        self.bar.write(DESTINATION, to);
        self.bar.write(COUNT, 8);
        self.bar.write(COMMAND, START | way);
        let clock = self.function.clock();
        let deadline = clock.now() + 5_000_000_000;
        let done = || (self.bar.read(COMMAND) & START == 0).then_some(());
        Ok(clock
            .poll_until(deadline, done)
            .ok_or("the edu does not finish")?)
    }
}

fn value_of(memory: &Memory) -> Outcome<u64> {
    let mut bytes = [0; 8];
    memory.read(0, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn pin(space: &DmaSpace, memory: &Memory, direction: u32) -> Outcome<driver_sdk::rt::object::Pin> {
    Ok(space.pin(&PinArguments {
        direction,
        address_bits: 28,
        ..whole(memory)?
    })?)
}

fn a_device_reaches_what_is_pinned_and_no_more() -> Outcome {
    const GOOD: u64 = 0x600d_600d_600d_600d;
    const OTHER: u64 = 0x07e4_07e4_07e4_07e4;
    let function = Function::new(edu()?)?;
    let space = function.object().dma_space()?;
    let gun = Gun {
        bar: function.bar(0, 0x100)?,
        function: &function,
    };
    function.set_bus_master(true)?;
    let source = Memory::new(4096)?;
    source.write_all(0, &GOOD.to_le_bytes())?;
    let source_pin = pin(&space, &source, PIN_TO_DEVICE)?;
    gun.fire(source_pin.io_address()?, false)?;
    let target = Memory::new(4096)?;
    let target_pin = pin(&space, &target, PIN_FROM_DEVICE)?;
    let address = target_pin.io_address()?;
    gun.fire(address, true)?;
    equal!(
        value_of(&target)?,
        GOOD,
        "what the device stored where it may"
    );
    // Not the other way: what can only be read is not written.
    source.write_all(0, &OTHER.to_le_bytes())?;
    gun.fire(source_pin.io_address()?, true)?;
    equal!(value_of(&source)?, OTHER, "what the device may only read");
    // Not a page further, and not what was unpinned a moment ago.
    gun.fire(address + 4096, true)?;
    target.write_all(0, &OTHER.to_le_bytes())?;
    drop(target_pin);
    gun.fire(address, true)?;
    equal!(value_of(&target)?, OTHER, "what was unpinned");
    // Not physical memory, where the kernel is; and not the page of the interrupt controllers.
    for address in [0, 0x10_0000, 0x20_0000, 0x100_0000, 0xfee_0000] {
        gun.fire(address, true)?;
    }
    // The device still works where it may.
    let again = pin(&space, &target, PIN_FROM_DEVICE)?;
    gun.fire(again.io_address()?, true)?;
    equal!(value_of(&target)?, GOOD, "what is pinned again");
    Ok(())
}

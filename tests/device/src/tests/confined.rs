//! Addresses that a function has behind an IOMMU.

use driver_sdk::{abi::device::PinArguments, prelude::*};
use guest_harness::harness::{Outcome, check, equal, tests};
use spillway_hal::{Both, Device, DmaConstraints, HalErrorKind};
use spillway_native::Function;

use crate::machine::{disk, whole};

tests![
    scattered_memory_is_one_range,
    addresses_keep_width_and_alignment,
    the_traits_give_memory_as_asked_for,
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

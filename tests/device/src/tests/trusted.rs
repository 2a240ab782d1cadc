//! Without an IOMMU, with `dma=trust`: memory at physical addresses.

use alloc::vec::Vec;

use driver_sdk::{abi::device::PinArguments, prelude::*};
use guest_harness::harness::{Outcome, check, equal, tests};
use spillway_hal::{Both, Device, DmaConstraints, HalErrorKind};
use spillway_native::Function;

use crate::machine::{disk, whole};

tests![
    a_trusted_device_needs_contiguous_memory,
    alignment_is_had_without_an_iommu,
    memory_is_found_where_few_address_bits_reach,
];

fn a_trusted_device_needs_contiguous_memory() -> Outcome {
    let disk = disk()?;
    let space = disk.dma_space()?;
    check!(!space.is_confined()?);
    let contiguous = Memory::contiguous(1 << 20)?;
    let address = space.pin(&whole(&contiguous)?)?.io_address()?;
    check!(address != 0 && address.is_multiple_of(4096));
    let bits = PinArguments {
        address_bits: 20,
        ..whole(&contiguous)?
    };
    equal!(space.pin(&bits).map(drop), Err(Error::OutOfRange));
    // Every second page of many is given back, so what fills the holes is not contiguous.
    let mut pages = Vec::new();
    for _ in 0..256 {
        pages.push(Memory::new(4096)?);
    }
    let mut index = 0;
    pages.retain(|_| {
        index += 1;
        index % 2 == 0
    });
    let scattered = Memory::new(256 * 4096)?;
    let whole = whole(&scattered)?;
    match space.pin(&whole) {
        Err(Error::OutOfRange) => {}
        // It happened to be contiguous after all.
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let first = PinArguments {
        length: 4096,
        ..whole
    };
    drop(space.pin(&first)?);
    Ok(())
}

fn alignment_is_had_without_an_iommu() -> Outcome {
    let function = Function::new(disk()?)?;
    for shift in [12, 16, 21] {
        let constraints = DmaConstraints {
            address_bits: 64,
            alignment: 1 << shift,
        };
        let buffer = function.allocate::<Both>(5000, constraints)?;
        equal!(buffer.len(), 8192);
        equal!(buffer.io_address(0).as_u64() % (1 << shift), 0);
        equal!(buffer.load::<u64>(8184), 0);
    }
    Ok(())
}

fn memory_is_found_where_few_address_bits_reach() -> Outcome {
    let function = Function::new(disk()?)?;
    let allocate = |bits| function.allocate::<Both>(1 << 20, DmaConstraints::bits(bits));
    // Until memory that anything can reach no longer happens to lie low.
    let mut elsewhere = Vec::new();
    while elsewhere.len() < 24 {
        let buffer = allocate(64)?;
        let address = buffer.io_address(0).as_u64();
        elsewhere.push(buffer);
        if address >= 1 << 28 {
            break;
        }
    }
    for bits in [24, 28, 32, 64] {
        let buffer = allocate(bits)?;
        let last = u128::from(buffer.io_address(buffer.len() - 1).as_u64());
        check!(last < 1 << bits, "{last:#x} has more than {bits} bits");
    }
    // The first megabyte is nobody's.
    let none = allocate(20).map(drop).unwrap_err();
    equal!(none.kind, HalErrorKind::OutOfMemory);
    equal!(
        Memory::contiguous_below(4096, 19).map(drop),
        Err(Error::BadArgument)
    );
    equal!(
        Memory::contiguous_below(4096, 65).map(drop),
        Err(Error::BadArgument)
    );
    drop(Memory::contiguous_below(4096, 21)?);
    Ok(())
}

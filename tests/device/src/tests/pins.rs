//! Pins: what may be pinned, and where.

use alloc::vec::Vec;
use core::time::Duration;

use driver_sdk::{
    abi::{
        call::Operation,
        device::{DmaSpaceMeta, FunctionState, PIN_FROM_DEVICE, PIN_TO_DEVICE, PinArguments},
        object::ProcessMeta,
        startup as names,
    },
    prelude::*,
    rt::syscall,
};
use guest_harness::{
    child::leaves_nothing,
    harness::{Outcome, check, equal, tests},
};

use crate::machine::{disk, find, whole};

tests![
    a_pin_needs_its_rights,
    arguments_that_cannot_be_are_refused,
    a_function_has_one_space_and_a_thousand_pins,
    pins_end_with_their_function,
    bus_mastering_needs_a_space,
    pinned_memory_is_nobody_s_until_the_function_is_reset,
];

/// The most pins of a function.
const MOST: usize = 1000;

fn a_pin_needs_its_rights() -> Outcome {
    let disk = disk()?;
    let space = disk.dma_space()?;
    let memory = Memory::new(4096)?;
    let (read, write, dma) = (Rights::READ, Rights::WRITE, Rights::DMA);
    let both = PIN_TO_DEVICE | PIN_FROM_DEVICE;
    let cases = [
        (read | write, PIN_TO_DEVICE, Err(Error::MissingRight)),
        (dma | write, PIN_TO_DEVICE, Err(Error::MissingRight)),
        (dma | read, PIN_FROM_DEVICE, Err(Error::MissingRight)),
        (dma | read, both, Err(Error::MissingRight)),
        (dma | read, PIN_TO_DEVICE, Ok(())),
        (dma | write, PIN_FROM_DEVICE, Ok(())),
        (dma | read | write, both, Ok(())),
    ];
    for (rights, direction, expected) in cases {
        let lesser = memory.duplicate(rights)?;
        let pinned = space.pin(&PinArguments {
            direction,
            ..whole_of(&lesser)
        });
        equal!(
            pinned.map(drop),
            expected,
            "{rights:?}, direction {direction}"
        );
    }
    Ok(())
}

/// As [`whole`], of one page.
fn whole_of(memory: &Memory) -> PinArguments {
    PinArguments {
        memory: memory.handle().raw(),
        direction: PIN_TO_DEVICE,
        offset: 0,
        length: 4096,
        address_bits: 64,
        alignment_bits: 12,
    }
}

fn arguments_that_cannot_be_are_refused() -> Outcome {
    let disk = disk()?;
    let space = disk.dma_space()?;
    let memory = Memory::contiguous(1 << 16)?;
    let right = whole(&memory)?;
    drop(space.pin(&right)?);
    let wrong = [
        PinArguments {
            direction: 0,
            ..right
        },
        PinArguments {
            direction: 4,
            ..right
        },
        PinArguments {
            direction: 5,
            ..right
        },
        PinArguments { length: 0, ..right },
        PinArguments {
            length: 4095,
            ..right
        },
        PinArguments {
            offset: 1,
            length: 4096,
            ..right
        },
        PinArguments {
            address_bits: 19,
            ..right
        },
        PinArguments {
            address_bits: 65,
            ..right
        },
        PinArguments {
            alignment_bits: 11,
            ..right
        },
        PinArguments {
            alignment_bits: 31,
            ..right
        },
    ];
    for arguments in wrong {
        let pinned = space.pin(&arguments).map(drop);
        equal!(pinned, Err(Error::BadArgument), "{arguments:?}");
    }
    let outside = [
        PinArguments {
            offset: 4096,
            ..right
        },
        PinArguments {
            length: right.length + 4096,
            ..right
        },
        PinArguments {
            offset: u64::MAX - 4095,
            length: 8192,
            ..right
        },
    ];
    for arguments in outside {
        let pinned = space.pin(&arguments).map(drop);
        equal!(pinned, Err(Error::OutOfRange), "{arguments:?}");
    }
    let of = |raw| {
        space
            .pin(&PinArguments {
                memory: raw,
                ..right
            })
            .map(drop)
    };
    equal!(of(0), Err(Error::BadHandle));
    equal!(of(disk.handle().raw()), Err(Error::WrongObject));
    let log = startup().handle(names::LOG).ok_or("there is no log")?;
    equal!(of(log.raw()), Err(Error::WrongObject));
    // SAFETY: nobody has memory at this address.
    let bad = unsafe { syscall::do_io(space.handle(), Operation::Create, [4096, 0, 0, 0]) };
    equal!(bad, Err(Error::BadPointer));
    equal!(space.meta(DmaSpaceMeta::Pinned), Ok(0));
    Ok(())
}

fn a_function_has_one_space_and_a_thousand_pins() -> Outcome {
    let work = || -> Outcome {
        let disk = disk()?;
        let (space, same) = (disk.dma_space()?, disk.dma_space()?);
        let memory = Memory::new(4096)?;
        let mut pins = Vec::new();
        for _ in 0..MOST {
            pins.push(space.pin(&whole(&memory)?)?);
        }
        let one_more = space.pin(&whole(&memory)?).map(drop);
        equal!(one_more, Err(Error::LimitReached));
        equal!(same.meta(DmaSpaceMeta::Pinned), Ok(MOST as u64 * 4096));
        equal!(pins[0].length(), Ok(4096));
        pins.pop();
        pins.push(space.pin(&whole(&memory)?)?);
        pins.clear();
        equal!(same.meta(DmaSpaceMeta::Pinned), Ok(0));
        Ok(())
    };
    leaves_nothing(work)
}

fn pins_end_with_their_function() -> Outcome {
    leaves_nothing(|| {
        let disk = disk()?;
        let space = disk.dma_space()?;
        let memory = Memory::contiguous(1 << 22)?;
        let pin = space.pin(&whole(&memory)?)?;
        disk.revoke()?;
        equal!(space.pin(&whole(&memory)?).map(drop), Err(Error::Gone));
        equal!(space.meta(DmaSpaceMeta::Pinned), Ok(0));
        drop(pin);
        Ok(())
    })
}

fn bus_mastering_needs_a_space() -> Outcome {
    let disk = disk()?;
    equal!(disk.set_bus_master(true), Err(Error::Refused));
    equal!(disk.set_bus_master(false), Ok(()));
    let _space = disk.dma_space()?;
    equal!(disk.set_bus_master(true), Ok(()));
    equal!(disk.config_read(4, 2)? & 4, 4);
    disk.set_bus_master(false)?;
    equal!(disk.config_read(4, 2)? & 4, 0);
    Ok(())
}

fn pinned_memory_is_nobody_s_until_the_function_is_reset() -> Outcome {
    const BYTES: u64 = 8 << 20;
    let free = || own_process().meta(ProcessMeta::MachineMemoryFree);
    let state = || find("disk", |e| (e.class, e.subclass) == (1, 8)).map(|entry| entry.state);
    let disk = disk()?;
    let space = disk.dma_space()?;
    let memory = Memory::contiguous(BYTES)?;
    let pin = space.pin(&whole(&memory)?)?;
    drop(memory);
    let before = free()?;
    let revoker = thread::spawn(move || disk.revoke());
    let mut looks = 0;
    // The reset alone takes a tenth of a second.
    while state()? != FunctionState::Free as u8 {
        let now = free()?;
        if state()? != FunctionState::Free as u8 {
            looks += 1;
            // A stack comes and goes besides.
            check!(
                now < before + BYTES / 2,
                "it was let go before the reset ended"
            );
        }
        thread::sleep(Duration::from_millis(1));
    }
    revoker.join()?;
    check!(looks > 1, "the revocation was over at once");
    check!(free()? >= before + BYTES / 2, "it was not let go");
    drop((pin, space));
    Ok(())
}

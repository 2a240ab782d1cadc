//! Devices that the firmware shares memory with, on a machine whose DMAR table names some.

use driver_sdk::{
    abi::device::{DeviceEntry, FunctionState},
    prelude::*,
};
use guest_harness::harness::{Outcome, check, equal, tests};

use crate::machine::{EDU, devices, disk, find, name_of, twins};

tests![
    what_the_firmware_uses_is_refused,
    what_it_does_not_use_is_granted,
];

/// Where xtask puts what the table names: an edu, and a port with something behind it.
const NAMED_EDU: u32 = 0x1d;

fn device(entry: &DeviceEntry) -> u32 {
    entry.address >> 3 & 0x1f
}

fn open(entry: &DeviceEntry) -> Result<PciFunction, Error> {
    devices().open(&name_of(entry))
}

fn what_the_firmware_uses_is_refused() -> Outcome {
    let named = find("edu that is named", |entry| device(entry) == NAMED_EDU)?;
    equal!((named.vendor, named.device), EDU);
    equal!(open(&named).map(drop), Err(Error::Refused));
    // A range names the port, and by that what is behind it; the other port is not named.
    let opened: alloc::vec::Vec<_> = twins()?.iter().map(|twin| open(twin).map(drop)).collect();
    equal!(opened.len(), 2);
    for answer in [Err(Error::Refused), Ok(())] {
        let count = opened.iter().filter(|&&other| other == answer).count();
        equal!(count, 1, "devices behind ports whose opening is {answer:?}");
    }
    Ok(())
}

fn what_it_does_not_use_is_granted() -> Outcome {
    let other = find("edu that is not named", |entry| {
        (entry.vendor, entry.device) == EDU
            && device(entry) != NAMED_EDU
            && entry.state == FunctionState::Free as u8
    })?;
    check!(open(&other)?.dma_space()?.is_confined()?);
    check!(disk()?.dma_space()?.is_confined()?);
    Ok(())
}

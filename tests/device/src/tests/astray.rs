//! Accesses of a device to what was not pinned for it: the IOMMU blocks each, and counts it.

use core::time::Duration;

use driver_sdk::{
    abi::{counters::Counter, device::PIN_FROM_DEVICE},
    prelude::*,
};
use guest_harness::{
    child::{PATIENCE, Shared, Victim, end_of},
    harness::{Outcome, check, equal, tests},
};
use spillway_hal::{IoAddress, block::QueueOptions};

use super::{forged::cores_work, nvme::Disk};
use crate::{
    gun::{Gun, pin, pin_far_away, value_of},
    machine::{counted, devices, edu},
};

tests![
    a_device_reaches_what_is_pinned_and_not_what_is_beside,
    a_pin_has_a_direction,
    what_was_unpinned_is_out_of_reach,
    the_kernel_is_out_of_reach,
    what_another_process_pinned_is_out_of_reach,
    blocked_requests_come_in_a_storm,
];

const BAD: [u8; 8] = 0x0bad_0bad_0bad_0bad_u64.to_le_bytes();
const GOOD: u64 = 0x600d_600d_600d_600d;

fn a_device_reaches_what_is_pinned_and_not_what_is_beside() -> Outcome {
    let gun = Gun::new(edu()?)?;
    let target = Memory::new(3 * 4096)?;
    let pinned = pin_far_away(&gun.space, &target)?;
    let address = pinned.io_address()?;
    gun.fire(&GOOD.to_le_bytes(), address)?;
    equal!(value_of(&target)?, GOOD, "what the device stored");
    for beside in [0, address - 4096, address - 8, address + 3 * 4096] {
        gun.fire_in_vain(&BAD, beside)?;
    }
    // The device still works where it may.
    gun.fire(&[0; 8], address)?;
    equal!(value_of(&target)?, 0, "what the device stored afterwards");
    Ok(())
}

/// QEMU blocks a write of what may only be read without a record, if it remembers the page from a
/// read: so it is not counted here.
fn a_pin_has_a_direction() -> Outcome {
    let gun = Gun::new(edu()?)?;
    let (memory, address) = gun.magazine()?;
    gun.fire(&GOOD.to_le_bytes(), address + 8)?;
    let mut bytes = [0; 8];
    memory.read(8, &mut bytes)?;
    equal!(bytes, [0; 8], "what the device may only read");
    Ok(())
}

fn what_was_unpinned_is_out_of_reach() -> Outcome {
    let gun = Gun::new(edu()?)?;
    let target = Memory::new(4096)?;
    let pinned = pin(&gun.space, &target, PIN_FROM_DEVICE)?;
    let address = pinned.io_address()?;
    gun.fire(&GOOD.to_le_bytes(), address)?;
    equal!(value_of(&target)?, GOOD, "what the device stored");
    // The IOMMU remembers the page now.
    drop(pinned);
    gun.fire_in_vain(&BAD, address)?;
    equal!(value_of(&target)?, GOOD, "what was unpinned");
    let again = pin(&gun.space, &target, PIN_FROM_DEVICE)?;
    gun.fire(&[0; 8], again.io_address()?)?;
    equal!(value_of(&target)?, 0, "what is pinned again");
    Ok(())
}

/// No program knows where the kernel is, but it is in the lower part of the memory: physical
/// addresses mean nothing to the device.
fn the_kernel_is_out_of_reach() -> Outcome {
    let gun = Gun::new(edu()?)?;
    let own = gun.magazine()?.1;
    let low = (0..16).map(|megabyte| megabyte << 20);
    for address in low.chain([0x9000, 0x1000_0000 - 4096]) {
        if address != own {
            gun.fire_in_vain(&BAD, address)?;
        }
    }
    Ok(())
}

fn what_another_process_pinned_is_out_of_reach() -> Outcome {
    let (rights, devices) = (Rights::READ | Rights::MANAGE, devices());
    let shared = Shared::new()?;
    let other = Victim::new("pinner").shared(&shared);
    let other = other.with(|command| command.give("devices", &*devices, rights));
    let process = other.spawn()?;
    shared.wait_for(0, 1)?;
    let gun = Gun::new(edu()?)?;
    gun.fire_in_vain(&BAD, shared.get(1))?;
    shared.set(2, 1);
    equal!(end_of(&process)?.status, ExitStatus::Exited(0));
    Ok(())
}

/// xtask looks at what the log is told of it.
fn blocked_requests_come_in_a_storm() -> Outcome {
    const LENGTH: Duration = Duration::from_millis(1500);
    const MANY: u64 = 10;
    let mut disk = Disk::open(QueueOptions {
        depth: 64,
        interrupt: false,
    })?;
    let before = counted(Counter::BlockedRequests)?;
    let (end, deadline) = (Instant::now() + LENGTH, Instant::now() + PATIENCE);
    loop {
        disk.aim(IoAddress(0x7000_0000))?;
        let count = counted(Counter::BlockedRequests)? - before;
        if Instant::now() >= end && count > MANY {
            break;
        }
        check!(Instant::now() < deadline, "only {count} were blocked");
    }
    disk.drain()?;
    // Who has other things to do still can.
    cores_work()
}

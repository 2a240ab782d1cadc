//! How a grant ends, and what comes after it.

use alloc::vec::Vec;
use core::time::Duration;

use driver_sdk::{
    abi::{
        Fault,
        device::{Caching, FunctionMeta, FunctionState},
    },
    prelude::*,
};
use guest_harness::{
    child::{PATIENCE, Shared, Victim, end_of, leaves_nothing},
    harness::{Outcome, check, equal, soak, tests},
};

use crate::machine::{DISK, devices, disk, entries, fresh_edu, name_of, twins};

tests![
    after_the_revocation_an_access_faults,
    what_came_from_a_revoked_function_is_dead,
    an_owner_resets_its_function,
    what_cannot_be_reset_stays_blocked,
    a_grant_leaves_nothing_behind,
    the_next_owner_comes_after_one_that_was_killed,
    a_killed_owner_of_what_cannot_be_reset_leaves_it_blocked,
    the_functions_of_one_owner_are_reset_side_by_side,
];

/// Version of an NVMe controller, in BAR 0 (NVM Express Base Specification 2.0, 3.1.3.2).
const VERSION: usize = 8;

fn version(disk: &PciFunction) -> Outcome<u32> {
    let mapping = disk.bar(0, Caching::Uncached)?.map(Rights::READ)?;
    // SAFETY: the register is there.
    Ok(unsafe { mapping.as_ptr().add(VERSION).cast::<u32>().read_volatile() })
}

fn after_the_revocation_an_access_faults() -> Outcome {
    let (rights, devices) = (Rights::READ | Rights::MANAGE, devices());
    for kind in ["late-reader", "late-closer"] {
        let victim = Victim::new(kind).with(|command| command.give("devices", &*devices, rights));
        let end = victim.run()?;
        equal!(
            end.status,
            ExitStatus::Faulted(Fault::Page),
            "the end of {kind}"
        );
    }
    Ok(())
}

fn what_came_from_a_revoked_function_is_dead() -> Outcome {
    let disk = disk()?;
    let bar = disk.bar(0, Caching::Uncached)?;
    disk.revoke()?;
    equal!(bar.map(Rights::READ).map(drop), Err(Error::Gone));
    equal!(disk.bar(0, Caching::Uncached).map(drop), Err(Error::Gone));
    equal!(disk.dma_space().map(drop), Err(Error::Gone));
    equal!(disk.interrupt(0, 0).map(drop), Err(Error::Gone));
    equal!(disk.config_read(0, 4), Err(Error::Gone));
    equal!(disk.config_write(4, 2, 2), Err(Error::Gone));
    equal!(disk.meta(FunctionMeta::Identity), Err(Error::Gone));
    equal!(disk.set_bus_master(false), Err(Error::Gone));
    equal!(disk.reset(), Err(Error::Gone));
    equal!(disk.revoke(), Ok(()), "a second revocation");
    // Another owner comes while the first still has its handle, and is not disturbed by it.
    let next = devices().open(DISK)?;
    drop(disk);
    check!(version(&next)? >= 0x1_0000);
    Ok(())
}

fn an_owner_resets_its_function() -> Outcome {
    let disk = disk()?;
    let before = version(&disk)?;
    disk.reset()?;
    equal!(version(&disk)?, before);
    equal!(disk.meta(FunctionMeta::BusMaster), Ok(0));
    Ok(())
}

fn what_cannot_be_reset_stays_blocked() -> Outcome {
    let entry = fresh_edu()?;
    let function = devices().open(&name_of(&entry))?;
    equal!(function.reset(), Err(Error::DeviceFailed));
    drop(function);
    let again = devices().open(&name_of(&entry)).map(drop);
    equal!(again, Err(Error::DeviceFailed));
    equal!(state_of(entry.address)?, FunctionState::Blocked as u8);
    Ok(())
}

pub fn state_of(address: u32) -> Outcome<u8> {
    let entry = entries()?
        .into_iter()
        .find(|entry| entry.address == address);
    Ok(entry.ok_or("it is not in the table any more")?.state)
}

fn a_grant_leaves_nothing_behind() -> Outcome {
    leaves_nothing(|| {
        let disk = disk()?;
        version(&disk)?;
        if disk.dma_space().is_ok() {
            drop(disk.interrupt(0, 0)?);
        }
        Ok(())
    })
}

fn the_next_owner_comes_after_one_that_was_killed() -> Outcome {
    let (rights, devices) = (Rights::READ | Rights::MANAGE, devices());
    let rounds = if soak() { 1000 } else { 20 };
    let kill_one = |round: u64| {
        let shared = Shared::new()?;
        let owner = Victim::new("owner").argument(DISK).shared(&shared);
        let owner = owner.with(|command| command.give("devices", &*devices, rights));
        let process = owner.spawn()?;
        // Some die before they have the device, some while they get it, most with it.
        match round % 4 {
            0 => thread::sleep(Duration::from_micros(round * 97 % 5000)),
            _ => shared.wait_for(0, 1)?,
        }
        process.kill(0)?;
        equal!(end_of(&process)?.status, ExitStatus::Killed(0));
        let next = disk()?;
        check!(version(&next)? >= 0x1_0000, "in round {round}");
        Ok(())
    };
    kill_one(1)?;
    leaves_nothing(|| (0..rounds / 2).try_for_each(kill_one))
}

fn a_killed_owner_of_what_cannot_be_reset_leaves_it_blocked() -> Outcome {
    let entry = fresh_edu()?;
    let (rights, devices) = (Rights::READ | Rights::MANAGE, devices());
    let shared = Shared::new()?;
    let owner = Victim::new("owner")
        .argument(name_of(&entry))
        .shared(&shared);
    let owner = owner.with(|command| command.give("devices", &*devices, rights));
    let process = owner.spawn()?;
    shared.wait_for(0, 1)?;
    equal!(state_of(entry.address)?, FunctionState::Owned as u8);
    process.kill(0)?;
    equal!(end_of(&process)?.status, ExitStatus::Killed(0));
    equal!(state_of(entry.address)?, FunctionState::Blocked as u8);
    let again = devices.open(&name_of(&entry)).map(drop);
    equal!(again, Err(Error::DeviceFailed));
    Ok(())
}

fn the_functions_of_one_owner_are_reset_side_by_side() -> Outcome {
    let (rights, devices) = (Rights::READ | Rights::MANAGE, devices());
    let shared = Shared::new()?;
    let owner = Victim::new("owner-of-twins").shared(&shared);
    let owner = owner.with(|command| command.give("devices", &*devices, rights));
    let process = owner.spawn()?;
    shared.wait_for(0, 1)?;
    let states =
        || -> Outcome<Vec<u8>> { Ok(twins()?.into_iter().map(|entry| entry.state).collect()) };
    let [free, owned] = [FunctionState::Free as u8, FunctionState::Owned as u8];
    equal!(states()?, [owned; 3]);
    process.kill(0)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        check!(Instant::now() < deadline, "they do not come back");
        let now = states()?;
        if now == [free; 3] {
            break;
        }
        // None is back before the last has begun.
        let [back, untouched] = [free, owned].map(|state| now.contains(&state));
        check!(!(back && untouched), "one after the other: {now:?}");
        thread::sleep(Duration::from_millis(1));
    }
    equal!(end_of(&process)?.status, ExitStatus::Killed(0));
    Ok(())
}

//! The table of functions, and the names by which they are opened.

use alloc::{format, vec};

use driver_sdk::{
    abi::{
        call::Operation,
        device::{DEVICE_ENTRY_SIZE, FunctionMeta, FunctionState},
    },
    prelude::*,
    rt::syscall,
};
use guest_harness::{
    child::Victim,
    harness::{Outcome, check, equal, tests},
};

use crate::machine::{DISK, EDU, devices, disk, entries, find, name_of};

tests![
    every_function_is_in_the_table,
    the_table_is_read_by_whole_entries,
    a_function_is_found_by_address_class_and_identity,
    names_that_mean_nothing_are_refused,
    bridges_are_refused,
    the_second_opener_is_told_that_it_is_busy,
    a_group_is_not_split,
    the_table_needs_its_rights,
];

fn every_function_is_in_the_table() -> Outcome {
    let entries = entries()?;
    let sorted = entries
        .windows(2)
        .all(|pair| pair[0].address < pair[1].address);
    check!(sorted, "they are not in the order of their addresses");
    let edus = entries
        .iter()
        .filter(|entry| (entry.vendor, entry.device) == EDU);
    check!(edus.count() > 1);
    let disk = find("disk", |e| (e.class, e.subclass, e.interface) == (1, 8, 2))?;
    equal!(disk.state, FunctionState::Free as u8);
    let port = find("root port", |e| (e.class, e.subclass) == (6, 4))?;
    equal!(port.state, FunctionState::Bridge as u8);
    Ok(())
}

fn the_table_is_read_by_whole_entries() -> Outcome {
    let (devices, size) = (devices(), DEVICE_ENTRY_SIZE as u64);
    let count = entries()?.len() as u64;
    let read = |offset: u64, length: usize| {
        let mut bytes = vec![0u8; length];
        let arguments = [offset, bytes.as_mut_ptr() as u64, length as u64, 0];
        // SAFETY: the bytes are ours to be written.
        unsafe { syscall::do_io(devices.handle(), Operation::Read, arguments) }
    };
    equal!(read(0, DEVICE_ENTRY_SIZE - 1), Ok(0));
    equal!(read(0, 2 * DEVICE_ENTRY_SIZE + 1), Ok(2 * size));
    equal!(read((count - 1) * size, 4096), Ok(size));
    equal!(read(count * size, 4096), Ok(0));
    equal!(read((count + 1) * size, 4096), Err(Error::OutOfRange));
    equal!(read(8, 4096), Err(Error::BadArgument));
    equal!(read(u64::MAX - 15, 4096), Err(Error::OutOfRange));
    // SAFETY: nobody has memory at this address.
    let bad = unsafe { syscall::do_io(devices.handle(), Operation::Read, [0, 4096, 4096, 0]) };
    equal!(bad, Err(Error::BadPointer));
    Ok(())
}

fn a_function_is_found_by_address_class_and_identity() -> Outcome {
    let entry = find("disk", |entry| (entry.class, entry.subclass) == (1, 8))?;
    let names = [
        name_of(&entry),
        format!("id:{:04x}:{:04x}", entry.vendor, entry.device),
        DISK.into(),
        format!("{DISK}#0"),
    ];
    for name in names {
        let function = devices().open(&name)?;
        equal!(
            function.meta(FunctionMeta::Address),
            Ok(entry.address.into()),
            "the address of {name}"
        );
        let identity = u64::from(entry.vendor) | u64::from(entry.device) << 16;
        equal!(function.meta(FunctionMeta::Identity), Ok(identity));
        equal!(function.meta(FunctionMeta::Class)? >> 8, 0x010802);
    }
    Ok(())
}

fn names_that_mean_nothing_are_refused() -> Outcome {
    let open = |name: &str| devices().open(name).map(drop);
    for name in [
        "class:ffffff",
        "class:010802#9",
        "id:dead:beef",
        "pci:0000:fe:1f.7",
    ] {
        equal!(open(name), Err(Error::NotFound), "{name}");
    }
    for name in [
        "",
        "disk",
        "class:0108",
        "class:010802#",
        "pci:0:0:0.0",
        "id:1234",
        "\u{ff}:",
    ] {
        equal!(open(name), Err(Error::BadArgument), "{name}");
    }
    let long = |length| "x".repeat(length);
    equal!(open(&long(64)), Err(Error::BadArgument));
    equal!(open(&long(65)), Err(Error::TooLong));
    // SAFETY: nobody has memory at this address.
    let bad = unsafe { syscall::do_io(devices().handle(), Operation::Open, [4096, 12, 0, 0]) };
    equal!(bad, Err(Error::BadPointer));
    Ok(())
}

fn bridges_are_refused() -> Outcome {
    for name in ["class:060400", "class:060000", "class:060100"] {
        equal!(
            devices().open(name).map(drop),
            Err(Error::Refused),
            "{name}"
        );
    }
    Ok(())
}

fn the_second_opener_is_told_that_it_is_busy() -> Outcome {
    let first = disk()?;
    equal!(devices().open(DISK).map(drop), Err(Error::Busy));
    let owned = find("disk", |entry| (entry.class, entry.subclass) == (1, 8))?;
    equal!(owned.state, FunctionState::Owned as u8);
    let (rights, devices) = (Rights::READ | Rights::MANAGE, devices());
    let opener = Victim::new("opener")
        .argument(DISK)
        .with(|command| command.give("devices", &*devices, rights));
    equal!(opener.run()?.status, ExitStatus::Exited(Error::Busy as i32));
    drop(first);
    equal!(opener.run()?.status, ExitStatus::Exited(0));
    disk().map(drop)
}

fn a_group_is_not_split() -> Outcome {
    let pair = entries()?.into_iter().filter(|entry| entry.class != 6);
    let pair: vec::Vec<_> = pair
        .filter(|entry| entry.address >> 3 & 0x1f == 0x1f)
        .collect();
    check!(
        pair.len() >= 2,
        "the south bridge has fewer functions than expected"
    );
    equal!(pair[0].group, pair[1].group);
    let first = devices().open(&name_of(&pair[0]))?;
    let (rights, devices) = (Rights::READ | Rights::MANAGE, devices());
    let opener = Victim::new("opener")
        .argument(name_of(&pair[1]))
        .with(|command| command.give("devices", &*devices, rights));
    equal!(opener.run()?.status, ExitStatus::Exited(Error::Busy as i32));
    drop(devices.open(&name_of(&pair[1]))?);
    drop(first);
    Ok(())
}

fn the_table_needs_its_rights() -> Outcome {
    let reader = devices().duplicate(Rights::READ)?;
    check!(!reader.list()?.is_empty());
    equal!(reader.open(DISK).map(drop), Err(Error::MissingRight));
    let opener = devices().duplicate(Rights::MANAGE)?;
    equal!(opener.list().map(drop), Err(Error::MissingRight));
    drop(opener.open(DISK)?);
    Ok(())
}

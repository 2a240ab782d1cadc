//! Registers: who may map them, and what of them.

use driver_sdk::{
    abi::{
        Fault,
        device::Caching,
        limits::Limits,
        object::{PROCESS_NAME_LENGTH, ProcessArguments},
    },
    prelude::*,
};
use guest_harness::{
    child::Victim,
    harness::{Outcome, check, equal, tests},
};
use spillway_hal::{Device, HalErrorKind, ReadOnly, ReadWrite, Register, Registers};
use spillway_native::Function;

use crate::machine::{devices, disk, edu, find, name_of};

tests![
    registers_are_reached_through_the_traits,
    the_message_table_is_read_but_not_written,
    bars_that_are_not_there_are_not_found,
    a_bar_is_mapped_by_its_owner_alone,
    a_bar_has_one_caching,
];

/// Registers of the edu (QEMU, docs/specs/edu.rst).
const IDENTIFICATION: Register<u32, ReadOnly> = Register::new("IDENTIFICATION", 0x00);
const LIVENESS: Register<u32, ReadWrite> = Register::new("LIVENESS", 0x04);

fn registers_are_reached_through_the_traits() -> Outcome {
    let function = Function::new(edu()?)?;
    let id = function.id();
    equal!((id.vendor, id.device), (0x1234, 0x11e8));
    let bar = function.bar(0, 1 << 20)?;
    equal!(bar.len(), 1 << 20);
    equal!(bar.read(IDENTIFICATION) & 0xff, 0xed);
    bar.write(LIVENESS, 0x1234_5678);
    equal!(bar.read(LIVENESS), !0x1234_5678);
    let longer = function.bar(0, (1 << 20) + 1).map(drop);
    equal!(longer.unwrap_err().kind, HalErrorKind::NotFound);
    // The registers keep the function.
    drop(function);
    equal!(bar.read(LIVENESS), !0x1234_5678);
    Ok(())
}

fn the_message_table_is_read_but_not_written() -> Outcome {
    let devices = devices();
    let play = |kind, offset: usize| {
        let rights = Rights::READ | Rights::MANAGE;
        let victim = Victim::new(kind).argument(offset);
        victim
            .with(|command| command.give("devices", &*devices, rights))
            .run()
    };
    // The table of QEMU's NVMe is 0x2000 bytes into BAR 0.
    equal!(play("table-reader", 0x2000)?.status, ExitStatus::Exited(0));
    equal!(play("table-writer", 0x1ffc)?.status, ExitStatus::Exited(0));
    for offset in [0x2000, 0x2ffc] {
        let end = play("table-writer", offset)?;
        equal!(end.status, ExitStatus::Faulted(Fault::Page));
        let address = end.fault.map_or(0, |report| report.address);
        equal!(address as usize & 0xfff, offset & 0xfff);
    }
    Ok(())
}

fn bars_that_are_not_there_are_not_found() -> Outcome {
    let disk = disk()?;
    let bar = |index| disk.bar(index, Caching::Uncached).map(drop);
    check!(disk.bar_size(0)? >= 0x4000);
    // BAR 0 has 64 bits, so there is no BAR 1.
    for index in [1, 2, 5] {
        equal!(disk.bar_size(index), Ok(0));
        equal!(bar(index), Err(Error::NotFound));
    }
    equal!(bar(6), Err(Error::NotFound));
    equal!(disk.bar_size(6), Err(Error::BadOperation));
    let function = Function::new(disk)?;
    let kind = |index| function.bar(index, 0).map(drop).map_err(|error| error.kind);
    equal!(kind(0), Ok(()));
    equal!(kind(1), Err(HalErrorKind::NotFound));
    equal!(kind(6), Err(HalErrorKind::NotFound));
    Ok(())
}

fn a_bar_is_mapped_by_its_owner_alone() -> Outcome {
    let disk = disk()?;
    let bar = disk.bar(0, Caching::Uncached)?;
    let child = own_process().create_process(&ProcessArguments {
        name: [b'x'; PROCESS_NAME_LENGTH],
        limits: Limits::DEFAULT,
        affinity: 0,
        max_priority: 0,
        reserved: 0,
    })?;
    // SAFETY: another address space.
    let mapped = unsafe { child.map(&bar, 0, 0, 4096, Rights::READ) };
    equal!(mapped, Err(Error::Refused));
    let passed = bar.as_ref().duplicate_into(Rights::READ, &child);
    equal!(passed, Err(Error::MissingRight));
    equal!(
        bar.duplicate(Rights::READ).map(drop),
        Err(Error::MissingRight)
    );
    let function = disk.as_ref().duplicate_into(Rights::READ, &child);
    equal!(function, Err(Error::MissingRight));
    equal!(
        disk.duplicate(Rights::READ).map(drop),
        Err(Error::MissingRight)
    );
    child.kill(0)?;
    // The kernel itself reads and writes no registers.
    equal!(bar.read(0, &mut [0; 4]), Err(Error::BadOperation));
    equal!(bar.write(0, &[0; 4]), Err(Error::BadOperation));
    equal!(
        bar.map(Rights::READ | Rights::EXECUTE).map(drop),
        Err(Error::MissingRight)
    );
    Ok(())
}

fn a_bar_has_one_caching() -> Outcome {
    let entry = find("edu", |entry| (entry.class, entry.subclass) == (1, 8))?;
    let disk = devices().open(&name_of(&entry))?;
    let uncached = disk.bar(0, Caching::Uncached)?;
    drop(disk.bar(0, Caching::Uncached)?);
    equal!(
        disk.bar(0, Caching::WriteCombining).map(drop),
        Err(Error::Busy)
    );
    drop(uncached.map(Rights::READ)?);
    Ok(())
}

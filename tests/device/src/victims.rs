//! Programs that own a device and come to grief.

use alloc::vec::Vec;
use core::time::Duration;

use driver_sdk::{abi::device::Caching, prelude::*};
use guest_harness::{child::Shared, harness::Outcome};
use spillway_hal::block::{Operation, QueueOptions};

use crate::{
    gun::{pin_far_away, value_of},
    machine::{DISK, devices, disk, edu, name_of, twins, whole},
    tests::nvme::Disk,
};

/// What a victim ends with that did not get where it should.
const FAILED: i32 = 99;

/// Plays the part; returns the exit code.
pub fn play(kind: &str, argument: &str) -> i32 {
    match act(kind, argument) {
        Ok(code) => code,
        Err(failure) => {
            println!("{kind}: {failure:?}");
            FAILED
        }
    }
}

fn act(kind: &str, argument: &str) -> Outcome<i32> {
    match kind {
        "opener" => Ok(devices().open(argument).map_or_else(|e| e as i32, |_| 0)),
        "table-writer" => touch(argument.parse()?, true),
        "table-reader" => touch(argument.parse()?, false),
        "late-reader" => read_after(|disk| Ok(disk.revoke()?)),
        "late-closer" => read_after(|disk| {
            drop(disk);
            Ok(())
        }),
        "owner" => own(argument),
        "owner-of-twins" => own_twins(),
        "pinner" => pin_and_look(),
        "writer" => write_for_ever(),
        _ => Err("no such victim".into()),
    }
}

/// Reads or writes a page of the disk's BAR.
fn touch(offset: usize, write: bool) -> Outcome<i32> {
    let disk = disk()?;
    let bar = disk.bar(0, Caching::Uncached)?;
    let mapping = bar.map(Rights::READ | Rights::WRITE)?;
    // SAFETY: the tests ask for offsets inside of the BAR. If the page is not writable this ends
    // the process, which is what the test is about.
    unsafe {
        let at = mapping.as_ptr().add(offset).cast::<u32>();
        let value = at.read_volatile();
        if write {
            at.write_volatile(value);
        }
    }
    Ok(0)
}

/// Reads a register of a device that was given back.
fn read_after(end: impl FnOnce(PciFunction) -> Outcome) -> Outcome<i32> {
    let disk = disk()?;
    let bar = disk.bar(0, Caching::Uncached)?;
    let mapping = bar.map(Rights::READ | Rights::WRITE)?;
    // SAFETY: the register is there.
    unsafe { mapping.as_ptr().cast::<u32>().read_volatile() };
    end(disk)?;
    // SAFETY: nothing is mapped there any more: the access ends the process.
    unsafe { mapping.as_ptr().cast::<u32>().read_volatile() };
    Ok(0)
}

/// Owns a device with everything that belongs to it until somebody ends the process.
fn own(name: &str) -> Outcome<i32> {
    let shared = Shared::given();
    let function = devices().open(name)?;
    let bar = function.bar(0, Caching::Uncached)?;
    let registers = bar.map(Rights::READ | Rights::WRITE)?;
    // In one piece, so that a trusted device can have it, too.
    let memory = Memory::contiguous(1 << 20)?;
    if name == DISK
        && let Ok(space) = function.dma_space()
    {
        let pin = space.pin(&whole(&memory)?)?;
        let interrupt = function.interrupt(0, 0)?;
        function.set_bus_master(true)?;
        core::mem::forget((pin, interrupt));
    }
    shared.set(0, 1);
    loop {
        // SAFETY: the register is there.
        unsafe { registers.as_ptr().cast::<u32>().read_volatile() };
        thread::sleep(Duration::from_micros(10));
    }
}

/// Owns all twins until somebody ends the process.
fn own_twins() -> Outcome<i32> {
    let shared = Shared::given();
    let twins = twins()?.into_iter();
    let twins = twins.map(|entry| devices().open(&name_of(&entry)));
    let twins = twins.collect::<Result<Vec<_>, _>>()?;
    shared.set(0, 1);
    loop {
        thread::sleep(Duration::from_millis(1));
        twins[0].config_read(0, 4)?;
    }
}

/// Pins memory that another process's device aims at, and says whether it was hit.
fn pin_and_look() -> Outcome<i32> {
    let shared = Shared::given();
    let function = edu()?;
    let space = function.dma_space()?;
    let memory = Memory::new(4096)?;
    memory.write_all(0, &1u64.to_le_bytes())?;
    let pin = pin_far_away(&space, &memory)?;
    shared.set(1, pin.io_address()?);
    shared.set(0, 1);
    shared.wait_for(2, 1)?;
    Ok(i32::from(value_of(&memory)? != 1))
}

/// Writes to the disk, with as many requests in flight as the queue takes.
fn write_for_ever() -> Outcome<i32> {
    let shared = Shared::given();
    let mut disk = Disk::open(QueueOptions {
        depth: 256,
        interrupt: false,
    })?;
    let mut next = 0;
    loop {
        while disk.has_room() {
            disk.submit(Operation::Write, next % 512 * 8, 8)?;
            next += 1;
        }
        if disk.reap()? > 0 {
            shared.set(0, 1);
        }
    }
}

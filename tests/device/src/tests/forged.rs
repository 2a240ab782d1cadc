//! Interrupts that a device makes by writing where interrupts are taken.
//!
//! Through remapping only the entry of the device itself leads anywhere. What QEMU lets through all
//! the same (docs/iommu.md) must be counted as nobody's and harm nobody.

use core::time::Duration;

use driver_sdk::{abi::counters::Counter, prelude::*};
use guest_harness::{
    child::PATIENCE,
    harness::{Outcome, check, equal, tests},
};
use spillway_hal::{Device, Register, Registers, WriteOnly};

use crate::{
    gun::Gun,
    machine::{counted, edu, wide_edu},
};

tests![
    an_interrupt_by_an_absent_entry_is_blocked,
    an_interrupt_by_an_entry_that_was_given_back_is_blocked,
    an_entry_of_another_function_gives_no_more_than_a_wake_up,
    a_message_in_the_old_format_is_nobody_s,
    a_message_for_the_kernel_itself_harms_nobody,
];

/// Where a device writes to interrupt through an entry (VT-d 4.1, 5.1.2.2).
fn by_entry(entry: u64) -> u64 {
    0xfee0_0010 | (entry & 0x7fff) << 5 | (entry >> 15) << 2
}

/// Where it writes to interrupt a core without remapping (Intel SDM vol. 3, 11.11.1).
fn by_core(apic_id: u64) -> u64 {
    0xfee0_0000 | apic_id << 12
}

fn an_interrupt_by_an_absent_entry_is_blocked() -> Outcome {
    let gun = Gun::new(wide_edu()?)?;
    let before = counted(Counter::SpuriousInterrupts)?;
    // The table has 4096.
    for entry in [0, 1, 2, 100, 4095, 4096, 0xffff] {
        gun.fire_in_vain(&[0; 4], by_entry(entry))?;
    }
    equal!(counted(Counter::SpuriousInterrupts)?, before, "got through");
    Ok(())
}

fn an_interrupt_by_an_entry_that_was_given_back_is_blocked() -> Outcome {
    let gun = Gun::new(wide_edu()?)?;
    let interrupt = gun.function.object().interrupt(0, time::core_index())?;
    gun.function.bar(0, 0x100)?.write(RAISE, 1);
    check!(interrupt.wait(Deadline::after(PATIENCE))? >= 1);
    drop(interrupt);
    // Entries are given out from the lowest on.
    for entry in 0..4 {
        gun.fire_in_vain(&[0; 4], by_entry(entry))?;
    }
    Ok(())
}

/// The edu's register that raises an interrupt (QEMU, docs/specs/edu.rst).
const RAISE: Register<u32, WriteOnly> = Register::new("INTERRUPT_RAISE", 0x60);

/// What the hardware lets through, or not.
fn events() -> Outcome<u64> {
    Ok(counted(Counter::BlockedRequests)? + counted(Counter::SpuriousInterrupts)?)
}

fn an_entry_of_another_function_gives_no_more_than_a_wake_up() -> Outcome {
    let other = edu()?;
    let interrupt = other.interrupt(0, time::core_index())?;
    let gun = Gun::new(wide_edu()?)?;
    let before = events()?;
    let mut woken = 0;
    for entry in 0..4 {
        gun.fire(&[0; 4], by_entry(entry))?;
        woken += interrupt.poll()?;
    }
    // One of the four is the other's: blocked on a real machine, a wake-up on QEMU's.
    check!(woken <= 1, "{woken} wake-ups");
    let deadline = Instant::now() + PATIENCE;
    while events()? == before {
        check!(Instant::now() < deadline, "the others were not blocked");
    }
    Ok(())
}

fn a_message_in_the_old_format_is_nobody_s() -> Outcome {
    let gun = Gun::new(wide_edu()?)?;
    for core in 0..time::core_count() as u64 {
        // No kind of vector has an owner: those below the devices', theirs, and above the kernel's.
        for vector in [0x20, 0x2f, 0x30, 0x80, 0xef, 0xf4, 0xfe, 0xff] {
            let before = events()?;
            gun.fire(&[vector, 0, 0, 0], by_core(core))?;
            let deadline = Instant::now() + PATIENCE;
            while events()? == before {
                check!(
                    Instant::now() < deadline,
                    "vector {vector:#x} of core {core} was neither blocked nor counted"
                );
            }
        }
    }
    cores_work()
}

fn a_message_for_the_kernel_itself_harms_nobody() -> Outcome {
    let gun = Gun::new(wide_edu()?)?;
    for core in 0..time::core_count() as u64 {
        for vector in 0xf0..=0xf3 {
            gun.fire(&[vector, 0, 0, 0], by_core(core))?;
            cores_work()?;
        }
    }
    // Faults still get through to the kernel.
    gun.fire_in_vain(&[0; 8], 0)
}

/// Every core runs threads, and wakes them when their time has come.
pub fn cores_work() -> Outcome {
    let sleepers: alloc::vec::Vec<_> = (0..time::core_count())
        .map(|core| {
            thread::Builder::new()
                .affinity(1 << core)
                .spawn(|| (0..3).for_each(|_| thread::sleep(Duration::from_millis(1))))
        })
        .collect();
    for sleeper in sleepers {
        sleeper?.join();
    }
    Ok(())
}

//! Interrupts of a function.

use core::time::Duration;

use driver_sdk::{abi::device::FunctionMeta, prelude::*};
use guest_harness::{
    child::PATIENCE,
    harness::{Outcome, check, equal, tests},
};
use spillway_hal::{
    Device, HalErrorKind, Interrupt as _, ReadOnly, Register, Registers, WriteOnly,
};
use spillway_native::Function;

use crate::machine::{disk, edu};

tests![
    vectors_are_bound_once_and_to_cores_that_exist,
    edges_are_counted_and_none_is_lost,
    who_waits_is_told_of_the_end,
    a_stale_handle_takes_no_vector_from_the_next_owner,
];

fn vectors_are_bound_once_and_to_cores_that_exist() -> Outcome {
    let disk = disk()?;
    let vectors = disk.meta(FunctionMeta::Vectors)? as u16;
    check!(vectors > 1);
    let bind = |vector, core| disk.interrupt(vector, core).map(drop);
    let first = disk.interrupt(0, 0)?;
    equal!(bind(0, 0), Err(Error::Busy));
    equal!(bind(vectors, 0), Err(Error::BadArgument));
    equal!(bind(1, time::core_count()), Err(Error::BadArgument));
    equal!(bind(1, 64), Err(Error::BadArgument));
    equal!(bind(1, usize::MAX), Err(Error::BadArgument));
    equal!(bind(1, time::core_count() - 1), Ok(()));
    equal!(first.poll(), Ok(0));
    let brief = Deadline::after(Duration::from_millis(2));
    equal!(first.wait(brief), Err(Error::TimedOut));
    drop(first);
    bind(0, 0).map_err(Into::into)
}

/// Registers of the edu that raise an interrupt, say which are raised, and end them (QEMU,
/// docs/specs/edu.rst).
const RAISE: Register<u32, WriteOnly> = Register::new("INTERRUPT_RAISE", 0x60);
const RAISED: Register<u32, ReadOnly> = Register::new("INTERRUPT_STATUS", 0x24);
const ACKNOWLEDGE: Register<u32, WriteOnly> = Register::new("INTERRUPT_ACK", 0x64);

fn edges_are_counted_and_none_is_lost() -> Outcome {
    let function = Function::new(edu()?)?;
    let bar = function.bar(0, 0x100)?;
    let mut interrupt = function.interrupt(0)?;
    let raise = |bits: u32| {
        bar.write(RAISE, bits);
        bar.read(RAISED)
    };
    // Without bus mastering no message leaves the function.
    raise(1);
    equal!(interrupt.poll(), 0);
    bar.write(ACKNOWLEDGE, 1);
    function.set_bus_master(true)?;
    let deadline = || (Instant::now() + PATIENCE).as_nanoseconds();
    for bits in 1..20 {
        raise(bits);
        check!(interrupt.wait(deadline())? >= 1, "edge {bits} was lost");
        bar.write(ACKNOWLEDGE, bits);
        equal!(bar.read(RAISED), 0);
    }
    // A storm that nobody takes: one is reported at least, and the next is not lost.
    for _ in 0..1000 {
        raise(1);
        bar.write(ACKNOWLEDGE, 1);
    }
    let late = interrupt.wait(0).map_err(|error| error.kind);
    equal!(late, Err(HalErrorKind::TimedOut));
    check!(interrupt.wait(deadline())? >= 1);
    while interrupt.poll() > 0 {}
    raise(1);
    check!(
        interrupt.wait(deadline())? >= 1,
        "an edge after the storm was lost"
    );
    bar.write(ACKNOWLEDGE, 1);
    Ok(())
}

fn who_waits_is_told_of_the_end() -> Outcome {
    let disk = disk()?;
    let interrupt = disk.interrupt(0, 0)?;
    let waiter = thread::spawn(move || interrupt.wait(Deadline::after(PATIENCE)));
    thread::sleep(Duration::from_millis(20));
    disk.revoke()?;
    equal!(waiter.join(), Err(Error::Gone));
    Ok(())
}

/// The handle of a vector outlives the function's revocation. Closing it then took the vector from
/// the function that had it by now.
fn a_stale_handle_takes_no_vector_from_the_next_owner() -> Outcome {
    let disk = disk()?;
    let core = time::core_index();
    let stale = disk.interrupt(0, core)?;
    disk.revoke()?;
    let edu = edu()?;
    let space = edu.dma_space()?;
    // The lowest vector that is free, which is the one that came back.
    let interrupt = edu.interrupt(0, core)?;
    drop((stale, space));
    let function = Function::new(edu)?;
    function.set_bus_master(true)?;
    function.bar(0, 0x100)?.write(RAISE, 1);
    check!(interrupt.wait(Deadline::after(PATIENCE))? >= 1);
    Ok(())
}

//! Measures the kernel from inside.
//!
//! Arguments: `counted` or `timed`, and the time-stamp counter at init's first instruction, which
//! init writes in the place of `{entry_tsc}` in the manifest. For a counted run the machine's
//! time-stamp counter must advance by one with each instruction (QEMU's `-icount shift=0`).
//!
//! Every measured region begins and ends with the marker instruction `xchg bx, bx`, so that an
//! emulator can count the same from outside. Results are lines of the log, `@result {…}`.
#![no_std]
#![no_main]

extern crate alloc;

mod subjects;

use bench_harness::report::{self, Method};
use driver_sdk::{abi::object::ClockMeta, prelude::*};

driver_sdk::main!(main);

fn main() -> Result<(), &'static str> {
    let mut arguments = arguments();
    let first = arguments.next();
    if first == Some(subjects::CHILD) {
        return subjects::child();
    }
    let method =
        Method::from_argument(first).ok_or("the first argument must be `counted` or `timed`")?;
    report::begin("bench-kernel", method, None);
    if let Some(ticks) = boot(arguments.next()) {
        report::report("boot/kernel_to_user", method, &[ticks]);
    }
    // One core for everything, so that no subject depends on where its parts happen to run.
    let measuring = thread::Builder::new()
        .affinity(1)
        .spawn(move || subjects::all(method));
    let thread = measuring.map_err(|error| error.describe())?;
    thread.join().map_err(|error| error.describe())?;
    report::end();
    Ok(())
}

/// Ticks from the kernel's first instruction to the first one of a program.
fn boot(first_user: Option<&str>) -> Option<f64> {
    let first_user: u64 = first_user?.parse().ok()?;
    let first_kernel = object::<Clock>("clock")?
        .meta(ClockMeta::KernelEntryTsc)
        .ok()?;
    Some(first_user.checked_sub(first_kernel)? as f64)
}

//! What is measured.

use core::{
    arch::asm,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use bench_harness::{
    measure::{self, begin, means, overhead, samples},
    report::{Method, report},
};
use driver_sdk::{
    abi::{Call, PAGE_SIZE, startup as names},
    prelude::*,
    rt::syscall,
};

/// The argument that makes the program play the child of [`process_spawn`].
pub const CHILD: &str = "child";
/// Repetitions in one sample.
const TIMES: u32 = 100;

/// Measures everything, in order.
pub fn all(method: Method) -> Result<(), Error> {
    report(
        "kernel/null_syscall",
        method,
        &samples(TIMES, null_syscalls),
    );
    report("kernel/yield_switch", method, &yield_switch());
    report("kernel/map_unmap", method, &map_unmap()?);
    report("kernel/process_spawn", method, &process_spawn()?);
    Ok(())
}

/// A hundred system calls that do nothing, without a loop: only the call is counted, with the
/// instruction that says which it is.
fn null_syscalls() {
    // SAFETY: the call has no arguments and no effect; its registers are declared as changed.
    unsafe {
        asm!(
            ".rept {times}",
            "mov eax, {version}",
            "syscall",
            ".endr",
            times = const TIMES,
            version = const Call::Version as u64,
            out("rax") _,
            clobber_abi("sysv64"),
            options(nostack),
        );
    }
}

/// Two threads on this core that do nothing but let the other one run.
fn yield_switch() -> alloc::vec::Vec<f64> {
    static STOP: AtomicBool = AtomicBool::new(false);
    let other = thread::Builder::new().affinity(1).spawn(|| {
        while !STOP.load(Ordering::Relaxed) {
            syscall::yield_now();
        }
    });
    let samples = samples(TIMES, || {
        // There and back are two switches.
        for _ in 0..TIMES / 2 {
            syscall::yield_now();
        }
    });
    STOP.store(true, Ordering::Relaxed);
    if let Ok(other) = other {
        other.join();
    }
    samples
}

/// One page mapped and unmapped, where the kernel likes.
fn map_unmap() -> Result<alloc::vec::Vec<f64>, Error> {
    let memory = Memory::new(PAGE_SIZE)?;
    let (own, page) = (own_process().handle(), memory.handle());
    let access = Rights::READ | Rights::WRITE;
    let mut outcome = Ok(());
    let samples = samples(TIMES, || {
        for _ in 0..TIMES {
            // SAFETY: the kernel chooses an address that nobody uses, and nobody uses the page.
            let done = unsafe {
                syscall::map(own, page, 0, 0, PAGE_SIZE, access)
                    .and_then(|address| syscall::unmap(own, address, PAGE_SIZE))
            };
            if done.is_err() {
                outcome = done;
            }
        }
    });
    outcome.map(|()| samples)
}

/// From the decision to start a program to its first instruction: address space, mappings,
/// stack, startup block, thread, switch. The child is this program again; it writes down when it
/// began, and marks the end of the region as soon as it can.
fn process_spawn() -> Result<alloc::vec::Vec<f64>, Error> {
    let image = object::<Memory>(names::IMAGE).ok_or(Error::BadHandle)?;
    let program = Program::new(&image).map_err(|_| Error::BadArgument)?;
    let shared = Memory::new(PAGE_SIZE)?;
    let mapping = shared.map(Rights::READ | Rights::WRITE)?;
    // SAFETY: the page is mapped as long as `mapping` lives and used as an atomic number.
    let entry = unsafe { &*mapping.as_ptr().cast::<AtomicU64>() };
    let rights = Rights::READ | Rights::WRITE | Rights::MAP;
    let overhead = overhead();
    means(TIMES, || {
        let start = begin();
        let child = Command::new(CHILD, &program)
            .argument(CHILD)
            .give("shared", &shared, rights)
            .affinity(1)
            .stack_size(16 << 10)
            .spawn()
            .map_err(|error| match error {
                driver_sdk::rt::process::SpawnError::Kernel(_, error) => error,
                _ => Error::BadArgument,
            })?;
        match child.wait(Deadline::NEVER)? {
            ExitStatus::Exited(0) => {}
            _ => return Err(Error::Gone),
        }
        Ok(entry
            .load(Ordering::SeqCst)
            .saturating_sub(start + overhead))
    })
}

/// What the child does.
pub fn child() -> Result<(), &'static str> {
    measure::end();
    let shared = object::<Memory>("shared").ok_or("there is no shared page")?;
    let tsc = time::entry_tsc().to_le_bytes();
    shared.write_all(0, &tsc).map_err(|error| error.describe())
}

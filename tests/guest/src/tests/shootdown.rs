//! What one core takes away, the others must have forgotten before it is used again.

use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use driver_sdk::{abi::call::Operation, prelude::*};

use crate::{
    child::{PATIENCE, Victim, end_of},
    harness::{Outcome, check, soak, tests},
    raw,
};

tests![
    ; 2 cores:
    frames_are_not_reused_while_another_core_may_write_to_them,
    two_cores_unmap_at_the_same_time,
    a_core_without_work_keeps_no_address_space_that_ends,
];

/// What one read moves at most: the kernel is busy with it for a while, with interrupts off, and
/// so forgets nothing in between.
const LENGTH: u64 = 64 << 10;

/// Where the writer has the kernel write, or 0.
static TARGET: AtomicU64 = AtomicU64::new(0);
/// Times that it did; and whether it has seen that there is no target any more.
static WRITES: AtomicU64 = AtomicU64::new(0);
static RESTS: AtomicBool = AtomicBool::new(false);
static END: AtomicBool = AtomicBool::new(false);

/// Has the kernel fill the target, again and again. With the target, the kernel on this core comes
/// to know its frames.
fn write_all_the_time() -> Outcome {
    let source = Memory::new(LENGTH)?;
    source.write_all(0, &alloc::vec![0xa5; LENGTH as usize])?;
    while !END.load(Ordering::SeqCst) {
        match TARGET.load(Ordering::SeqCst) {
            0 => RESTS.store(true, Ordering::SeqCst),
            target => {
                // Refused when the target is gone.
                let arguments = [0, target, LENGTH, 0];
                let _ = raw::do_io(source.handle(), Operation::Read, arguments);
                WRITES.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    Ok(())
}

/// The frames of a target that goes away in the middle of a write, and of new memory, which may
/// be the same ones: the write must not come to be seen in the new memory.
fn one_target() -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    let wait = |done: &dyn Fn() -> bool| {
        while !done() {
            check!(Instant::now() < deadline, "the writer does not run");
        }
        Ok(())
    };
    let mapping = Memory::new(LENGTH)?.map(Rights::READ | Rights::WRITE)?;
    let before = WRITES.load(Ordering::SeqCst);
    RESTS.store(false, Ordering::SeqCst);
    TARGET.store(mapping.address(), Ordering::SeqCst);
    wait(&|| WRITES.load(Ordering::SeqCst) > before + 2)?;
    TARGET.store(0, Ordering::SeqCst);
    drop(mapping);
    let fresh = Memory::new(LENGTH)?;
    wait(&|| RESTS.load(Ordering::SeqCst))?;
    check!(
        fresh.read_all()?.iter().all(|&byte| byte == 0),
        "new memory shows what was written through a mapping that was gone"
    );
    Ok(())
}

fn frames_are_not_reused_while_another_core_may_write_to_them() -> Outcome {
    END.store(false, Ordering::SeqCst);
    let writer = thread::Builder::new()
        .affinity(1 << 1)
        .spawn(write_all_the_time)?;
    // A third core, where there is one, takes the frames while the first waits for the second.
    let taker = match time::core_count() {
        3.. => Some(thread::Builder::new().affinity(1 << 2).spawn(take_frames)?),
        _ => None,
    };
    let remover = thread::Builder::new().affinity(1).spawn(|| {
        let rounds = if soak() { 3000 } else { 150 };
        let outcome = (0..rounds).try_for_each(|_| one_target());
        END.store(true, Ordering::SeqCst);
        outcome
    })?;
    let outcomes = [Some(remover), Some(writer), taker];
    let outcomes = outcomes.map(|thread| thread.map_or(Ok(()), thread::JoinHandle::join));
    outcomes.into_iter().collect()
}

/// Takes memory, looks at it a little later, and gives it back.
fn take_frames() -> Outcome {
    while !END.load(Ordering::SeqCst) {
        let fresh = Memory::new(LENGTH)?;
        thread::sleep(Duration::from_micros(100));
        check!(
            fresh.read_all()?.iter().all(|&byte| byte == 0),
            "new memory shows what was written through a mapping that another core took away"
        );
    }
    Ok(())
}

/// Each waits for the other, and must answer it meanwhile. It takes a while until they meet, longer
/// if the two share one core of an emulator's host.
fn two_cores_unmap_at_the_same_time() -> Outcome {
    static ROUNDS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
    ROUNDS
        .iter()
        .for_each(|rounds| rounds.store(0, Ordering::SeqCst));
    let thread = |core: usize| {
        thread::Builder::new()
            .affinity(1 << core)
            .spawn(move || -> Outcome {
                let memory = Memory::new(4096)?;
                let end = Instant::now() + Duration::from_secs(3);
                let enough = || {
                    ROUNDS
                        .iter()
                        .all(|rounds| rounds.load(Ordering::SeqCst) > 5000)
                };
                while !enough() && Instant::now() < end {
                    drop(memory.map(Rights::READ)?);
                    ROUNDS[core].fetch_add(1, Ordering::SeqCst);
                }
                Ok(())
            })
    };
    let (one, other) = (thread(0)?, thread(1)?);
    one.join()?;
    other.join()
}

/// The last thread of a process takes it apart on the first core, while the second has nothing to
/// do since it ran another thread of it. Then the process's page tables become somebody's memory,
/// and the second core works again.
fn a_core_without_work_keeps_no_address_space_that_ends() -> Outcome {
    let on_core = |core: u64| thread::Builder::new().affinity(1 << core);
    let on_first_core = move || -> Outcome {
        for _ in 0..10 {
            let child = Victim::new("end-on-second-core").spawn()?;
            let end = end_of(&child)?;
            check!(end.status == ExitStatus::Exited(4), "{}", end.status);
            let garbage = alloc::vec![0x5a; 4 << 20];
            let made = on_core(1).spawn(|| (0..64).all(|_| Memory::new(16 << 10).is_ok()))?;
            check!(made.join());
            drop(garbage);
        }
        Ok(())
    };
    on_core(0).spawn(on_first_core)?.join()
}

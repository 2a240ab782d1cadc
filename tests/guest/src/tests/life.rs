//! Processes come and go, and others do not notice.

use alloc::vec::Vec;
use core::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use driver_sdk::{abi::limits::Limits, prelude::*};

use crate::{
    child::{Shared, Use, Victim, end_of, leaves_nothing},
    harness::{Outcome, check, equal, soak, tests},
};

tests![
    a_spinning_process_is_ended_from_outside,
    a_sleeping_process_is_ended_from_outside,
    everything_left_open_comes_back,
    the_first_thread_ends_the_process_by_returning,
    the_last_thread_ends_the_process,
    ending_twice_is_told_or_harmless,
    a_process_without_threads_can_be_ended,
    processes_come_and_go_without_a_trace,
    ; 2 cores:
    a_process_is_ended_while_it_runs_on_every_core,
    a_page_unmapped_in_one_thread_is_gone_for_all,
];

fn a_spinning_process_is_ended_from_outside() -> Outcome {
    leaves_nothing(|| {
        let shared = Shared::new()?;
        let child = Victim::new("spin").shared(&shared).spawn()?;
        shared.wait_for(0, 1)?;
        // Others make progress meanwhile, on the same core too.
        for core in 0..time::core_count() {
            let thread = thread::Builder::new().affinity(1 << core).spawn(|| 1)?;
            equal!(thread.join(), 1);
        }
        equal!(
            child.wait(Deadline::after(Duration::from_millis(2))),
            Err(Error::TimedOut)
        );
        child.kill(-7)?;
        equal!(end_of(&child)?.status, ExitStatus::Killed(-7));
        let count = shared.get(0);
        thread::sleep(Duration::from_millis(2));
        equal!(
            shared.get(0),
            count,
            "the count of a process that has ended"
        );
        Ok(())
    })
}

fn a_sleeping_process_is_ended_from_outside() -> Outcome {
    leaves_nothing(|| {
        let child = Victim::new("sleep").spawn()?;
        thread::sleep(Duration::from_millis(1));
        child.kill(3)?;
        equal!(end_of(&child)?.status, ExitStatus::Killed(3));
        Ok(())
    })
}

fn everything_left_open_comes_back() -> Outcome {
    leaves_nothing(|| {
        equal!(
            Victim::new("leave-all").run()?.status,
            ExitStatus::Exited(7)
        );
        Ok(())
    })
}

fn the_first_thread_ends_the_process_by_returning() -> Outcome {
    leaves_nothing(|| {
        let shared = Shared::new()?;
        let end = Victim::new("main-ends-first").shared(&shared).run()?;
        equal!(end.status, ExitStatus::Exited(5));
        Ok(())
    })
}

fn the_last_thread_ends_the_process() -> Outcome {
    leaves_nothing(|| {
        equal!(
            Victim::new("last-thread").run()?.status,
            ExitStatus::Exited(9)
        );
        Ok(())
    })
}

fn ending_twice_is_told_or_harmless() -> Outcome {
    let child = Victim::new("sleep").spawn()?;
    child.kill(1)?;
    check!(matches!(child.kill(2), Ok(()) | Err(Error::Gone)));
    equal!(end_of(&child)?.status, ExitStatus::Killed(1));
    check!(matches!(child.kill(3), Ok(()) | Err(Error::Gone)));
    equal!(end_of(&child)?.status, ExitStatus::Killed(1));
    // Nothing new can come to be in it.
    equal!(Memory::charged_to(&child, 4096).map(drop), Err(Error::Gone));
    Ok(())
}

fn a_process_without_threads_can_be_ended() -> Outcome {
    leaves_nothing(|| {
        let arguments = driver_sdk::abi::object::ProcessArguments {
            name: [b'x'; 32],
            limits: Limits::DEFAULT,
            affinity: 0,
            max_priority: 1,
            reserved: 0,
        };
        let child = own_process().create_process(&arguments)?;
        let memory = Memory::charged_to(&child, 100_000)?;
        // SAFETY: another address space.
        unsafe { child.map(&memory, 0x5000_0000, 0, 4096, Rights::READ)? };
        drop(memory);
        equal!(child.wait(Deadline::NOW), Err(Error::TimedOut));
        child.kill(0)?;
        equal!(end_of(&child)?.status, ExitStatus::Killed(0));
        Ok(())
    })
}

/// Starts and ends processes from a thread on each core; each ends in one of several ways.
fn processes_come_and_go_without_a_trace() -> Outcome {
    let total = if soak() { 10_000 } else { 200 };
    // Fills what is filled once.
    campaign(20)?;
    let before = Use::now()?;
    campaign(total)?;
    let after = Use::now()?;
    check!(
        after == before,
        "after {total} processes: before {before:?}, after {after:?}"
    );
    Ok(())
}

fn campaign(total: u32) -> Outcome {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.store(0, Ordering::Relaxed);
    let mut threads = Vec::new();
    for core in 0..time::core_count() {
        threads.push(thread::Builder::new().affinity(1 << core).spawn(move || {
            loop {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                if number >= total {
                    return Ok(());
                }
                one_process(number)?;
            }
        })?);
    }
    // All are joined, also after one has failed: they use what the test is about to look at.
    let outcomes: Vec<Outcome> = threads.into_iter().map(thread::JoinHandle::join).collect();
    outcomes.into_iter().collect()
}

fn one_process(number: u32) -> Outcome {
    // Faults are rare, because each writes a line into the log.
    let (victim, expected) = match number % 20 {
        19 => (
            Victim::new("invalid"),
            ExitStatus::Faulted(Fault::InvalidInstruction),
        ),
        kind if kind % 3 == 1 => (Victim::new("sleep"), ExitStatus::Killed(1)),
        _ => (
            Victim::new("exit").argument(number),
            ExitStatus::Exited(number as i32),
        ),
    };
    let shared = Shared::new()?;
    let child = victim.shared(&shared).spawn()?;
    if expected == ExitStatus::Killed(1) {
        child.kill(1)?;
    }
    equal!(end_of(&child)?.status, expected, "process {number}");
    Ok(())
}

fn a_process_is_ended_while_it_runs_on_every_core() -> Outcome {
    leaves_nothing(|| {
        let shared = Shared::new()?;
        let cores = time::core_count();
        // More threads than cores, so that some run and some are ready.
        let child = Victim::new("spin")
            .argument(cores + 2)
            .shared(&shared)
            .spawn()?;
        for slot in 0..cores + 2 {
            shared.wait_for(slot, 1)?;
        }
        child.kill(6)?;
        equal!(end_of(&child)?.status, ExitStatus::Killed(6));
        Ok(())
    })
}

/// A child whose first thread unmaps a page that its other thread reads all the time, on another
/// core: the fault must come, at that page, before the unmap has returned.
fn a_page_unmapped_in_one_thread_is_gone_for_all() -> Outcome {
    for _ in 0..5 {
        let shared = Shared::new()?;
        let end = Victim::new("unmap-under-reader").shared(&shared).run()?;
        equal!(end.status, ExitStatus::Faulted(Fault::Page));
        equal!(
            end.fault.map(|report| report.address & !4095),
            Some(shared.get(1))
        );
        check!(shared.get(0) > 0, "the reader never read");
    }
    Ok(())
}

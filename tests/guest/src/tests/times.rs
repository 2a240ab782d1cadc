//! Time, sleep, and the pages that every program can read.

use core::time::Duration;

use driver_sdk::{
    abi::{layout::TIME_PAGE, limits::MAX_CORES, object::ProcessMeta, time::TimePage},
    prelude::*,
};

use crate::harness::{Outcome, check, equal, tests};

tests![
    time_does_not_go_back,
    a_sleep_is_never_too_short,
    a_deadline_in_the_past_does_not_wait,
    the_time_page_describes_the_machine,
    ; 2 cores:
    time_does_not_go_back_across_cores,
];

fn time_does_not_go_back() -> Outcome {
    let mut last = Instant::now();
    for _ in 0..20_000 {
        let now = Instant::now();
        check!(now >= last, "{last:?}, then {now:?}");
        last = now;
    }
    Ok(())
}

fn a_sleep_is_never_too_short() -> Outcome {
    for microseconds in [0, 1, 50, 1_000, 3_000, 12_000] {
        let duration = Duration::from_micros(microseconds);
        let start = Instant::now();
        thread::sleep(duration);
        let slept = start.elapsed();
        check!(slept >= duration, "asked for {duration:?}, slept {slept:?}");
    }
    Ok(())
}

fn a_deadline_in_the_past_does_not_wait() -> Outcome {
    thread::sleep(Duration::from_millis(1));
    time::sleep_until(Instant::now());
    let gate = Semaphore::new(0);
    check!(!gate.acquire_until(Deadline::NOW));
    let sleeper = thread::spawn(|| thread::sleep(Duration::from_millis(20)));
    equal!(
        sleeper.thread().wait(Deadline::NOW),
        Err(Error::TimedOut),
        "a wait for a thread that sleeps"
    );
    sleeper.join();
    // Nobody can wait for the end of the process that waits.
    equal!(own_process().wait(Deadline::NOW), Err(Error::BadArgument));
    Ok(())
}

fn the_time_page_describes_the_machine() -> Outcome {
    // SAFETY: the page is mapped in every process.
    let page = unsafe { &*(TIME_PAGE as *const TimePage) };
    equal!(
        page.version.load(core::sync::atomic::Ordering::Relaxed),
        driver_sdk::abi::ABI_VERSION
    );
    let cores = time::core_count();
    equal!(
        own_process().meta(ProcessMeta::MachineCores),
        Ok(cores as u64)
    );
    check!((1..=MAX_CORES).contains(&cores), "{cores} cores");
    check!(time::core_index() < cores);
    check!(
        time::tsc_frequency() > 1_000_000,
        "{} Hz",
        time::tsc_frequency()
    );
    for core in 0..MAX_CORES + 2 {
        check!(time::runnable(core) < 4096);
    }
    Ok(())
}

/// A token goes round the cores; whoever has it reads the clock.
fn time_does_not_go_back_across_cores() -> Outcome {
    use core::sync::atomic::{AtomicU64, Ordering};
    static TURN: AtomicU64 = AtomicU64::new(0);
    static LAST: AtomicU64 = AtomicU64::new(0);
    const ROUNDS: u64 = 100;
    TURN.store(0, Ordering::SeqCst);
    LAST.store(0, Ordering::SeqCst);
    let cores = time::core_count() as u64;
    let mut threads = alloc::vec::Vec::new();
    for core in 0..cores {
        threads.push(thread::Builder::new().affinity(1 << core).spawn(move || {
            let mut worst = 0;
            for round in 0..ROUNDS {
                while TURN.load(Ordering::SeqCst) != round * cores + core {
                    thread::yield_now();
                }
                let now = Instant::now().as_nanoseconds();
                worst = worst.max(LAST.swap(now, Ordering::SeqCst).saturating_sub(now));
                TURN.fetch_add(1, Ordering::SeqCst);
            }
            worst
        })?);
    }
    for (core, thread) in threads.into_iter().enumerate() {
        let back = thread.join();
        equal!(back, 0, "the most nanoseconds that core {core} went back");
    }
    Ok(())
}

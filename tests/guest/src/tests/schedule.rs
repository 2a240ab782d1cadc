//! Who runs when, and where.

use alloc::{sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use driver_sdk::{
    abi::{limits::TIME_SLICE, object::ThreadMeta},
    prelude::*,
};

use crate::{
    child::{PATIENCE, Shared, Victim, end_of},
    harness::{Outcome, check, equal, tests},
};

tests![
    affinity_is_honoured,
    affinity_needs_a_core_that_exists,
    the_higher_priority_runs_first,
    a_woken_higher_priority_preempts_at_once,
    a_changed_priority_takes_effect,
    yield_goes_round,
    equal_threads_share_a_core,
    equal_threads_share_a_core_that_is_often_interrupted,
    equal_threads_take_turns_with_nobody_else_about,
    a_child_may_not_use_more_than_it_was_given,
    ; 2 cores:
    a_thread_moves_when_its_affinity_does,
    cores_run_at_the_same_time,
    who_must_make_room_goes_to_a_core_that_sleeps,
    ; 4 cores:
    threads_woken_at_once_go_to_different_cores,
];

/// A thread that may only run on the first core.
fn on_core_0() -> thread::Builder {
    thread::Builder::new().affinity(1)
}

/// Runs the rest of a test in a thread on the first core, at a given priority: what competes
/// with it for that core then has a known order.
fn alone_on_core_0(priority: u32, work: fn() -> Outcome) -> Outcome {
    on_core_0().priority(priority).spawn(work)?.join()
}

fn affinity_is_honoured() -> Outcome {
    for core in 0..time::core_count() {
        let thread = thread::Builder::new().affinity(1 << core).spawn(|| {
            let mut seen = Vec::new();
            for round in 0..30u64 {
                seen.push(time::core_index());
                match round % 3 {
                    0 => thread::yield_now(),
                    1 => thread::sleep(Duration::from_micros(50)),
                    _ => {}
                }
            }
            seen
        })?;
        let seen = thread.join();
        check!(
            seen.iter().all(|&at| at == core),
            "a thread for core {core} ran on {seen:?}"
        );
    }
    Ok(())
}

fn affinity_needs_a_core_that_exists() -> Outcome {
    let thread = on_core_0().spawn(|| thread::sleep(Duration::from_millis(5)))?;
    let set = |mask| thread.thread().set_meta(ThreadMeta::Affinity, mask);
    equal!(set(0), Err(Error::BadArgument));
    if time::core_count() < 64 {
        equal!(set(1 << time::core_count()), Err(Error::BadArgument));
        equal!(set(1 | 1 << 63), Ok(()));
    }
    equal!(
        thread.thread().set_meta(ThreadMeta::Priority, 32),
        Err(Error::BadArgument)
    );
    thread.join();
    Ok(())
}

/// The order in which threads come by.
type Order = Arc<Mutex<Vec<u32>>>;

fn the_higher_priority_runs_first() -> Outcome {
    alone_on_core_0(12, || {
        let order: Order = Arc::default();
        let mut threads = Vec::new();
        for priority in [2, 9, 5, 11, 3] {
            let order = order.clone();
            threads.push(
                on_core_0()
                    .priority(priority)
                    .spawn(move || order.lock().push(priority))?,
            );
        }
        // All are ready, and none has run: this thread is above them.
        equal!(order.lock().len(), 0);
        threads.into_iter().for_each(thread::JoinHandle::join);
        equal!(*order.lock(), [11, 9, 5, 3, 2]);
        Ok(())
    })
}

fn a_woken_higher_priority_preempts_at_once() -> Outcome {
    alone_on_core_0(4, || {
        static GATE: Semaphore = Semaphore::new(0);
        let order: Order = Arc::default();
        let theirs = order.clone();
        let urgent = on_core_0().priority(12).spawn(move || {
            theirs.lock().push(1);
            GATE.acquire();
            theirs.lock().push(3);
        })?;
        // Created above this thread, it ran at once, until it had to wait.
        equal!(*order.lock(), [1]);
        order.lock().push(2);
        GATE.release(1);
        order.lock().push(4);
        urgent.join();
        equal!(*order.lock(), [1, 2, 3, 4]);
        Ok(())
    })
}

fn a_changed_priority_takes_effect() -> Outcome {
    alone_on_core_0(6, || {
        let order: Order = Arc::default();
        let start = |name: u32| {
            let order = order.clone();
            on_core_0()
                .priority(2)
                .spawn(move || order.lock().push(name))
        };
        let (one, two) = (start(1)?, start(2)?);
        two.thread().set_meta(ThreadMeta::Priority, 4)?;
        equal!(two.thread().meta(ThreadMeta::Priority), Ok(4));
        one.join();
        two.join();
        equal!(*order.lock(), [2, 1]);
        // Above this thread: it runs before the call returns.
        let three = start(3)?;
        three.thread().set_meta(ThreadMeta::Priority, 8)?;
        equal!(order.lock().len(), 3);
        three.join();
        Ok(())
    })
}

fn yield_goes_round() -> Outcome {
    alone_on_core_0(12, || {
        const ROUNDS: usize = 50;
        let order: Order = Arc::default();
        let mut threads = Vec::new();
        for name in 0..3 {
            let order = order.clone();
            threads.push(on_core_0().priority(8).spawn(move || {
                for _ in 0..ROUNDS {
                    order.lock().push(name);
                    thread::yield_now();
                }
            })?);
        }
        threads.into_iter().for_each(thread::JoinHandle::join);
        let order = order.lock();
        // A time slice that ends may swap two, once in a while.
        let turns = order
            .windows(2)
            .filter(|pair| pair[1] == (pair[0] + 1) % 3)
            .count();
        check!(
            turns + 6 >= order.len(),
            "{turns} turns in {} steps",
            order.len()
        );
        Ok(())
    })
}

/// Threads that count until this is dropped, each in a slot of its own.
struct Spinners {
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 4]>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Spinners {
    fn start(count: usize, builder: fn() -> thread::Builder) -> Outcome<Self> {
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut spinners = Self {
            stop,
            counts,
            threads: Vec::new(),
        };
        for slot in 0..count {
            let (stop, counts) = (spinners.stop.clone(), spinners.counts.clone());
            spinners.threads.push(builder().spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    counts[slot].fetch_add(1, Ordering::Relaxed);
                }
            })?);
        }
        Ok(spinners)
    }

    fn count(&self, slot: usize) -> u64 {
        self.counts[slot].load(Ordering::Relaxed)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(thread::JoinHandle::join);
    }
}

/// Each of three gets its turns: all go on several times while the others do. They are looked at
/// by a thread above them, which comes by in this rhythm.
fn shared_fairly(rhythm: Duration) -> Outcome {
    let spinners = Spinners::start(3, || on_core_0().priority(8))?;
    let deadline = Instant::now() + PATIENCE / 4;
    for _ in 0..3 {
        let before = [0, 1, 2].map(|slot| spinners.count(slot));
        while (0..3).any(|slot| spinners.count(slot) == before[slot]) {
            check!(
                Instant::now() < deadline,
                "one of three equal threads does not run"
            );
            thread::sleep(rhythm);
        }
    }
    Ok(())
}

fn equal_threads_share_a_core() -> Outcome {
    alone_on_core_0(12, || shared_fairly(Duration::from_nanos(7 * TIME_SLICE)))
}

/// A thread that is interrupted by a higher one keeps the rest of its slice, not a new one:
/// otherwise it would starve its equals.
fn equal_threads_share_a_core_that_is_often_interrupted() -> Outcome {
    alone_on_core_0(12, || shared_fairly(Duration::from_nanos(TIME_SLICE / 5)))
}

/// Two threads that answer each other on one core without ever giving it up, while everybody else
/// waits for their end: nothing but the end of a slice makes room.
fn equal_threads_take_turns_with_nobody_else_about() -> Outcome {
    const ROUNDS: u64 = 5;
    let ball = Arc::new(AtomicU64::new(0));
    let player = |side: u64| {
        let ball = ball.clone();
        on_core_0().priority(8).spawn(move || {
            let deadline = Instant::now() + PATIENCE / 4;
            for round in 0..ROUNDS {
                while ball.load(Ordering::Relaxed) != 2 * round + side {
                    if Instant::now() >= deadline {
                        return;
                    }
                }
                ball.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let (one, two) = (player(0)?, player(1)?);
    one.join();
    two.join();
    equal!(ball.load(Ordering::Relaxed), 2 * ROUNDS);
    Ok(())
}

fn a_child_may_not_use_more_than_it_was_given() -> Outcome {
    let spawn = |change: fn(Command<'static>) -> Command<'static>| {
        Victim::new("exit")
            .argument(0)
            .with(change)
            .spawn()
            .map(drop)
    };
    check!(
        spawn(|command| command.priority(17)).is_err(),
        "a priority above this process's"
    );
    check!(
        spawn(|command| command.priority(32)).is_err(),
        "a priority that does not exist"
    );
    check!(
        spawn(|command| command.affinity(1 << 63)).is_err(),
        "a core that does not exist"
    );
    // Less than this process may.
    let child = Victim::new("exit")
        .argument(0)
        .with(|command| command.affinity(1).priority(1))
        .spawn()?;
    equal!(end_of(&child)?.status, ExitStatus::Exited(0));
    let shared = Shared::new()?;
    let child = Victim::new("spin")
        .shared(&shared)
        .with(|c| c.affinity(1).priority(3))
        .spawn()?;
    shared.wait_for(0, 1)?;
    child.kill(0)?;
    end_of(&child)?;
    Ok(())
}

fn a_thread_moves_when_its_affinity_does() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let at = Arc::new(AtomicU64::new(u64::MAX));
    let (theirs, end) = (at.clone(), stop.clone());
    let thread = on_core_0().priority(8).spawn(move || {
        while !end.load(Ordering::Relaxed) {
            theirs.store(time::core_index() as u64, Ordering::Relaxed);
        }
    })?;
    let deadline = Instant::now() + PATIENCE;
    // It spins and never asks: the kernel must come and fetch it.
    for core in (0..time::core_count() as u64).cycle().take(6) {
        thread.thread().set_meta(ThreadMeta::Affinity, 1 << core)?;
        while at.load(Ordering::Relaxed) != core {
            check!(
                Instant::now() < deadline,
                "the thread did not come to core {core}"
            );
            thread::sleep(Duration::from_micros(200));
        }
    }
    stop.store(true, Ordering::Relaxed);
    thread.join();
    Ok(())
}

/// Two threads that answer each other without ever giving up their cores.
fn cores_run_at_the_same_time() -> Outcome {
    const ROUNDS: u64 = 100;
    let ball = Arc::new(AtomicU64::new(0));
    let player = |core: u64| {
        let ball = ball.clone();
        thread::Builder::new().affinity(1 << core).spawn(move || {
            for round in 0..ROUNDS {
                while ball.load(Ordering::Acquire) != 2 * round + core {
                    core::hint::spin_loop();
                }
                ball.fetch_add(1, Ordering::Release);
            }
        })
    };
    let (one, two) = (player(0)?, player(1)?);
    one.join();
    two.join();
    equal!(ball.load(Ordering::Relaxed), 2 * ROUNDS);
    Ok(())
}

/// A thread that a higher one drove off its core stayed in that core's queue, although another core
/// on which it could have run slept, until that core woke for a reason of its own.
fn who_must_make_room_goes_to_a_core_that_sleeps() -> Outcome {
    let spinner = Spinners::start(1, || on_core_0().priority(4))?;
    let deadline = Instant::now() + PATIENCE;
    while spinner.count(0) == 0 {
        check!(Instant::now() < deadline, "the thread does not run");
        thread::sleep(Duration::from_micros(200));
    }
    // It stays where it is and may now also run on the second core.
    let low = spinner.threads[0].thread();
    low.set_meta(ThreadMeta::Affinity, 3)?;
    let counts = spinner.counts.clone();
    let high = on_core_0().priority(10).spawn(move || {
        // Comes back by its own core's timer, when everybody else sleeps.
        thread::sleep(Duration::from_millis(20));
        let before = counts[0].load(Ordering::Relaxed);
        let end = Instant::now() + PATIENCE / 4;
        while counts[0].load(Ordering::Relaxed) < before + 1000 {
            if Instant::now() >= end {
                return false;
            }
        }
        true
    })?;
    check!(
        high.join(),
        "it does not run while a core on which it may run sleeps"
    );
    Ok(())
}

/// Threads that were woken together all went to the same sleeping core, which was still counted as
/// asleep when the second and third were placed.
fn threads_woken_at_once_go_to_different_cores() -> Outcome {
    const COUNT: usize = 3;
    for _ in 0..10 {
        static GATE: Semaphore = Semaphore::new(0);
        let arrived = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        for _ in 0..COUNT {
            let arrived = arrived.clone();
            threads.push(thread::Builder::new().spawn(move || {
                GATE.acquire();
                let core = time::core_index();
                arrived.fetch_add(1, Ordering::Relaxed);
                let deadline = Instant::now() + PATIENCE;
                // Nobody lets go of its core before all have one.
                while arrived.load(Ordering::Relaxed) < COUNT as u64 && Instant::now() < deadline {}
                core
            })?);
        }
        // All wait.
        thread::sleep(Duration::from_millis(5));
        GATE.release(COUNT as u32);
        let mut cores: Vec<_> = threads.into_iter().map(thread::JoinHandle::join).collect();
        cores.sort_unstable();
        cores.dedup();
        equal!(cores.len(), COUNT, "the cores {cores:?}, of three threads,");
    }
    Ok(())
}

//! Locks and the futex below them.

use alloc::{sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use driver_sdk::{prelude::*, rt::syscall};

use crate::harness::{Outcome, check, equal, tests};

tests![
    a_mutex_counts_to_the_end_with_four_threads,
    a_lock_can_be_given_up_on,
    a_condition_passes_items_from_two_to_two,
    a_semaphore_lets_only_so_many_in,
    a_value_is_made_once,
    a_futex_returns_when_the_value_changed,
    a_futex_times_out,
    a_wake_wakes_as_many_as_it_says,
    a_wake_is_for_its_own_word,
];

fn a_mutex_counts_to_the_end_with_four_threads() -> Outcome {
    const ROUNDS: u64 = 20_000;
    let counter = Arc::new(Mutex::new(0u64));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let counter = counter.clone();
            thread::spawn(move || (0..ROUNDS).for_each(|_| *counter.lock() += 1))
        })
        .collect();
    threads.into_iter().for_each(thread::JoinHandle::join);
    equal!(*counter.lock(), 4 * ROUNDS);
    Ok(())
}

fn a_lock_can_be_given_up_on() -> Outcome {
    let lock = Arc::new(Mutex::new(()));
    let guard = lock.lock();
    check!(lock.try_lock().is_none());
    let theirs = lock.clone();
    let waited = thread::spawn(move || {
        let start = Instant::now();
        let got = theirs.try_lock_for(Duration::from_millis(3)).is_some();
        (got, start.elapsed())
    });
    let (got, waited) = waited.join();
    check!(
        !got && waited >= Duration::from_millis(3),
        "got it: {got}, after {waited:?}"
    );
    drop(guard);
    check!(lock.try_lock_for(Duration::from_millis(1)).is_some());
    Ok(())
}

fn a_condition_passes_items_from_two_to_two() -> Outcome {
    const ITEMS: u64 = 2_000;
    const ROOM: usize = 4;
    #[derive(Default)]
    struct Queue {
        items: Mutex<Vec<u64>>,
        not_empty: Condvar,
        not_full: Condvar,
    }
    let queue = Arc::new(Queue::default());
    let producers = [0, 1].map(|parity| {
        let queue = queue.clone();
        thread::spawn(move || {
            for item in (parity..ITEMS).step_by(2) {
                let mut items = queue.items.lock();
                queue
                    .not_full
                    .wait_while(&mut items, |items| items.len() == ROOM);
                items.push(item);
                queue.not_empty.notify_one();
            }
        })
    });
    let consumers = [(); 2].map(|()| {
        let queue = queue.clone();
        thread::spawn(move || {
            let mut sum = 0;
            for _ in 0..ITEMS / 2 {
                let mut items = queue.items.lock();
                queue
                    .not_empty
                    .wait_while(&mut items, |items| items.is_empty());
                sum += items.pop().unwrap_or(0);
                queue.not_full.notify_one();
            }
            sum
        })
    });
    producers.into_iter().for_each(thread::JoinHandle::join);
    let sum: u64 = consumers.map(thread::JoinHandle::join).iter().sum();
    equal!(sum, ITEMS * (ITEMS - 1) / 2);
    let mut items = queue.items.lock();
    let timed_out = queue
        .not_empty
        .wait_until(&mut items, Deadline::after(Duration::from_millis(2)));
    check!(timed_out);
    Ok(())
}

fn a_semaphore_lets_only_so_many_in() -> Outcome {
    let gate = Arc::new((Semaphore::new(2), AtomicU32::new(0)));
    let threads: Vec<_> = (0..6)
        .map(|_| {
            let gate = gate.clone();
            thread::spawn(move || {
                let mut most = 0;
                for _ in 0..50 {
                    gate.0.acquire();
                    most = most.max(gate.1.fetch_add(1, Ordering::SeqCst) + 1);
                    thread::yield_now();
                    gate.1.fetch_sub(1, Ordering::SeqCst);
                    gate.0.release(1);
                }
                most
            })
        })
        .collect();
    let most = threads.into_iter().map(thread::JoinHandle::join).max();
    check!(
        matches!(most, Some(1 | 2)),
        "at most {most:?} were in at once"
    );
    Ok(())
}

fn a_value_is_made_once() -> Outcome {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let cell = Arc::new(OnceLock::new());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let cell = cell.clone();
            thread::spawn(move || {
                *cell.get_or_init(|| {
                    thread::sleep(Duration::from_millis(2));
                    MADE.fetch_add(1, Ordering::SeqCst)
                })
            })
        })
        .collect();
    let values: Vec<_> = threads.into_iter().map(thread::JoinHandle::join).collect();
    check!(values.iter().all(|&value| value == values[0]), "{values:?}");
    Ok(())
}

fn a_futex_returns_when_the_value_changed() -> Outcome {
    let word = AtomicU32::new(7);
    let wait = |expected| syscall::futex_wait(word.as_ptr(), expected, Deadline::NEVER.raw());
    equal!(wait(6), Err(Error::Changed));
    equal!(wait(8), Err(Error::Changed));
    equal!(syscall::futex_wake(word.as_ptr(), 1), Ok(0));
    Ok(())
}

fn a_futex_times_out() -> Outcome {
    let word = AtomicU32::new(7);
    let wait = |deadline: Deadline| syscall::futex_wait(word.as_ptr(), 7, deadline.raw());
    equal!(wait(Deadline::NOW), Err(Error::TimedOut));
    let start = Instant::now();
    equal!(
        wait(Deadline::at(start + Duration::from_millis(4))),
        Err(Error::TimedOut)
    );
    check!(start.elapsed() >= Duration::from_millis(4));
    // Nobody is left in the queue.
    equal!(syscall::futex_wake(word.as_ptr(), u32::MAX), Ok(0));
    Ok(())
}

/// Starts threads that sleep on a word, and waits until all of them do.
fn sleepers(word: &Arc<AtomicU32>, count: u32) -> Outcome<Vec<thread::JoinHandle<bool>>> {
    let ready = Arc::new(AtomicU32::new(0));
    let threads = (0..count)
        .map(|_| {
            let (word, ready) = (word.clone(), ready.clone());
            thread::spawn(move || {
                ready.fetch_add(1, Ordering::SeqCst);
                syscall::futex_wait(word.as_ptr(), 0, Deadline::NEVER.raw()).is_ok()
            })
        })
        .collect();
    while ready.load(Ordering::SeqCst) < count {
        thread::sleep(Duration::from_micros(100));
    }
    // Ready is a few instructions before asleep.
    thread::sleep(Duration::from_millis(20));
    Ok(threads)
}

fn a_wake_wakes_as_many_as_it_says() -> Outcome {
    let word = Arc::new(AtomicU32::new(0));
    let threads = sleepers(&word, 5)?;
    equal!(syscall::futex_wake(word.as_ptr(), 0), Ok(0));
    equal!(syscall::futex_wake(word.as_ptr(), 2), Ok(2));
    thread::sleep(Duration::from_millis(5));
    equal!(
        threads.iter().filter(|thread| thread.is_finished()).count(),
        2
    );
    equal!(syscall::futex_wake(word.as_ptr(), u32::MAX), Ok(3));
    equal!(syscall::futex_wake(word.as_ptr(), u32::MAX), Ok(0));
    check!(threads.into_iter().all(thread::JoinHandle::join));
    Ok(())
}

fn a_wake_is_for_its_own_word() -> Outcome {
    let (word, other) = (Arc::new(AtomicU32::new(0)), AtomicU32::new(0));
    let threads = sleepers(&word, 1)?;
    equal!(syscall::futex_wake(other.as_ptr(), u32::MAX), Ok(0));
    equal!(
        syscall::futex_wake(word.as_ptr().wrapping_add(1), u32::MAX),
        Ok(0)
    );
    check!(!threads[0].is_finished());
    equal!(syscall::futex_wake(word.as_ptr(), 1), Ok(1));
    check!(threads.into_iter().all(thread::JoinHandle::join));
    Ok(())
}

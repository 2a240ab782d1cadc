//! Requests to stop: which waits they end, and which not.

use alloc::sync::Arc;
use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use driver_sdk::prelude::*;
use guest_harness::child::PATIENCE;

use crate::harness::{Outcome, check, equal, tests};

tests![
    a_thread_that_waits_in_the_kernel_is_interrupted,
    a_channel_ends_both_ways,
    a_thread_that_waits_for_a_lock_gets_it,
    a_sleep_is_as_long_as_it_says_unless_it_may_be_shorter,
    a_condition_is_waited_for_unless_the_wait_may_end,
    a_thread_that_was_asked_to_stop_can_still_join,
    a_request_to_stop_can_be_taken_back,
    a_loop_without_waits_sees_the_request,
];

/// Long enough for a thread to get to its wait.
const A_MOMENT: Duration = Duration::from_millis(2);

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

fn a_thread_that_waits_in_the_kernel_is_interrupted() -> Outcome {
    let waits: [fn() -> Result<u64, Error>; 4] = [
        || Event::new()?.wait(Deadline::NEVER),
        || Timer::new()?.wait(Deadline::NEVER),
        || Ok(IoQueue::new(2, 0)?.enter(1, Deadline::NEVER)?.into()),
        || {
            let service = Service::new()?;
            service.serve(None, Deadline::NEVER).map(|_| 0)
        },
    ];
    for wait in waits {
        let thread = thread::spawn(wait);
        thread::sleep(A_MOMENT);
        thread.ask_to_stop()?;
        equal!(thread.join(), Err(Error::Interrupted));
    }
    Ok(())
}

fn a_channel_ends_both_ways() -> Outcome {
    let (sender, receiver) = channel::<u32>(1);
    let thread = thread::spawn(move || receiver.receive(Deadline::NEVER));
    thread::sleep(A_MOMENT);
    thread.ask_to_stop()?;
    equal!(thread.join(), Err(ChannelError::Interrupted));
    drop(sender);

    let (sender, receiver) = channel::<u32>(1);
    let thread = thread::spawn(move || {
        sender.try_send(1).is_ok() && {
            let waited = sender.send(2, Deadline::NEVER);
            waited.is_err_and(|error| error.1 == ChannelError::Interrupted && error.0 == 2)
        }
    });
    thread::sleep(A_MOMENT);
    thread.ask_to_stop()?;
    check!(thread.join());
    equal!(receiver.try_receive(), Ok(1));
    equal!(receiver.try_receive(), Err(ChannelError::Closed));
    Ok(())
}

fn a_thread_that_waits_for_a_lock_gets_it() -> Outcome {
    let lock = Arc::new(Mutex::new(0));
    let guard = lock.lock();
    let theirs = lock.clone();
    let thread = thread::spawn(move || *theirs.lock() += 1);
    thread::sleep(A_MOMENT);
    thread.ask_to_stop()?;
    thread::sleep(A_MOMENT);
    check!(!thread.is_finished());
    drop(guard);
    thread.join();
    equal!(*lock.lock(), 1);
    Ok(())
}

fn a_sleep_is_as_long_as_it_says_unless_it_may_be_shorter() -> Outcome {
    let start = Instant::now();
    let thread = thread::spawn(|| {
        thread::sleep(Duration::from_millis(10));
        time::sleep_or_stop(Instant::now() + PATIENCE)
    });
    thread.ask_to_stop()?;
    equal!(thread.join(), Err(Error::Interrupted));
    let took = start.elapsed();
    check!(took >= Duration::from_millis(10), "{took:?}");
    check!(took < PATIENCE, "{took:?}");
    Ok(())
}

fn a_condition_is_waited_for_unless_the_wait_may_end() -> Outcome {
    #[derive(Default)]
    struct Shared {
        done: Mutex<bool>,
        changed: Condvar,
    }
    let shared = Arc::new(Shared::default());
    let theirs = shared.clone();
    let thread = thread::spawn(move || {
        let mut done = theirs.done.lock();
        let stopped = loop {
            match theirs.changed.wait_or_stop(&mut done, Deadline::NEVER) {
                Ok(()) => {}
                stopped => break stopped,
            }
        };
        theirs.changed.wait_while(&mut done, |done| !*done);
        (stopped, *done)
    });
    thread::sleep(A_MOMENT);
    thread.ask_to_stop()?;
    thread::sleep(A_MOMENT);
    check!(!thread.is_finished());
    *shared.done.lock() = true;
    shared.changed.notify_all();
    equal!(thread.join(), (Err(Error::Interrupted), true));
    Ok(())
}

fn a_thread_that_was_asked_to_stop_can_still_join() -> Outcome {
    let go = Arc::new(AtomicBool::new(false));
    let wait = go.clone();
    let outer = thread::spawn(move || {
        let inner = thread::spawn(move || {
            while !wait.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
            7
        });
        inner.join()
    });
    thread::sleep(A_MOMENT);
    outer.ask_to_stop()?;
    thread::sleep(A_MOMENT);
    check!(!outer.is_finished());
    go.store(true, Ordering::Relaxed);
    equal!(outer.join(), 7);
    Ok(())
}

fn a_request_to_stop_can_be_taken_back() -> Outcome {
    let (first, second) = (Arc::new(Event::new()?), Arc::new(Event::new()?));
    let theirs = (first.clone(), second.clone());
    let thread = thread::spawn(move || {
        let stopped = theirs.0.wait(Deadline::NEVER);
        // Until the request is taken back, no wait waits.
        while theirs.1.wait(soon()) == Err(Error::Interrupted) {
            thread::yield_now();
        }
        stopped
    });
    thread::sleep(A_MOMENT);
    thread.ask_to_stop()?;
    thread::sleep(A_MOMENT);
    thread.thread().ask_to_stop(false)?;
    thread::sleep(A_MOMENT);
    check!(!thread.is_finished());
    second.signal()?;
    equal!(thread.join(), Err(Error::Interrupted));
    Ok(())
}

fn a_loop_without_waits_sees_the_request() -> Outcome {
    let thread = thread::spawn(|| {
        let mut rounds = 0u64;
        while !thread::stop_requested() {
            rounds += 1;
            thread::yield_now();
        }
        rounds
    });
    thread::sleep(A_MOMENT);
    thread.ask_to_stop()?;
    check!(thread.join() > 0);
    check!(!thread::stop_requested());
    Ok(())
}

//! What wakes a thread: events, timers, deadlines, requests to stop; and at whose priority it runs.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use driver_sdk::{
    abi::{
        Call, Handle, Rights,
        call::{FUTEX_DEAF, Operation},
        object::{MIN_TIMER_PERIOD, TimerMeta},
        service::{Reply, ServiceMeta},
    },
    prelude::*,
    rt::object::{Event, IoQueue, Object, Operations, Timer},
};

use crate::{
    child::{Victim, end_of, leaves_nothing},
    harness::{Outcome, check, equal, tests},
    raw,
    serving::{Desk, completion, error_of, soon, until_it_waits},
};

tests![
    events_count_signals,
    events_wake_one_at_a_time_in_order,
    event_rights_are_needed,
    signal_and_wait_has_its_errors,
    a_timer_fires_once,
    a_timer_fires_again_and_again,
    timer_rights_and_values,
    every_blocking_call_has_a_deadline,
    a_deadline_comes_while_the_server_runs,
    every_blocking_call_can_be_stopped,
    a_registered_request_is_not_stopped,
    a_deaf_wait_is_not_stopped,
    a_server_runs_at_its_callers_priority,
];

fn events_count_signals() -> Outcome {
    let event = Event::new()?;
    equal!(event.wait(Deadline::NOW), Err(Error::TimedOut));
    for count in [1, 2, 5] {
        for _ in 0..count {
            event.signal()?;
        }
        equal!(event.wait(soon()), Ok(count));
        equal!(event.wait(Deadline::NOW), Err(Error::TimedOut));
    }
    // The arguments of a signal mean nothing.
    let handle = event.handle();
    equal!(raw::do_io(handle, Operation::Write, [u64::MAX; 4]), Ok(0));
    equal!(event.wait(Deadline::NOW), Ok(1));
    for operation in [
        Operation::Open,
        Operation::Create,
        Operation::Read,
        Operation::GetMeta,
        Operation::SetMeta,
        Operation::Cancel,
    ] {
        equal!(
            raw::do_io(handle, operation, [0; 4]),
            Err(Error::BadOperation),
            "{operation:?}"
        );
    }
    // An event yields itself.
    let rights = u64::from(Rights::WRITE.bits());
    let shared = raw::do_io(handle, Operation::Share, [0, rights, 0, 0])?;
    let shared = Handle::from_raw(shared as u32);
    equal!(raw::do_io(shared, Operation::Write, [0; 4]), Ok(0));
    equal!(event.wait(Deadline::NOW), Ok(1));
    driver_sdk::rt::syscall::close(shared)?;
    equal!(
        raw::do_io(handle, Operation::Share, [1, rights, 0, 0]),
        Err(Error::BadOperation)
    );
    equal!(
        raw::do_io(handle, Operation::Share, [0, 1 << 40, 0, 0]),
        Err(Error::BadArgument)
    );
    Ok(())
}

fn events_wake_one_at_a_time_in_order() -> Outcome {
    static WOKEN: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
    static ORDER: AtomicU64 = AtomicU64::new(0);
    ORDER.store(0, Ordering::SeqCst);
    let event = Arc::new(Event::new()?);
    let threads: Vec<_> = (0..3)
        .map(|index: usize| {
            let event = event.clone();
            let thread = thread::spawn(move || {
                let count = event.wait(soon());
                WOKEN[index].store(ORDER.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                count
            });
            until_it_waits(&thread).map(|()| thread)
        })
        .collect::<Outcome<_>>()?;
    for (index, thread) in threads.into_iter().enumerate() {
        event.signal()?;
        equal!(thread.join(), Ok(1));
        equal!(WOKEN[index].load(Ordering::SeqCst), index as u64 + 1);
    }
    equal!(event.wait(Deadline::NOW), Err(Error::TimedOut));
    Ok(())
}

fn event_rights_are_needed() -> Outcome {
    let event = Event::new()?;
    let only = |rights| event.duplicate(rights);
    equal!(only(Rights::WAIT)?.signal(), Err(Error::MissingRight));
    equal!(
        only(Rights::WRITE)?.wait(Deadline::NOW),
        Err(Error::MissingRight)
    );
    equal!(only(Rights::WRITE)?.signal(), Ok(()));
    equal!(only(Rights::WAIT)?.wait(Deadline::NOW), Ok(1));
    equal!(
        only(Rights::WRITE | Rights::WAIT)?
            .duplicate(Rights::WRITE)
            .map(drop),
        Err(Error::MissingRight)
    );
    Ok(())
}

fn signal_and_wait_has_its_errors() -> Outcome {
    let (one, other) = (Event::new()?, Event::new()?);
    let call = |signal: Handle, wait: Handle, deadline: u64| {
        let arguments = [signal.raw().into(), wait.raw().into(), deadline, 0, 0, 0];
        raw::call(Call::SignalAndWait, arguments)
    };
    let (one_handle, other_handle) = (one.handle(), other.handle());
    let memory = Memory::new(4096)?;
    for (signal, wait, error) in [
        (Handle::NULL, other_handle, Error::BadHandle),
        (one_handle, Handle::NULL, Error::BadHandle),
        (memory.handle(), other_handle, Error::WrongObject),
        (one_handle, memory.handle(), Error::WrongObject),
    ] {
        equal!(call(signal, wait, 0), Err(error));
    }
    let (waits, signals) = (
        one.duplicate(Rights::WAIT)?,
        other.duplicate(Rights::WRITE)?,
    );
    equal!(
        call(waits.handle(), other_handle, 0),
        Err(Error::MissingRight)
    );
    equal!(
        call(one_handle, signals.handle(), 0),
        Err(Error::MissingRight)
    );
    equal!(
        one.wait(Deadline::NOW),
        Err(Error::TimedOut),
        "nothing was signalled"
    );
    // It signals in any case, and takes what is there.
    equal!(call(one_handle, other_handle, 0), Err(Error::TimedOut));
    equal!(one.wait(Deadline::NOW), Ok(1));
    other.signal()?;
    other.signal()?;
    equal!(call(one_handle, other_handle, u64::MAX), Ok(2));
    equal!(one.wait(Deadline::NOW), Ok(1));
    equal!(
        call(one_handle, one_handle, u64::MAX),
        Ok(1),
        "both the same"
    );
    Ok(())
}

fn a_timer_fires_once() -> Outcome {
    leaves_nothing(|| {
        let timer = Timer::new()?;
        equal!(timer.next(), Ok(None));
        equal!(timer.wait(Deadline::NOW), Err(Error::TimedOut));
        let start = Instant::now();
        let moment = start + Duration::from_millis(2);
        timer.set(moment)?;
        equal!(timer.next(), Ok(Some(moment)));
        equal!(timer.wait(Deadline::NOW), Err(Error::TimedOut));
        equal!(timer.wait(soon()), Ok(1));
        check!(Instant::now() >= moment);
        equal!(timer.next(), Ok(None));
        equal!(timer.wait(Deadline::NOW), Err(Error::TimedOut));
        // A moment that has passed; and what nobody took goes with a new moment.
        timer.set(start)?;
        equal!(timer.wait(soon()), Ok(1));
        timer.set(start)?;
        thread::sleep(Duration::from_millis(1));
        timer.set(Instant::now() + Duration::from_secs(1000))?;
        equal!(timer.wait(Deadline::NOW), Err(Error::TimedOut));
        timer.stop()?;
        equal!(timer.next(), Ok(None));
        // Set again from another thread, perhaps on another core, while one waits.
        let timer = Arc::new(timer);
        let waiting = timer.clone();
        let waiting = thread::spawn(move || waiting.wait(soon()));
        for _ in 0..20 {
            timer.set(Instant::now() + Duration::from_secs(100))?;
            thread::yield_now();
        }
        timer.set(Instant::now() + Duration::from_micros(500))?;
        equal!(waiting.join(), Ok(1));
        // Who waits for one that nobody can set any more is told.
        let last = Timer::new()?;
        let handle = last.handle();
        let waiting = thread::spawn(move || {
            raw::call(Call::Wait, [handle.raw().into(), u64::MAX, 0, 0, 0, 0])
        });
        until_it_waits(&waiting)?;
        drop(last);
        equal!(waiting.join(), Err(Error::Gone));
        Ok(())
    })
}

fn a_timer_fires_again_and_again() -> Outcome {
    let timer = Timer::new()?;
    let period = Duration::from_millis(1);
    let start = Instant::now();
    timer.repeat(start + period, period)?;
    let mut fired = 0;
    while fired < 10 {
        fired += timer.wait(soon())?;
    }
    // Never too early, however late.
    check!(Instant::now() >= start + period * 10 || fired > 10);
    // What nobody took is counted, what was missed is not: there is a next moment.
    thread::sleep(Duration::from_millis(20));
    let late = timer.wait(soon())?;
    check!((1..=40).contains(&late), "{late} times in 20 ms");
    check!(timer.next()?.is_some_and(|next| next > start));
    timer.stop()?;
    equal!(timer.wait(Deadline::NOW), Err(Error::TimedOut));
    thread::sleep(Duration::from_millis(3));
    equal!(timer.wait(Deadline::NOW), Err(Error::TimedOut));
    // A queue takes them as well.
    timer.repeat(Instant::now(), Duration::from_micros(200))?;
    let mut queue = IoQueue::new(4, 0)?;
    for number in 0..5 {
        queue
            .submit_wait(&timer, number, soon())
            .map_err(|_| "full")?;
        let done = completion(&mut queue)?;
        equal!(done.user_data, number);
        check!(done.result().is_ok_and(|count| count > 0));
    }
    Ok(())
}

fn timer_rights_and_values() -> Outcome {
    let timer = Timer::new()?;
    let set = |timer: &Timer, key: u64, value: u64| {
        raw::do_io(timer.handle(), Operation::SetMeta, [key, value, 0, 0])
    };
    let (deadline, period) = (TimerMeta::Deadline as u64, TimerMeta::Period as u64);
    equal!(set(&timer, period, MIN_TIMER_PERIOD), Ok(0));
    equal!(
        set(&timer, period, MIN_TIMER_PERIOD - 1),
        Err(Error::BadArgument)
    );
    equal!(set(&timer, period, 1), Err(Error::BadArgument));
    equal!(set(&timer, period, 0), Ok(0));
    for key in [0, 3, u64::MAX] {
        equal!(set(&timer, key, 0), Err(Error::BadOperation));
        let get = raw::do_io(timer.handle(), Operation::GetMeta, [key, 0, 0, 0]);
        equal!(get, Err(Error::BadOperation));
    }
    // The last moments of the clock never come.
    for never in [u64::MAX, u64::MAX - 1, 1 << 63] {
        equal!(set(&timer, deadline, never), Ok(0));
        equal!(
            timer.wait(Deadline::after(Duration::from_millis(1))),
            Err(Error::TimedOut)
        );
    }
    equal!(set(&timer, period, u64::MAX), Ok(0));
    equal!(set(&timer, deadline, 1), Ok(0));
    equal!(timer.wait(soon()), Ok(1));
    let less = timer.duplicate(Rights::READ | Rights::WAIT)?;
    equal!(set(&less, deadline, 1), Err(Error::MissingRight));
    equal!(
        timer.duplicate(Rights::MANAGE)?.wait(Deadline::NOW),
        Err(Error::MissingRight)
    );
    equal!(
        timer.duplicate(Rights::MANAGE)?.next(),
        Err(Error::MissingRight)
    );
    Ok(())
}

/// A call that waits for what never comes, until a deadline.
type Blocking = Box<dyn Fn(u64) -> Result<u64, Error> + Send>;

/// Every call that blocks, with what it waits for.
fn blocking() -> Outcome<Vec<(&'static str, Blocking, Vec<Desk>)>> {
    static WORD: AtomicU64 = AtomicU64::new(0);
    let mut calls: Vec<(&str, Blocking, Vec<Desk>)> = Vec::new();
    let mut add = |name, call: Blocking, desks| calls.push((name, call, desks));
    let ask = |desk: &Desk, operation, arguments: [u64; 4]| -> Blocking {
        let object = desk.object.clone();
        Box::new(move |deadline| {
            let until = Deadline::at(Instant::from_nanoseconds(deadline));
            let until = if deadline == u64::MAX {
                Deadline::NEVER
            } else {
                until
            };
            // SAFETY: the only data is a constant.
            let asked = unsafe { object.until(until).ask(operation, arguments) };
            asked.map_err(|failure| failure.error)
        })
    };
    let data = [0, b"x".as_ptr() as u64, 1, 0];
    let desk = Desk::new()?;
    add(
        "do_io",
        ask(&desk, Operation::GetMeta, [0; 4]),
        Vec::from([desk]),
    );
    let desk = Desk::new()?;
    add(
        "do_io, registered",
        ask(&desk, Operation::Write, [0, 0, 1, 1]),
        Vec::from([desk]),
    );
    let desk = Desk::with_window(2, 4096)?;
    add(
        "do_io, with data",
        ask(&desk, Operation::Write, data),
        Vec::from([desk]),
    );
    let desk = Desk::new()?;
    add(
        "do_io, before there is a window",
        ask(&desk, Operation::Write, data),
        Vec::from([desk]),
    );
    let desk = Desk::new()?;
    let service = u64::from(desk.service.handle().raw());
    let serve = move |deadline| raw::call(Call::Serve, [service, 0, 0, 0, 0, deadline]);
    add("serve", Box::new(serve), Vec::from([desk]));
    let queue = IoQueue::new(4, 0)?;
    let enter = move |deadline| {
        raw::call(
            Call::Enter,
            [queue.handle().raw().into(), 1, deadline, 0, 0, 0],
        )
    };
    add("enter", Box::new(enter), Vec::new());
    let event = Event::new()?;
    let wait = move |deadline| {
        raw::call(
            Call::Wait,
            [event.handle().raw().into(), deadline, 0, 0, 0, 0],
        )
    };
    add("wait for an event", Box::new(wait), Vec::new());
    let timer = Timer::new()?;
    let wait = move |deadline| {
        raw::call(
            Call::Wait,
            [timer.handle().raw().into(), deadline, 0, 0, 0, 0],
        )
    };
    add("wait for a timer", Box::new(wait), Vec::new());
    let (one, other) = (Event::new()?, Event::new()?);
    let wait = move |deadline| {
        let (one, other) = (one.handle().raw().into(), other.handle().raw().into());
        raw::call(Call::SignalAndWait, [one, other, deadline, 0, 0, 0])
    };
    add("signal_and_wait", Box::new(wait), Vec::new());
    let word = WORD.as_ptr() as u64;
    let sleep = move |deadline| raw::call(Call::FutexWait, [word, 0, deadline, 0, 0, 0]);
    add("futex_wait", Box::new(sleep), Vec::new());
    Ok(calls)
}

fn every_blocking_call_has_a_deadline() -> Outcome {
    leaves_nothing(|| {
        for (name, call, _desks) in blocking()? {
            let now = Instant::now().as_nanoseconds();
            for deadline in [0, 1, now, now + 1_000_000] {
                equal!(
                    call(deadline),
                    Err(Error::TimedOut),
                    "{name} until {deadline}"
                );
            }
            check!(Instant::now().as_nanoseconds() >= now + 1_000_000);
        }
        let child = Victim::new("sleep").spawn()?;
        equal!(
            child.wait(Deadline::after(Duration::from_millis(1))),
            Err(Error::TimedOut)
        );
        child.kill(0)?;
        end_of(&child)?;
        Ok(())
    })
}

/// The clock was not set for a caller whose server ran at once, and went on running.
fn a_deadline_comes_while_the_server_runs() -> Outcome {
    static DONE: AtomicBool = AtomicBool::new(false);
    DONE.store(false, Ordering::SeqCst);
    let desk = Desk::new()?;
    let serving = desk.service.clone();
    let server = thread::Builder::new()
        .affinity(1)
        .priority(3)
        .spawn(move || {
            let message = serving.serve(None, soon());
            // The clock comes for itself after a bit more than four seconds.
            let until = Instant::now() + Duration::from_secs(3);
            while !DONE.load(Ordering::SeqCst) && Instant::now() < until {
                core::hint::spin_loop();
            }
            (
                message.map(|message| message.token),
                DONE.load(Ordering::SeqCst),
            )
        })?;
    let object = desk.object.clone();
    let client = thread::Builder::new()
        .affinity(1)
        .priority(4)
        .spawn(move || {
            // Until nothing else sets the clock.
            thread::sleep(Duration::from_millis(30));
            let deadline = Deadline::after(Duration::from_millis(20));
            let asked = object.until(deadline).get_meta(1);
            DONE.store(true, Ordering::SeqCst);
            asked
        })?;
    equal!(error_of(client.join()), Some(Error::TimedOut));
    let (token, was_told) = server.join();
    check!(
        was_told,
        "the client came back only when the server was done"
    );
    equal!(desk.value(token?, 0), Err(Error::NotFound));
    Ok(())
}

fn every_blocking_call_can_be_stopped() -> Outcome {
    leaves_nothing(|| {
        for (name, call, desks) in blocking()? {
            // Before it begins to wait, or while it waits.
            let stopped = thread::spawn(move || [call(u64::MAX), call(u64::MAX)]);
            thread::sleep(Duration::from_millis(1));
            stopped.ask_to_stop()?;
            equal!(stopped.join(), [Err(Error::Interrupted); 2], "{name}");
            // Nothing of it is left with the server.
            for desk in &desks {
                equal!(desk.counts()?, (0, 0), "{name}");
                desk.nothing()?;
            }
        }
        // A request that the server has, and one with data.
        let desk = Desk::with_window(1, 4096)?;
        for data in [false, true] {
            let call = desk.call(move |object| match data {
                true => object.write(0, b"x").map(|_| 0),
                false => object.get_meta(1),
            });
            let token = desk.request()?.token;
            call.ask_to_stop()?;
            equal!(error_of(call.join()), Some(Error::Interrupted));
            let late = desk.value(token, 0);
            equal!(late, if data { Ok(()) } else { Err(Error::NotFound) });
        }
        let child = Victim::new("sleep").spawn()?;
        let handle = child.handle().raw().into();
        let waiting = thread::spawn(move || raw::call(Call::Wait, [handle, u64::MAX, 0, 0, 0, 0]));
        until_it_waits(&waiting)?;
        waiting.ask_to_stop()?;
        equal!(waiting.join(), Err(Error::Interrupted));
        child.kill(0)?;
        end_of(&child)?;
        Ok(())
    })
}

/// A device may reach the memory that the request names until it is answered.
fn a_registered_request_is_not_stopped() -> Outcome {
    let desk = Desk::new()?;
    // By the short way through the kernel, if there is one, and by the long one.
    for timed in [false, true] {
        let call = desk.call(move |object| match timed {
            true => object.until(soon()).write_registered(0, 5, 0, 8),
            false => object.write_registered(0, 5, 0, 8),
        });
        let message = desk.request()?;
        equal!(message.what.registration(), 5);
        call.ask_to_stop()?;
        thread::sleep(Duration::from_millis(2));
        check!(!call.is_finished());
        equal!(desk.counts()?, (0, 1));
        desk.value(message.token, 8)?;
        check!(call.join() == Ok(8));
    }
    Ok(())
}

fn a_deaf_wait_is_not_stopped() -> Outcome {
    static WORD: AtomicU64 = AtomicU64::new(0);
    let word = WORD.as_ptr() as u64;
    let wait = |flags: u64| raw::call(Call::FutexWait, [word, 0, 0, flags, 0, 0]);
    equal!(wait(FUTEX_DEAF + 1), Err(Error::BadArgument));
    equal!(wait(u64::MAX), Err(Error::BadArgument));
    equal!(wait(FUTEX_DEAF), Err(Error::TimedOut));
    let sleeper = thread::spawn(move || {
        let deadline = soon().raw();
        let deaf = raw::call(Call::FutexWait, [word, 0, deadline, FUTEX_DEAF, 0, 0]);
        // The request stands, so the next wait hears it.
        (
            deaf,
            raw::call(Call::FutexWait, [word, 0, deadline, 0, 0, 0]),
        )
    });
    until_it_waits(&sleeper)?;
    sleeper.ask_to_stop()?;
    thread::sleep(Duration::from_millis(2));
    check!(!sleeper.is_finished());
    let wake = || raw::call(Call::FutexWake, [word, 1, 0, 0, 0, 0]);
    while wake()? == 0 {
        thread::yield_now();
    }
    equal!(sleeper.join(), (Ok(0), Err(Error::Interrupted)));
    Ok(())
}

/// On one core: a thread that never waits would keep a server of lower priority from answering.
fn a_server_runs_at_its_callers_priority() -> Outcome {
    static STOP: AtomicBool = AtomicBool::new(false);
    static AFTER: AtomicBool = AtomicBool::new(false);
    let desk = Desk::with_window(2, 4096)?;
    let on_one = |priority| thread::Builder::new().affinity(1).priority(priority);
    let serving = desk.service.clone();
    let server = on_one(2).spawn(move || {
        let mut answer = None;
        while let Ok(message) = serving.serve(answer, soon()) {
            answer = Some((message.token, Reply::Value(1)));
            if message.arguments[0] == 99 {
                // With the answer its own priority is back: it does not come to the next line.
                let _ = serving.reply(message.token, Reply::Value(1));
                AFTER.store(true, Ordering::SeqCst);
                answer = None;
            }
        }
    })?;
    let until = Instant::now() + Duration::from_secs(10);
    let counts = || desk.service.meta(ServiceMeta::Taken);
    equal!(counts(), Ok(0));
    thread::sleep(Duration::from_millis(5));
    let spinner = on_one(5).spawn(move || {
        while !STOP.load(Ordering::SeqCst) && Instant::now() < until {
            core::hint::spin_loop();
        }
        STOP.load(Ordering::SeqCst)
    })?;
    let object = desk.object.clone();
    let client = on_one(9).spawn(move || {
        thread::sleep(Duration::from_millis(2));
        let object = object.until(soon());
        let mut answers = Vec::new();
        for key in 1..20 {
            answers.push(object.get_meta(key));
            answers.push(object.write(key, b"x").map(|written| written as u64));
        }
        answers.push(object.get_meta(99));
        thread::sleep(Duration::from_millis(5));
        let after = AFTER.load(Ordering::SeqCst);
        STOP.store(true, Ordering::SeqCst);
        (answers, after)
    })?;
    let (answers, after) = client.join();
    check!(
        spinner.join(),
        "the server did not come to answer: {answers:?} {after}"
    );
    check!(answers.iter().all(|answer| *answer == Ok(1)), "{answers:?}");
    check!(!after, "the server kept its caller's priority");
    desk.service.end()?;
    server.join();
    Ok(())
}

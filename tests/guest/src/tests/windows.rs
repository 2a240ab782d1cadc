//! Data that goes through a server's window.

use alloc::{sync::Arc, vec, vec::Vec};
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use driver_sdk::{
    abi::{
        Rights,
        call::Operation,
        counters::Counter,
        limits::{MAX_WINDOW_SLOT, MAX_WINDOW_SLOTS},
        service::{FIRST_SERVED_KIND, Reply},
    },
    prelude::*,
    rt::object::{IoQueue, Operations, Service},
};

use crate::{
    child::leaves_nothing,
    harness::{Outcome, check, equal, tests},
    raw,
    serving::{Desk, by_queue, completion, entry, error_of, soon, submit, until_it_waits},
};

tests![
    data_of_every_length_goes_both_ways,
    more_than_a_slot_is_too_long,
    callers_wait_for_the_window_of_a_server_that_has_not_begun,
    a_window_must_fit_its_memory,
    a_read_gives_no_more_than_was_asked,
    callers_wait_for_a_slot_in_order,
    a_wait_for_a_slot_ends,
    a_late_answer_frees_the_slot_once,
    a_queue_waits_for_a_slot,
    a_queue_that_waits_for_a_slot_takes_completions_too,
    a_slot_is_never_used_for_another_service,
    bad_pointers_are_the_clients_own,
];

const LENGTHS: [usize; 12] = [0, 1, 7, 63, 64, 65, 4095, 4096, 4097, 8192, 65_535, 65_536];

fn data_of_every_length_goes_both_ways() -> Outcome {
    let desk = Desk::with_window(2, MAX_WINDOW_SLOT as usize)?;
    let window = desk.window.as_ref().ok_or("no window")?;
    let mut queue = IoQueue::new(4, 0)?;
    let counters = own_process().counters()?;
    let mut got = vec![0u8; 65_536];
    for length in LENGTHS {
        let sent: Arc<Vec<u8>> = Arc::new((0..length).map(|n| (n * 7 + length) as u8).collect());
        // Three operations take data to the server, each by `do_io` …
        for operation in [Operation::Write, Operation::Open, Operation::Create] {
            let data = sent.clone();
            let call = desk.call(move |object| {
                let (address, length) = (data.as_ptr() as u64, data.len() as u64);
                let arguments = match operation {
                    Operation::Open => [address, length, 5, 0],
                    Operation::Create => [FIRST_SERVED_KIND, address, length, 0],
                    _ => [5, address, length, 0],
                };
                // SAFETY: the data is only read.
                unsafe { object.until(soon()).ask(operation, arguments) }
            });
            let message = desk.request()?;
            let expected = match operation {
                Operation::Open => [0, length as u64, 5],
                Operation::Create => [FIRST_SERVED_KIND, 0, length as u64],
                _ => [5, 0, length as u64],
            };
            equal!(message.arguments, expected);
            equal!(message.token.window_slot().is_some(), length > 0);
            if let Some(slot) = window.slot(message.token) {
                slot.read(0, &mut got[..length]);
                check!(got[..length] == sent[..], "{length} bytes by {operation:?}");
            }
            desk.value(message.token, length as u64)?;
            check!(call.join() == Ok(length as u64));
        }
        // … and back by a queue, which copies when it is entered; once each.
        let copied = counters.snapshot()?.get(Counter::BytesCopied);
        got.fill(0);
        let read = [0, got.as_mut_ptr() as u64, length as u64, 0];
        submit(
            &mut queue,
            &entry(desk.object.handle(), Operation::Read, 1, read),
        )?;
        queue.enter(0, soon())?;
        let message = desk.request()?;
        if let Some(slot) = window.slot(message.token) {
            slot.write(0, &sent);
        }
        desk.value(message.token, length as u64)?;
        equal!(completion(&mut queue)?.result(), Ok(length as u64));
        check!(got[..length] == sent[..], "{length} bytes back");
        let counted = counters.snapshot()?.get(Counter::BytesCopied) - copied;
        equal!(
            counted - driver_sdk::abi::counters::COUNTER_COUNT as u64 * 8,
            length as u64
        );
    }
    Ok(())
}

fn more_than_a_slot_is_too_long() -> Outcome {
    let (desk, none) = (Desk::with_window(1, 4096)?, Desk::new()?);
    let mut queue = IoQueue::new(4, 0)?;
    let data = [0u8; 4097];
    let address = data.as_ptr() as u64;
    // A server that has begun without a window takes no data.
    none.nothing()?;
    for (desk, length) in [(&desk, 4097), (&desk, u64::MAX), (&none, 1)] {
        let object = desk.object.handle();
        for (operation, arguments) in [
            (Operation::Write, [0, address, length, 0]),
            (Operation::Read, [0, address, length, 0]),
            (Operation::Open, [address, length, 0, 0]),
            (Operation::Create, [FIRST_SERVED_KIND, address, length, 0]),
        ] {
            let refused = Err(Error::TooLong);
            equal!(raw::do_io(object, operation, arguments), refused);
            equal!(by_queue(&mut queue, object, operation, arguments)?, refused);
        }
        desk.nothing()?;
    }
    Ok(())
}

fn callers_wait_for_the_window_of_a_server_that_has_not_begun() -> Outcome {
    let mut desk = Desk::new()?;
    let hurried = desk.object.until(Deadline::after(Duration::from_millis(1)));
    equal!(error_of(hurried.write(0, b"x")), Some(Error::TimedOut));
    // More than any slot has.
    let long = vec![0; MAX_WINDOW_SLOT as usize + 1];
    equal!(
        error_of(desk.object.until(soon()).write(0, &long)),
        Some(Error::TooLong)
    );
    let call = desk.call(|object| object.until(soon()).write(3, b"x"));
    let too_long = desk.call(|object| object.until(soon()).write(4, &[1; 4097]));
    until_it_waits(&call)?;
    until_it_waits(&too_long)?;
    desk.window = Some(desk.service.set_window(1, 4096)?);
    let message = desk.request()?;
    equal!(message.arguments, [3, 0, 1]);
    desk.value(message.token, 1)?;
    check!(call.join() == Ok(1));
    equal!(error_of(too_long.join()), Some(Error::TooLong));
    // One that begins without tells those who waited.
    let desk = Desk::new()?;
    let call = desk.call(|object| object.until(soon()).write(3, b"x"));
    until_it_waits(&call)?;
    desk.nothing()?;
    equal!(error_of(call.join()), Some(Error::TooLong));
    desk.nothing()
}

fn a_window_must_fit_its_memory() -> Outcome {
    let memory = Memory::new(8192)?;
    let handle = |memory: &Memory| u64::from(memory.handle().raw());
    let register = |service: &Service, memory: u64, bytes: u64| {
        raw::do_io(service.handle(), Operation::Share, [memory, 0, bytes, 0])
    };
    let service = Service::new()?;
    for bytes in [
        0,
        1,
        63,
        65,
        100,
        8192 + 64,
        MAX_WINDOW_SLOT + 64,
        u64::MAX,
        1 << 63,
    ] {
        equal!(
            register(&service, handle(&memory), bytes),
            Err(Error::BadArgument),
            "slots of {bytes} bytes"
        );
    }
    for rights in [Rights::READ, Rights::WRITE] {
        let less = memory.duplicate(rights)?;
        equal!(
            register(&service, handle(&less), 64),
            Err(Error::MissingRight)
        );
    }
    let event = driver_sdk::rt::object::Event::new()?;
    let other = event.as_ref().get().raw().into();
    equal!(register(&service, other, 64), Err(Error::WrongObject));
    equal!(register(&service, 0, 64), Err(Error::BadHandle));
    let less = service.duplicate(Rights::READ | Rights::WRITE | Rights::WAIT)?;
    equal!(
        register(&less, handle(&memory), 64),
        Err(Error::MissingRight)
    );
    equal!(register(&service, handle(&memory), 64), Ok(0));
    equal!(register(&service, handle(&memory), 64), Err(Error::Busy));
    // No more slots than there can be.
    let large = Service::new()?;
    let memory = Memory::new(64 * (u64::from(MAX_WINDOW_SLOTS) + 64))?;
    equal!(register(&large, handle(&memory), 64), Ok(0));
    let ended = Service::new()?;
    ended.end()?;
    equal!(
        register(&ended, handle(&memory), 64),
        Err(Error::ServerGone)
    );
    Ok(())
}

fn a_read_gives_no_more_than_was_asked() -> Outcome {
    let desk = Desk::with_window(1, 4096)?;
    for (answer, expected) in [(0, 0), (1, 1), (16, 16), (17, 16), (u64::MAX, 16)] {
        let call = desk.call(|object| {
            let mut buffer = [0u8; 24];
            let read = object.until(soon()).read(0, &mut buffer[..16]);
            (read, buffer)
        });
        let message = desk.request()?;
        let window = desk.window.as_ref().ok_or("no window")?;
        if let Some(slot) = window.slot(message.token) {
            slot.write(0, &[7; 24]);
        }
        desk.value(message.token, answer)?;
        let (read, buffer) = call.join();
        check!(read == Ok(expected), "{answer}: {read:?}");
        let right = |(index, byte): (usize, &u8)| *byte == if index < expected { 7 } else { 0 };
        check!(buffer.iter().enumerate().all(right), "{answer}: {buffer:?}");
    }
    Ok(())
}

fn callers_wait_for_a_slot_in_order() -> Outcome {
    let desk = Desk::with_window(1, 4096)?;
    let calls: Vec<_> = (0..6u64)
        .map(|offset| {
            let call = desk.call(move |object| object.until(soon()).write(offset, b"x"));
            until_it_waits(&call).map(|()| call)
        })
        .collect::<Outcome<_>>()?;
    for offset in 0..6 {
        let message = desk.request()?;
        equal!(message.arguments[0], offset, "who came first is first");
        // The slot is this one's alone.
        desk.nothing()?;
        desk.value(message.token, 1)?;
    }
    for call in calls {
        check!(call.join() == Ok(1));
    }
    Ok(())
}

fn a_wait_for_a_slot_ends() -> Outcome {
    leaves_nothing(|| {
        let desk = Desk::with_window(1, 4096)?;
        let first = desk.call(|object| object.until(soon()).write(0, b"x"));
        let token = desk.request()?.token;
        // At its deadline, that has passed or passes.
        for wait in [Duration::ZERO, Duration::from_millis(2)] {
            let object = desk.object.until(Deadline::after(wait));
            equal!(error_of(object.write(0, b"y")), Some(Error::TimedOut));
        }
        // By a stop request.
        let call = desk.call(|object| object.until(soon()).write(0, b"y"));
        until_it_waits(&call)?;
        call.ask_to_stop()?;
        equal!(error_of(call.join()), Some(Error::Interrupted));
        // When its handle is closed: what is asked then was never asked.
        let lent = desk.service.mint(9, crate::serving::ALL)?;
        let raw = core::mem::ManuallyDrop::new(lent).handle();
        let call = thread::spawn(move || {
            raw::do_io(raw, Operation::Write, [0, b"y".as_ptr() as u64, 1, 0])
        });
        until_it_waits(&call)?;
        driver_sdk::rt::syscall::close(raw)?;
        desk.closed(9)?;
        desk.value(token, 1)?;
        equal!(call.join(), Err(Error::BadHandle));
        check!(first.join() == Ok(1));
        desk.nothing()?;
        // With the service.
        let first = desk.call(|object| object.until(soon()).write(0, b"x"));
        let _ = desk.request()?;
        let second = desk.call(|object| object.until(soon()).write(0, b"y"));
        until_it_waits(&second)?;
        desk.service.end()?;
        equal!(error_of(first.join()), Some(Error::ServerGone));
        equal!(error_of(second.join()), Some(Error::ServerGone));
        Ok(())
    })
}

/// The token of a request that was over kept its hold on the slot: a second answer freed the slot
/// of whoever had it by then.
fn a_late_answer_frees_the_slot_once() -> Outcome {
    let desk = Desk::with_window(1, 4096)?;
    let serving = desk.service.clone();
    let taking = thread::spawn(move || serving.serve(None, soon()));
    until_it_waits(&taking)?;
    // On a busy machine the deadline may come before the request.
    let mut patience = Duration::from_millis(2);
    while !taking.is_finished() {
        let hurried = desk.object.until(Deadline::after(patience));
        equal!(error_of(hurried.write(0, b"x")), Some(Error::TimedOut));
        patience *= 2;
    }
    let late = taking.join()?.token;
    // The server has the slot still, so the next two wait.
    let calls: Vec<_> = (1..3u64)
        .map(|offset| {
            let call = desk.call(move |object| object.until(soon()).write(offset, b"y"));
            until_it_waits(&call).map(|()| call)
        })
        .collect::<Outcome<_>>()?;
    desk.nothing()?;
    equal!(desk.value(late, 0), Ok(()));
    for _ in 0..3 {
        equal!(desk.value(late, 0), Err(Error::NotFound));
    }
    let first = desk.request()?;
    equal!(desk.value(late, 0), Err(Error::NotFound));
    desk.nothing()?;
    desk.value(first.token, 1)?;
    equal!(desk.value(first.token, 1), Err(Error::NotFound));
    let second = desk.request()?;
    desk.nothing()?;
    desk.value(second.token, 1)?;
    for call in calls {
        check!(call.join() == Ok(1));
    }
    // The answer to a read keeps the slot until its data is copied.
    let mut queue = IoQueue::new(4, 0)?;
    let mut buffer = [0u8; 8];
    let read = [0, buffer.as_mut_ptr() as u64, 8, 0];
    submit(
        &mut queue,
        &entry(desk.object.handle(), Operation::Read, 1, read),
    )?;
    queue.enter(0, soon())?;
    let token = desk.request()?.token;
    desk.value(token, 8)?;
    equal!(desk.value(token, 8), Err(Error::NotFound));
    let waiting = desk.object.until(Deadline::after(Duration::from_millis(1)));
    equal!(error_of(waiting.write(0, b"z")), Some(Error::TimedOut));
    equal!(completion(&mut queue)?.result(), Ok(8));
    let call = desk.call(|object| object.until(soon()).write(0, b"z"));
    desk.value(desk.request()?.token, 1)?;
    check!(call.join() == Ok(1));
    Ok(())
}

/// A thread that waited in `Enter` for a slot did so for ever: its deadline and a request to stop
/// only had it look again.
fn a_queue_waits_for_a_slot() -> Outcome {
    let desk = Desk::with_window(1, 4096)?;
    let first = desk.call(|object| object.until(soon()).write(0, b"x"));
    let token = desk.request()?.token;
    let mut queue = IoQueue::new(4, 0)?;
    let data = [1u8; 8];
    let write = [5, data.as_ptr() as u64, 8, 0];
    let object = desk.object.handle();
    submit(&mut queue, &entry(object, Operation::Write, 1, write))?;
    equal!(queue.enter(0, soon()), Ok(0));
    equal!(queue.enter(1, Deadline::NOW), Err(Error::TimedOut));
    let soon_over = Deadline::after(Duration::from_millis(2));
    equal!(queue.enter(1, soon_over), Err(Error::TimedOut));
    // It can be cancelled like what is under way.
    equal!(queue.cancel(1), Ok(false));
    let cancelled = completion(&mut queue)?;
    equal!(
        (cancelled.user_data, cancelled.result()),
        (1, Err(Error::Cancelled))
    );
    equal!(queue.cancel(1), Err(Error::NotFound));
    // A request to stop.
    submit(&mut queue, &entry(object, Operation::Write, 2, write))?;
    let waiting = thread::spawn(move || {
        let result = queue.enter(1, soon());
        (queue, result)
    });
    until_it_waits(&waiting)?;
    waiting.ask_to_stop()?;
    let (mut queue, stopped) = waiting.join();
    equal!(stopped, Err(Error::Interrupted));
    // The slot.
    let waiting = thread::spawn(move || {
        let result = completion(&mut queue).map(|completion| completion.result());
        (queue, result)
    });
    until_it_waits(&waiting)?;
    desk.value(token, 1)?;
    let message = desk.request()?;
    equal!(message.arguments, [5, 0, 8]);
    desk.value(message.token, 8)?;
    let (queue, result) = waiting.join();
    equal!(result?, Ok(8));
    check!(first.join() == Ok(1));
    drop(queue);
    Ok(())
}

/// While something else was under way, only that woke the thread, never the slot that it needed.
fn a_queue_that_waits_for_a_slot_takes_completions_too() -> Outcome {
    let desk = Desk::with_window(1, 4096)?;
    let first = desk.call(|object| object.until(soon()).write(0, b"x"));
    let token = desk.request()?.token;
    let (never, soon_there) = (
        driver_sdk::rt::object::Event::new()?,
        driver_sdk::rt::object::Event::new()?,
    );
    let mut queue = IoQueue::new(8, 0)?;
    let data = [1u8; 8];
    let write = [5, data.as_ptr() as u64, 8, 0];
    queue
        .submit_wait(&never, 1, Deadline::NEVER)
        .map_err(|_| "full")?;
    queue
        .submit_wait(&soon_there, 2, Deadline::NEVER)
        .map_err(|_| "full")?;
    submit(
        &mut queue,
        &entry(desk.object.handle(), Operation::Write, 3, write),
    )?;
    let waiting = thread::spawn(move || {
        let completions = [completion(&mut queue), completion(&mut queue)];
        (queue, completions)
    });
    until_it_waits(&waiting)?;
    soon_there.signal()?;
    until_it_waits(&waiting)?;
    desk.value(token, 1)?;
    let message = desk.request()?;
    desk.value(message.token, 8)?;
    let (queue, [one, other]) = waiting.join();
    equal!((one?.user_data, other?.user_data), (2, 3));
    check!(first.join() == Ok(1));
    drop((queue, never));
    Ok(())
}

/// A thread was handed a slot of one service's window and used it for another's.
fn a_slot_is_never_used_for_another_service() -> Outcome {
    leaves_nothing(|| {
        let (small, large) = (Desk::with_window(1, 4096)?, Desk::with_window(64, 4096)?);
        // The last slots of the large one are in use, so it hands out a high one.
        let holders: Vec<_> = (0..64)
            .map(|_| large.call(|object| object.until(soon()).write(0, b"x")))
            .collect();
        let mut tokens = Vec::new();
        for _ in 0..64 {
            tokens.push(large.request()?.token);
        }
        let first = small.call(|object| object.until(soon()).write(0, b"x"));
        let small_token = small.request()?.token;
        let lent = large.service.mint(9, crate::serving::ALL)?;
        let lent_handle = core::mem::ManuallyDrop::new(lent).handle();
        let small_object = small.object.handle();
        static STEP: AtomicU64 = AtomicU64::new(0);
        STEP.store(0, Ordering::SeqCst);
        let waiting = thread::spawn(move || -> Outcome<[Result<u64, Error>; 2]> {
            let mut queue = IoQueue::new(8, 0)?;
            let data = [1u8; 8];
            let write = [5, data.as_ptr() as u64, 8, 0];
            submit(&mut queue, &entry(lent_handle, Operation::Write, 1, write))?;
            submit(&mut queue, &entry(small_object, Operation::Write, 2, write))?;
            STEP.store(1, Ordering::SeqCst);
            Ok([
                completion(&mut queue)?.result(),
                completion(&mut queue)?.result(),
            ])
        });
        while STEP.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        until_it_waits(&waiting)?;
        // What it waits for is gone when it gets the slot.
        driver_sdk::rt::syscall::close(lent_handle)?;
        large.closed(9)?;
        large.value(tokens[63], 1)?;
        tokens.truncate(63);
        until_it_waits(&waiting)?;
        small.nothing()?;
        small.value(small_token, 1)?;
        let message = small.request()?;
        equal!(message.token.window_slot(), Some(0));
        small.value(message.token, 8)?;
        let mut results = waiting.join()?;
        results.sort_by_key(|result| result.is_ok());
        equal!(results, [Err(Error::BadHandle), Ok(8)]);
        check!(first.join() == Ok(1));
        // The slot that it did not need is there again.
        let again = large.call(|object| object.until(soon()).write(0, b"x"));
        tokens.push(large.request()?.token);
        for token in tokens {
            large.value(token, 1)?;
        }
        for call in holders {
            check!(call.join() == Ok(1));
        }
        check!(again.join() == Ok(1));
        Ok(())
    })
}

fn bad_pointers_are_the_clients_own() -> Outcome {
    let desk = Desk::with_window(1, 8192)?;
    let mut queue = IoQueue::new(4, 0)?;
    let object = desk.object.handle();
    // Behind a mapping there is a page of nothing.
    let half = Memory::new(4096)?.map(Rights::READ | Rights::WRITE)?;
    let read_only = Memory::new(4096)?.map(Rights::READ)?;
    let (into_the_hole, hole) = (half.address() + 4000, half.address() + 4096);
    let kernel = [0xffff_8000_0000_0000, 0xffff_ffff_8000_0000, u64::MAX - 63];
    let nowhere = [0, 8, hole, into_the_hole, 0x8000_0000_0000, 1 << 47];
    for address in nowhere.into_iter().chain(kernel) {
        let bad = Err(Error::BadPointer);
        for (operation, arguments) in [
            (Operation::Write, [0, address, 200, 0]),
            (Operation::Open, [address, 200, 0, 0]),
            (Operation::Create, [FIRST_SERVED_KIND, address, 200, 0]),
        ] {
            equal!(
                raw::do_io(object, operation, arguments),
                bad,
                "{operation:?} from {address:#x}"
            );
            equal!(by_queue(&mut queue, object, operation, arguments)?, bad);
        }
        // The server sees nothing of it.
        desk.nothing()?;
    }
    // What a server reads goes wrong after its answer; the slot is free again.
    for address in nowhere
        .into_iter()
        .chain(kernel)
        .chain([read_only.address()])
    {
        let read = [0, address, 200, 0];
        let call = thread::spawn(move || raw::do_io(object, Operation::Read, read));
        let token = desk.request()?.token;
        desk.value(token, 200)?;
        equal!(call.join(), Err(Error::BadPointer), "to {address:#x}");
        submit(&mut queue, &entry(object, Operation::Read, 1, read))?;
        queue.enter(0, soon())?;
        desk.service
            .reply(desk.request()?.token, Reply::Value(200))?;
        equal!(completion(&mut queue)?.result(), Err(Error::BadPointer));
    }
    let call = desk.call(|object| object.until(soon()).write(0, b"x"));
    desk.value(desk.request()?.token, 1)?;
    check!(call.join() == Ok(1));
    Ok(())
}

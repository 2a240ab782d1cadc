//! IoQueues: batches, limits, pushing back, cancelling, and rings that cannot be.

use alloc::vec::Vec;
use core::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use driver_sdk::{
    abi::{
        Call, Handle, Rights,
        call::Operation,
        limits::{Limits, MAX_COMPLETIONS, MAX_QUEUE_ENTRIES},
        object::CreateKind,
        queue::ring_bytes,
        service::Notice,
    },
    prelude::*,
    rt::object::{Event, IoQueue, Operations, OwnedHandle, Service, Timer},
};

use crate::{
    child::{Victim, end_of, idle_process, leaves_nothing},
    harness::{Outcome, check, equal, tests},
    raw,
    serving::{ALL, Desk, by_queue, completion, entry, error_of, soon, submit, until_it_waits},
};

tests![
    queues_have_sizes,
    a_full_completion_ring_pushes_back_and_loses_nothing,
    as_many_are_under_way_as_the_ring_has_entries,
    messages_wait_for_room,
    what_is_refused_while_messages_wait_takes_nobodys_room,
    a_server_can_be_its_own_client_by_one_queue,
    entering_has_its_errors,
    one_thread_waits_at_a_time,
    corrupt_rings_end_a_queue,
    waits_complete_in_a_queue,
    waits_in_a_queue_have_deadlines_and_errors,
    kernel_objects_are_reached_by_a_queue,
    requests_are_cancelled_in_every_state,
    a_closed_queue_leaves_nothing_under_way,
    a_queue_closes_itself,
    a_service_is_bound_once;
    2 cores:
    a_place_is_kept_while_an_entry_is_done,
];

fn create(submissions: u64, completions: u64) -> Result<u64, Error> {
    let kind = CreateKind::IoQueue as u64;
    let created = raw::do_io(
        own_process().handle(),
        Operation::Create,
        [kind, submissions, completions, 0],
    );
    created.inspect(|&raw| drop(OwnedHandle::new(Handle::from_raw(raw as u32))))
}

fn queues_have_sizes() -> Outcome {
    for (submissions, completions) in [
        (0, 0),
        (3, 0),
        (4, 3),
        (4, 2),
        (4, 6),
        (u64::from(MAX_QUEUE_ENTRIES) * 2, 0),
        (4, u64::from(MAX_COMPLETIONS) * 2),
        (1 << 32, 0),
        (u64::MAX, u64::MAX),
        (1 << 63, 0),
    ] {
        equal!(
            create(submissions, completions),
            Err(Error::BadArgument),
            "{submissions} and {completions} entries"
        );
    }
    for (submissions, completions) in [(1, 0), (1, 1), (1, MAX_COMPLETIONS.into()), (64, 64)] {
        check!(create(submissions, completions).is_ok());
    }
    // More than this process may have under way.
    equal!(create(1024, 0), Err(Error::LimitReached));
    // The rings are for who manages the queue.
    let queue = IoQueue::new(4, 8)?;
    let share = |handle: Handle, rights: Rights| {
        raw::do_io(handle, Operation::Share, [0, rights.bits().into(), 0, 0])
    };
    let rings = share(queue.handle(), Rights::READ | Rights::TRANSFER);
    equal!(rings, Err(Error::MissingRight), "rings are not passed on");
    let rings = share(queue.handle(), Rights::READ)?;
    let rings = Memory::from(OwnedHandle::new(Handle::from_raw(rings as u32)));
    check!(rings.size()? >= ring_bytes(4, 8) as u64);
    let less = queue.as_ref().duplicate(Rights::READ | Rights::WRITE)?;
    equal!(share(less.get(), Rights::READ), Err(Error::MissingRight));
    equal!(
        queue.as_ref().duplicate(Rights::TRANSFER),
        Err(Error::MissingRight)
    );
    for operation in [Operation::Read, Operation::Open, Operation::GetMeta] {
        equal!(
            raw::do_io(queue.handle(), operation, [0; 4]),
            Err(Error::BadOperation)
        );
    }
    Ok(())
}

fn nothings(queue: &mut IoQueue, numbers: core::ops::Range<u64>) -> Outcome {
    for number in numbers {
        check!(queue.submit_nothing(number).is_ok(), "no room for {number}");
    }
    Ok(())
}

fn a_full_completion_ring_pushes_back_and_loses_nothing() -> Outcome {
    let mut queue = IoQueue::new(4, 4)?;
    nothings(&mut queue, 0..4)?;
    equal!(queue.enter(4, soon()), Ok(4));
    nothings(&mut queue, 4..8)?;
    // There is no room for what comes of them, so they stay.
    for _ in 0..3 {
        equal!(queue.enter(0, soon()), Ok(4));
        equal!(queue.room(), 0);
    }
    let mut expected = 0..;
    for _ in 0..2 {
        let completion = queue.pop()?.ok_or("nothing there")?;
        equal!(Some(completion.user_data), expected.next());
    }
    equal!(queue.enter(4, soon()), Ok(4));
    equal!(queue.room(), 2);
    nothings(&mut queue, 8..10)?;
    let mut count = 2;
    while count < 10 {
        queue.enter(1, soon())?;
        while let Some(completion) = queue.pop()? {
            equal!(Some(completion.user_data), expected.next());
            count += 1;
        }
    }
    equal!(queue.enter(1, Deadline::NOW), Err(Error::TimedOut));
    // A batch longer than a step of the kernel.
    let mut large = IoQueue::new(128, 256)?;
    nothings(&mut large, 0..128)?;
    equal!(large.enter(128, soon()), Ok(128));
    for number in 0..128 {
        equal!(large.pop()?.map(|done| done.user_data), Some(number));
    }
    Ok(())
}

fn as_many_are_under_way_as_the_ring_has_entries() -> Outcome {
    let desk = Desk::new()?;
    let mut queue = IoQueue::new(4, 64)?;
    let object = desk.object.handle();
    for number in 0..4 {
        submit(
            &mut queue,
            &entry(object, Operation::GetMeta, number, [number, 0, 0, 0]),
        )?;
    }
    equal!(queue.enter(0, soon()), Ok(0));
    for number in 4..8 {
        submit(
            &mut queue,
            &entry(object, Operation::GetMeta, number, [number, 0, 0, 0]),
        )?;
    }
    equal!(queue.enter(0, soon()), Ok(0));
    equal!(desk.counts()?, (4, 0));
    equal!(queue.room(), 0);
    // Each that is done makes room for the next, also while a thread waits.
    let waiting = thread::spawn(move || -> Outcome<Vec<u64>> {
        let mut seen = Vec::new();
        while seen.len() < 8 {
            queue.enter(1, soon())?;
            while let Some(completion) = queue.pop()? {
                seen.push(completion.user_data);
            }
        }
        Ok(seen)
    });
    for number in 0..8 {
        let message = desk.request()?;
        equal!(message.arguments[0], number);
        desk.value(message.token, 0)?;
    }
    equal!(waiting.join()?, (0..8).collect::<Vec<_>>());
    Ok(())
}

fn messages_wait_for_room() -> Outcome {
    let desk = Desk::new()?;
    let mut server = IoQueue::new(2, 4)?;
    desk.service.bind(&server)?;
    let mut client = IoQueue::new(16, 16)?;
    for number in 0..16 {
        submit(
            &mut client,
            &entry(
                desk.object.handle(),
                Operation::GetMeta,
                number,
                [number, 0, 0, 0],
            ),
        )?;
    }
    equal!(client.enter(0, soon()), Ok(0));
    equal!(desk.counts()?, (12, 4));
    let mut order = 0..;
    for _ in 0..16 {
        let message = completion(&mut server)?;
        check!(message.is_message());
        equal!(Some(message.arguments[0]), order.next());
        desk.value(message.token(), message.arguments[0])?;
    }
    equal!(client.enter(16, soon()), Ok(16));
    for number in 0..16 {
        let done = client.pop()?.ok_or("a completion is missing")?;
        equal!((done.user_data, done.result()), (number, Ok(number)));
    }
    check!(server.pop()?.is_none());
    Ok(())
}

/// A request that was refused in the middle of handing out messages closed its object, and the
/// notice of that took the room that had been found for the next request, which was lost.
fn what_is_refused_while_messages_wait_takes_nobodys_room() -> Outcome {
    let desk = Desk::new()?;
    let mut server = IoQueue::new(1, 2)?;
    desk.service.bind(&server)?;
    let mut client = IoQueue::new(8, 8)?;
    let event = Event::new()?;
    let object = desk.object.handle();
    let lent: Result<Vec<_>, _> = (20..22)
        .map(|number| desk.service.mint(number, ALL))
        .collect();
    let lent = lent?;
    for number in 0..2 {
        submit(
            &mut client,
            &entry(object, Operation::GetMeta, number, [0; 4]),
        )?;
    }
    let share = [event.as_ref().get().raw().into(), 0, 0, 0];
    for (number, object) in (2..).zip(&lent) {
        submit(
            &mut client,
            &entry(object.handle(), Operation::Share, number, share),
        )?;
    }
    submit(&mut client, &entry(object, Operation::GetMeta, 4, [0; 4]))?;
    equal!(client.enter(0, soon()), Ok(0));
    drop(lent);
    equal!(desk.counts()?, (3, 2));
    // Nothing more can be given to this process.
    let memory = Memory::new(4096)?;
    let mut copies = Vec::with_capacity(4096);
    while let Ok(copy) = memory.duplicate(Rights::READ) {
        copies.push(copy);
    }
    let (mut closed, mut requests) = (Vec::new(), 0);
    while closed.len() < 2 || requests < 3 {
        let message = completion(&mut server)?;
        match message.what().notice() {
            Notice::Closed => closed.push(message.user_data),
            _ => {
                requests += 1;
                desk.value(message.token(), 5)?;
            }
        }
    }
    drop(copies);
    closed.sort_unstable();
    equal!(closed, [20, 21]);
    equal!(client.enter(5, soon()), Ok(5));
    let mut results = [Err(Error::Busy); 5];
    while let Some(done) = client.pop()? {
        results[done.user_data as usize] = done.result();
    }
    let full = Err(Error::LimitReached);
    equal!(results, [Ok(5), Ok(5), full, full, Ok(5)]);
    Ok(())
}

fn a_server_can_be_its_own_client_by_one_queue() -> Outcome {
    let desk = Desk::new()?;
    let mut queue = IoQueue::new(8, 8)?;
    desk.service.bind(&queue)?;
    let (object, service) = (desk.object.handle(), desk.service.handle());
    // As full as it gets, and answered before the kernel knows that anything was read.
    nothings(&mut queue, 0..1)?;
    for number in 0..4 {
        submit(
            &mut queue,
            &entry(object, Operation::GetMeta, number, [0; 4]),
        )?;
    }
    let there = queue.enter(0, soon())?;
    equal!(queue.pop()?.map(|done| done.is_message()), Some(false));
    let mut tokens = Vec::new();
    for _ in 1..there {
        let message = queue.pop()?.ok_or("a message is missing")?;
        check!(message.is_message());
        tokens.push(message.token());
    }
    for token in &tokens {
        desk.value(*token, 8)?;
    }
    let (mut answered, mut left) = (0, 4 - tokens.len());
    while answered < 4 {
        let completion = completion(&mut queue)?;
        if completion.is_message() {
            desk.value(completion.token(), 8)?;
            left -= 1;
        } else {
            equal!(completion.result(), Ok(8));
            answered += 1;
        }
    }
    equal!(left, 0);
    let (mut asked, mut done) = (0, 0);
    while done < 40 {
        // More would keep its own answers in the ring behind requests that wait for them.
        while asked < 40.min(done + 4)
            && submit(
                &mut queue,
                &entry(object, Operation::GetMeta, asked, [asked, 0, 0, 0]),
            )
            .is_ok()
        {
            asked += 1;
        }
        queue.enter(1, soon())?;
        let mut answers = Vec::new();
        while let Some(completion) = queue.pop()? {
            if completion.is_message() {
                answers.push((completion.token(), completion.arguments[0]));
            } else {
                equal!(completion.result(), Ok(completion.user_data + 1));
                done += 1;
            }
        }
        for (token, key) in answers {
            let reply = entry(service, Operation::Reply, 0, [token.0, 0, key + 1, 0]);
            if submit(&mut queue, &reply).is_err() {
                desk.value(token, key + 1)?;
            }
        }
    }
    Ok(())
}

fn entering_has_its_errors() -> Outcome {
    let queue = IoQueue::new(4, 8)?;
    let handle = u64::from(queue.handle().raw());
    let enter = |handle: u64, minimum: u64, deadline: u64| {
        raw::call(Call::Enter, [handle, minimum, deadline, 0, 0, 0])
    };
    equal!(enter(handle, 9, 0), Err(Error::BadArgument));
    equal!(enter(handle, u64::MAX, 0), Err(Error::BadArgument));
    equal!(enter(handle, 1 << 32, 0), Err(Error::BadArgument));
    equal!(enter(handle, 8, 0), Err(Error::TimedOut));
    equal!(enter(0, 0, 0), Err(Error::BadHandle));
    equal!(enter(handle + (1 << 16), 0, 0), Err(Error::BadHandle));
    equal!(enter(1 << 32, 0, 0), Err(Error::BadHandle));
    let event = Event::new()?;
    let other = event.as_ref().get().raw().into();
    equal!(enter(other, 0, 0), Err(Error::WrongObject));
    let less = queue.as_ref().duplicate(Rights::READ | Rights::WAIT)?;
    equal!(
        enter(less.get().raw().into(), 0, 0),
        Err(Error::MissingRight)
    );
    // A queue of another process.
    let limits = Limits {
        memory: 1 << 20,
        handles: 8,
        ..Limits::DEFAULT
    };
    let child = idle_process(own_process(), limits)?;
    let kind = CreateKind::IoQueue as u64;
    let theirs = raw::do_io(child.handle(), Operation::Create, [kind, 4, 0, 0])?;
    equal!(enter(theirs, 0, 0), Err(Error::Refused));
    driver_sdk::rt::syscall::close(Handle::from_raw(theirs as u32))?;
    child.kill(0)?;
    Ok(())
}

fn one_thread_waits_at_a_time() -> Outcome {
    let mut queue = IoQueue::new(4, 8)?;
    let handle = u64::from(queue.handle().raw());
    let waiting = thread::spawn(move || {
        loop {
            // Whoever comes second is refused.
            match raw::call(Call::Enter, [handle, 1, soon().raw(), 0, 0, 0]) {
                Err(Error::Busy) => thread::yield_now(),
                result => break result,
            }
        }
    });
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let deadline = Deadline::after(Duration::from_micros(100)).raw();
        match raw::call(Call::Enter, [handle, 1, deadline, 0, 0, 0]) {
            Err(Error::Busy) => break,
            result => equal!(result, Err(Error::TimedOut)),
        }
        check!(Instant::now() < until, "the other never waits");
        thread::yield_now();
    }
    // Others may put something in.
    nothings(&mut queue, 0..1)?;
    equal!(queue.enter(0, soon()), Ok(1));
    equal!(waiting.join(), Ok(1));
    Ok(())
}

/// The index of the program's side of a ring, as raw as it lies there.
fn index(mapping: &driver_sdk::rt::object::Mapping, offset: usize) -> &AtomicU32 {
    // SAFETY: the offset is inside the mapping, and both sides use atomic accesses.
    unsafe { &*mapping.as_ptr().add(offset).cast() }
}

fn corrupt_rings_end_a_queue() -> Outcome {
    leaves_nothing(|| {
        // The tail of the submission ring, and the head of the completion ring.
        for (offset, wrong) in [
            (64, 10),
            (64, u32::MAX),
            (64, 1 << 31),
            (256 + 128, 1),
            (256 + 128, u32::MAX),
        ] {
            let event = Event::new()?;
            let mut queue = IoQueue::new(8, 8)?;
            queue
                .submit_wait(&event, 1, Deadline::NEVER)
                .map_err(|_| "full")?;
            queue.enter(0, soon())?;
            let rights = Rights::READ | Rights::WRITE | Rights::MAP;
            let share = [0, rights.bits().into(), 0, 0];
            let rings = raw::do_io(queue.handle(), Operation::Share, share)?;
            let rings = Memory::from(OwnedHandle::new(Handle::from_raw(rings as u32)));
            let mapping = rings.map(Rights::READ | Rights::WRITE)?;
            let raw_handle = u64::from(queue.handle().raw());
            let waiting = thread::spawn(move || {
                raw::call(Call::Enter, [raw_handle, 1, soon().raw(), 0, 0, 0])
            });
            until_it_waits(&waiting)?;
            index(&mapping, offset).store(wrong, Ordering::SeqCst);
            let enter = || raw::call(Call::Enter, [raw_handle, 0, 0, 0, 0, 0]);
            equal!(enter(), Err(Error::Corrupt), "{wrong:#x} at {offset}");
            equal!(enter(), Err(Error::Gone));
            equal!(waiting.join(), Err(Error::Gone));
            index(&mapping, offset).store(0, Ordering::SeqCst);
            equal!(enter(), Err(Error::Gone), "for ever");
            let service = Service::new()?;
            equal!(service.bind(&queue), Err(Error::Gone));
            event.signal()?;
        }
        // Entries may be anything.
        let mut queue = IoQueue::new(8, 8)?;
        for word in [u32::MAX, 13, 1 << 31] {
            let mut noise = entry(
                Handle::from_raw(word),
                Operation::Nothing,
                u64::MAX,
                [u64::MAX; 4],
            );
            noise.operation = word;
            noise.deadline = u64::MAX;
            noise.trace = u64::MAX;
            submit(&mut queue, &noise)?;
            let done = completion(&mut queue)?;
            equal!((done.user_data, done.trace), (u64::MAX, u64::MAX));
            equal!(done.result(), Err(Error::BadOperation));
        }
        Ok(())
    })
}

fn waits_complete_in_a_queue() -> Outcome {
    leaves_nothing(|| {
        let mut queue = IoQueue::new(8, 8)?;
        let (event, timer) = (Event::new()?, Timer::new()?);
        let child = Victim::new("sleep").spawn()?;
        static GATE: Semaphore = Semaphore::new(0);
        let sleeper = thread::spawn(|| GATE.acquire());
        // What has happened is there at once, and what will happen comes.
        event.signal()?;
        event.signal()?;
        timer.set(Instant::now())?;
        equal!(timer.wait(soon()), Ok(1));
        for later in [false, true] {
            if !later {
                timer.set(Instant::now())?;
                thread::sleep(Duration::from_millis(1));
            }
            for (number, object) in [(1, event.as_ref()), (2, timer.as_ref())] {
                queue
                    .submit_wait(object, number, Deadline::NEVER)
                    .map_err(|_| "full")?;
            }
            if later {
                equal!(queue.enter(0, soon()), Ok(0));
                event.signal()?;
                timer.set(Instant::now() + Duration::from_micros(300))?;
            }
            equal!(queue.enter(2, soon()), Ok(2));
            let mut done = [queue.pop()?, queue.pop()?].map(|done| {
                let done = done.unwrap_or_default();
                (done.user_data, done.result())
            });
            done.sort_by_key(|(number, _)| *number);
            let signals = if later { 1 } else { 2 };
            equal!(done, [(1, Ok(signals)), (2, Ok(1))]);
        }
        queue.submit_wait(&child, 3, soon()).map_err(|_| "full")?;
        queue
            .submit_wait(sleeper.thread(), 4, soon())
            .map_err(|_| "full")?;
        equal!(queue.enter(0, soon()), Ok(0));
        child.kill(11)?;
        let ended = completion(&mut queue)?;
        equal!(
            (ended.user_data, ended.result()),
            (3, Ok(ExitStatus::Killed(11).to_raw()))
        );
        GATE.release(1);
        let ended = completion(&mut queue)?;
        equal!((ended.user_data, ended.result()), (4, Ok(0)));
        sleeper.join();
        // And when it is over already.
        queue
            .submit_wait(&child, 5, Deadline::NOW)
            .map_err(|_| "full")?;
        equal!(
            completion(&mut queue)?.result(),
            Ok(ExitStatus::Killed(11).to_raw())
        );
        Ok(())
    })
}

fn waits_in_a_queue_have_deadlines_and_errors() -> Outcome {
    let mut queue = IoQueue::new(8, 8)?;
    let event = Event::new()?;
    for (number, wait) in [(1, 0), (2, 1), (3, 300)] {
        let deadline = Deadline::after(Duration::from_micros(wait));
        queue
            .submit_wait(&event, number, deadline)
            .map_err(|_| "full")?;
        let done = completion(&mut queue)?;
        equal!(
            (done.user_data, done.result()),
            (number, Err(Error::TimedOut))
        );
    }
    // Who was told that it is too late takes no signal.
    event.signal()?;
    equal!(event.wait(Deadline::NOW), Ok(1));
    let memory = Memory::new(4096)?;
    let less = event.as_ref().duplicate(Rights::WRITE)?;
    for (object, error) in [
        (memory.handle(), Error::WrongObject),
        (queue.handle(), Error::WrongObject),
        (less.get(), Error::MissingRight),
        (own_process().handle(), Error::BadArgument),
        (Handle::NULL, Error::BadHandle),
    ] {
        equal!(
            by_queue(&mut queue, object, Operation::Wait, [0; 4])?,
            Err(error)
        );
    }
    // The last handle to a timer: it will not fire.
    let timer = Timer::new()?;
    queue.submit_wait(&timer, 6, soon()).map_err(|_| "full")?;
    queue.enter(0, soon())?;
    drop(timer);
    equal!(completion(&mut queue)?.result(), Err(Error::Gone));
    Ok(())
}

fn kernel_objects_are_reached_by_a_queue() -> Outcome {
    leaves_nothing(|| {
        let mut queue = IoQueue::new(8, 8)?;
        let memory = Memory::new(4096)?;
        let (sent, mut got) = ([5u8; 100], [0u8; 100]);
        let write = [50, sent.as_ptr() as u64, 100, 0];
        let read = [50, got.as_mut_ptr() as u64, 100, 0];
        let mut ask =
            |object, operation, arguments| by_queue(&mut queue, object, operation, arguments);
        equal!(ask(memory.handle(), Operation::Write, write)?, Ok(100));
        equal!(ask(memory.handle(), Operation::Read, read)?, Ok(100));
        equal!(got, sent);
        let bad = [0, 8, 100, 0];
        equal!(
            ask(memory.handle(), Operation::Read, bad)?,
            Err(Error::BadPointer)
        );
        // Long operations: each step of them is one of the thread's.
        let own = own_process().handle();
        let create = [CreateKind::Memory as u64, 8 << 20, 0, 0];
        let large = ask(own, Operation::Create, create)?.map_err(|error| error.describe())?;
        let large = Memory::from(OwnedHandle::new(Handle::from_raw(large as u32)));
        equal!(large.size(), Ok(8 << 20));
        equal!(ask(large.handle(), Operation::Close, [0; 4])?, Ok(0));
        core::mem::forget(large);
        let limits = Limits {
            memory: 1 << 20,
            handles: 8,
            ..Limits::DEFAULT
        };
        let child = idle_process(own_process(), limits)?;
        equal!(
            ask(child.handle(), Operation::Destroy, [3, 0, 0, 0])?,
            Ok(0)
        );
        equal!(end_of(&child)?.status, ExitStatus::Killed(3));
        equal!(
            ask(own, Operation::Nothing, [0; 4])?,
            Ok(0),
            "nothing is done on no object"
        );
        equal!(
            ask(own, Operation::Reply, [0; 4])?,
            Err(Error::BadOperation)
        );
        equal!(
            raw::do_io(own, Operation::Nothing, [0; 4]),
            Err(Error::BadOperation)
        );
        Ok(())
    })
}

fn requests_are_cancelled_in_every_state() -> Outcome {
    let desk = Desk::with_window(4, 4096)?;
    let mut queue = IoQueue::new(8, 8)?;
    let object = desk.object.handle();
    let event = Event::new()?;
    let cancelled = |queue: &mut IoQueue, number: u64| -> Outcome {
        let done = queue.pop()?.ok_or("no completion")?;
        equal!(
            (done.user_data, done.result()),
            (number, Err(Error::Cancelled))
        );
        Ok(())
    };
    equal!(queue.cancel(1), Err(Error::NotFound));
    // Not handed over yet.
    submit(&mut queue, &entry(object, Operation::GetMeta, 1, [0; 4]))?;
    equal!(queue.cancel(1), Err(Error::NotFound));
    // Waiting for an object.
    queue.submit_wait(&event, 2, soon()).map_err(|_| "full")?;
    queue.enter(0, soon())?;
    equal!(queue.cancel(2), Ok(false));
    cancelled(&mut queue, 2)?;
    event.signal()?;
    equal!(event.wait(Deadline::NOW), Ok(1));
    // Not taken by the server, which never sees it.
    equal!(queue.cancel(1), Ok(false));
    cancelled(&mut queue, 1)?;
    desk.nothing()?;
    // Taken, with and without data that is copied: a late answer is discarded.
    let data = [1u8; 8];
    for (number, operation, arguments) in [
        (3, Operation::GetMeta, [0; 4]),
        (4, Operation::Write, [0, data.as_ptr() as u64, 8, 0]),
    ] {
        submit(&mut queue, &entry(object, operation, number, arguments))?;
        queue.enter(0, soon())?;
        let token = desk.request()?.token;
        equal!(queue.cancel(number), Ok(false));
        cancelled(&mut queue, number)?;
        desk.nothing()?;
        let late = desk.value(token, 1);
        let has_slot = token.window_slot().is_some();
        equal!(
            late,
            if has_slot {
                Ok(())
            } else {
                Err(Error::NotFound)
            }
        );
        equal!(desk.value(token, 1), Err(Error::NotFound));
    }
    // Registered memory: the server is told, and gives it back by its answer.
    for answer in [Ok(8), Err(Error::Cancelled)] {
        submit(
            &mut queue,
            &entry(object, Operation::Write, 5, [0, 0, 8, 3]),
        )?;
        queue.enter(0, soon())?;
        let message = desk.request()?;
        equal!(message.what.registration(), 3);
        for _ in 0..2 {
            equal!(queue.cancel(5), Ok(true));
            let notice = desk.service.serve(None, soon())?;
            equal!(notice.what.notice(), Notice::Cancelled);
            equal!((notice.token, notice.object), (message.token, 7));
        }
        check!(queue.pop()?.is_none());
        match answer {
            Ok(value) => desk.value(message.token, value)?,
            Err(error) => desk.service.reply(
                message.token,
                driver_sdk::abi::service::Reply::Error(error, 0),
            )?,
        }
        equal!(completion(&mut queue)?.result(), answer);
    }
    // One that it has not taken is as any other.
    submit(
        &mut queue,
        &entry(object, Operation::Write, 6, [0, 0, 8, 3]),
    )?;
    queue.enter(0, soon())?;
    equal!(queue.cancel(6), Ok(false));
    cancelled(&mut queue, 6)?;
    // Answered, and its data waits to be copied.
    let mut buffer = [0u8; 8];
    let read = [0, buffer.as_mut_ptr() as u64, 8, 0];
    submit(&mut queue, &entry(object, Operation::Read, 7, read))?;
    queue.enter(0, soon())?;
    desk.value(desk.request()?.token, 8)?;
    equal!(queue.cancel(7), Ok(true));
    equal!(completion(&mut queue)?.result(), Ok(8));
    equal!(queue.cancel(7), Err(Error::NotFound));
    // By another queue, which needs the right to it.
    let mut other = IoQueue::new(4, 0)?;
    queue.submit_wait(&event, 8, soon()).map_err(|_| "full")?;
    queue.enter(0, soon())?;
    let less = queue.as_ref().duplicate(Rights::READ | Rights::MANAGE)?;
    for result in [
        by_queue(&mut other, less.get(), Operation::Cancel, [8, 0, 0, 0])?,
        raw::do_io(less.get(), Operation::Cancel, [8, 0, 0, 0]),
    ] {
        equal!(result, Err(Error::MissingRight));
    }
    equal!(
        by_queue(&mut other, queue.handle(), Operation::Cancel, [8, 0, 0, 0])?,
        Ok(0)
    );
    cancelled(&mut queue, 8)?;
    let wrong = raw::do_io(event.as_ref().get(), Operation::Cancel, [8, 0, 0, 0]);
    equal!(wrong, Err(Error::BadOperation));
    Ok(())
}

fn a_closed_queue_leaves_nothing_under_way() -> Outcome {
    leaves_nothing(|| {
        let desk = Desk::with_window(4, 4096)?;
        let object = desk.object.handle();
        let (event, timer) = (Event::new()?, Timer::new()?);
        let mut queue = IoQueue::new(16, 16)?;
        let data = [1u8; 8];
        let mut buffer = [0u8; 8];
        let (from, to) = (data.as_ptr() as u64, buffer.as_mut_ptr() as u64);
        // Taken: plain, with data, registered; and one that is answered but not copied.
        for (number, operation, arguments) in [
            (1, Operation::GetMeta, [0; 4]),
            (2, Operation::Write, [0, from, 8, 0]),
            (3, Operation::Write, [0, 0, 8, 5]),
            (4, Operation::Read, [0, to, 8, 0]),
        ] {
            submit(&mut queue, &entry(object, operation, number, arguments))?;
        }
        queue.enter(0, soon())?;
        let tokens = [(); 4].map(|()| desk.request().map(|message| message.token));
        let [plain, data_token, registered, answered] = tokens;
        desk.value(answered?, 8)?;
        let (plain, data_token, registered) = (plain?, data_token?, registered?);
        // Being cancelled, waiting, and waiting for room in the window.
        equal!(queue.cancel(3), Ok(true));
        let share = [event.as_ref().get().raw().into(), 0, 0, 0];
        for (number, operation, arguments) in [
            (5, Operation::SetMeta, [0; 4]),
            (6, Operation::Share, share),
            (7, Operation::Write, [0, from, 8, 0]),
            (8, Operation::Write, [0, from, 8, 0]),
            (9, Operation::Write, [0, from, 8, 0]),
        ] {
            submit(&mut queue, &entry(object, operation, number, arguments))?;
        }
        queue.submit_wait(&event, 10, soon()).map_err(|_| "full")?;
        queue.submit_wait(&timer, 11, soon()).map_err(|_| "full")?;
        queue.enter(0, soon())?;
        let raw_handle = u64::from(queue.handle().raw());
        let waiting =
            thread::spawn(move || raw::call(Call::Enter, [raw_handle, 16, soon().raw(), 0, 0, 0]));
        until_it_waits(&waiting)?;
        drop(queue);
        equal!(waiting.join(), Err(Error::Gone));
        equal!(desk.counts()?, (0, 0));
        desk.nothing()?;
        equal!(desk.value(plain, 1), Err(Error::NotFound));
        equal!(desk.value(registered, 1), Err(Error::NotFound));
        equal!(desk.value(data_token, 1), Ok(()));
        // All slots are there again.
        for _ in 0..8 {
            let call = desk.call(|object| object.until(soon()).write(0, b"x"));
            desk.value(desk.request()?.token, 1)?;
            check!(call.join() == Ok(1));
        }
        event.signal()?;
        equal!(event.wait(Deadline::NOW), Ok(1));
        equal!(buffer, [0; 8]);
        Ok(())
    })
}

fn a_queue_closes_itself() -> Outcome {
    leaves_nothing(|| {
        let mut queue = IoQueue::new(4, 0)?;
        let handle = queue.handle();
        submit(&mut queue, &entry(handle, Operation::Close, 1, [0; 4]))?;
        nothings(&mut queue, 2..3)?;
        equal!(queue.enter(1, soon()), Err(Error::Gone));
        equal!(queue.enter(1, soon()), Err(Error::BadHandle));
        Ok(())
    })
}

fn a_service_is_bound_once() -> Outcome {
    leaves_nothing(|| {
        let desk = Desk::new()?;
        let (queue, other) = (IoQueue::new(4, 0)?, IoQueue::new(4, 0)?);
        let serving = desk.service.clone();
        let waiting = thread::spawn(move || {
            serving
                .serve(None, Deadline::after(Duration::from_millis(3)))
                .map(drop)
        });
        while desk.service.bind(&queue) == Err(Error::Busy) {
            thread::yield_now();
        }
        let waited = waiting.join();
        check!(
            matches!(waited, Err(Error::TimedOut | Error::Busy)),
            "{waited:?}"
        );
        equal!(desk.service.bind(&other), Err(Error::Busy));
        equal!(desk.service.serve(None, soon()), Err(Error::Busy));
        // Each has a number of its own.
        let second = Service::new()?;
        equal!(second.bind(&queue), Ok(1));
        let less = Service::new()?.duplicate(Rights::READ | Rights::WRITE | Rights::WAIT)?;
        equal!(less.bind(&queue), Err(Error::MissingRight));
        let unwritable = queue.as_ref().duplicate(Rights::READ)?;
        let third = Service::new()?;
        let bind = |queue: Handle| {
            raw::do_io(
                third.handle(),
                Operation::SetMeta,
                [1, queue.raw().into(), 0, 0],
            )
        };
        equal!(bind(unwritable.get()), Err(Error::MissingRight));
        equal!(bind(third.handle()), Err(Error::WrongObject));
        for key in [0, 2, 3, 4, u64::MAX] {
            let set = raw::do_io(third.handle(), Operation::SetMeta, [key, 0, 0, 0]);
            equal!(set, Err(Error::BadOperation));
        }
        // Without its queue it is served by threads again.
        let call = desk.get_meta(3);
        desk.wait_for_counts(0, 1)?;
        let second_call = desk.get_meta(4);
        desk.wait_for_counts(0, 2)?;
        drop((queue, unwritable));
        let third_call = desk.get_meta(5);
        let message = desk.request()?;
        equal!(message.arguments[0], 5);
        desk.value(message.token, 0)?;
        check!(third_call.join() == Ok(0));
        // What the ring took with it is answered at the end.
        desk.service.end()?;
        equal!(error_of(call.join()), Some(Error::ServerGone));
        equal!(error_of(second_call.join()), Some(Error::ServerGone));
        equal!(desk.service.bind(&other), Err(Error::ServerGone));
        equal!(desk.service.serve(None, soon()), Err(Error::ServerGone));
        Ok(())
    })
}

/// The lock is let go of while data is copied. What came into the ring meanwhile took the place of
/// the entry's completion, which was lost.
fn a_place_is_kept_while_an_entry_is_done() -> Outcome {
    static STOP: AtomicU32 = AtomicU32::new(0);
    STOP.store(0, Ordering::SeqCst);
    let desk = Desk::new()?;
    let mut queue = IoQueue::new(1, 2)?;
    desk.service.bind(&queue)?;
    // Others fill the ring with messages.
    let object = desk.object.clone();
    let flood = thread::spawn(move || -> Outcome {
        let mut queue = IoQueue::new(16, 32)?;
        let mut under_way = 0;
        while STOP.load(Ordering::SeqCst) == 0 || under_way > 0 {
            while under_way < 16 && STOP.load(Ordering::SeqCst) == 0 {
                submit(
                    &mut queue,
                    &entry(object.handle(), Operation::GetMeta, 1, [0; 4]),
                )?;
                under_way += 1;
            }
            queue.enter(1, soon())?;
            while queue.pop()?.is_some() {
                under_way -= 1;
            }
        }
        Ok(())
    });
    let memory = Memory::new(64 << 10)?;
    let mut buffer = alloc::vec![0u8; 64 << 10];
    let read = [0, buffer.as_mut_ptr() as u64, 64 << 10, 0];
    for number in 0..300 {
        submit(
            &mut queue,
            &entry(memory.handle(), Operation::Read, number, read),
        )?;
        let mut done = false;
        while !done {
            queue.enter(1, soon())?;
            while let Some(completion) = queue.pop()? {
                if completion.is_message() {
                    desk.value(completion.token(), 0)?;
                } else {
                    equal!(
                        (completion.user_data, completion.result()),
                        (number, Ok(64 << 10))
                    );
                    done = true;
                }
            }
        }
    }
    STOP.store(1, Ordering::SeqCst);
    while !flood.is_finished() {
        let _ = queue.enter(1, Deadline::after(Duration::from_millis(1)));
        while let Some(completion) = queue.pop()? {
            desk.value(completion.token(), 0)?;
        }
    }
    flood.join()
}

//! Handles that go to a server and come from one, and the notice that the last one is closed.

use alloc::vec::Vec;
use core::mem::ManuallyDrop;

use driver_sdk::{
    abi::{Handle, Rights, call::Operation, object::CreateKind, service::Reply},
    prelude::*,
    rt::object::{Event, IoQueue, Object, Operations, OwnedHandle, Remote, Service, Timer},
};

use crate::{
    child::leaves_nothing,
    harness::{Outcome, check, equal, tests},
    raw,
    serving::{ALL, Desk, by_queue, completion, entry, error_of, soon, submit},
};

tests![
    a_server_gets_what_a_client_shares,
    sharing_needs_its_rights,
    a_server_yields_what_its_handles_lead_to,
    a_handle_is_the_answer_where_one_is_expected,
    what_is_on_its_way_is_held,
    what_never_arrives_is_let_go,
    a_full_table_is_told_to_the_client,
    nothing_is_left_of_what_finds_no_room,
    a_closed_notice_is_the_last_of_an_object,
    closed_notices_are_never_lost,
    an_event_is_signalled_at_the_end_of_the_service,
];

/// A handle from a message or an answer, which is the test's from here on.
fn own(raw: u64) -> OwnedHandle {
    OwnedHandle::new(Handle::from_raw(raw as u32))
}

/// Puts a `Share` of a handle into a queue and has it taken.
fn share(queue: &mut IoQueue, object: &Remote, what: Handle, rights: Rights, key: u64) -> Outcome {
    let arguments = [what.raw().into(), rights.bits().into(), key, 0];
    submit(
        queue,
        &entry(object.handle(), Operation::Share, key, arguments),
    )?;
    queue.enter(0, soon())?;
    Ok(())
}

fn a_server_gets_what_a_client_shares() -> Outcome {
    let desk = Desk::new()?;
    let mut queue = IoQueue::new(4, 0)?;
    let memory = Memory::new(4096)?;
    memory.write_all(0, b"shared")?;
    let (event, timer) = (Event::new()?, Timer::new()?);
    let counters = own_process().counters()?;
    let kinds: [&OwnedHandle; 6] = [
        memory.as_ref(),
        event.as_ref(),
        timer.as_ref(),
        counters.as_ref(),
        own_process().as_ref(),
        (*desk.object).as_ref(),
    ];
    for what in kinds {
        share(&mut queue, &desk.object, what.get(), Rights::TRANSFER, 3)?;
        let message = desk.request()?;
        let [given, rights, key] = message.arguments;
        equal!((rights, key), (Rights::TRANSFER.bits().into(), 3));
        let given = own(given);
        check!(given.get() != what.get());
        // No right but this one.
        equal!(given.duplicate(Rights::empty()), Err(Error::MissingRight));
        desk.value(message.token, 6)?;
        equal!(completion(&mut queue)?.result(), Ok(6));
    }
    // It leads to the same object.
    let rights = Rights::READ | Rights::TRANSFER;
    share(&mut queue, &desk.object, memory.handle(), rights, 1)?;
    let message = desk.request()?;
    let theirs = Memory::from(own(message.arguments[0]));
    drop(memory);
    let mut text = [0; 6];
    theirs.read(0, &mut text)?;
    equal!(&text, b"shared");
    equal!(theirs.write(0, &text), Err(Error::MissingRight));
    desk.value(message.token, 0)?;
    equal!(completion(&mut queue)?.result(), Ok(0));
    Ok(())
}

fn sharing_needs_its_rights() -> Outcome {
    let desk = Desk::new()?;
    let mut queue = IoQueue::new(4, 0)?;
    let memory = Memory::new(4096)?;
    let without = memory.duplicate(Rights::READ | Rights::DUPLICATE)?;
    let with = memory.duplicate(Rights::READ | Rights::TRANSFER)?;
    let handle = |memory: &Memory| u64::from(memory.handle().raw());
    let bits = |rights: Rights| u64::from(rights.bits());
    for (what, rights, error) in [
        (handle(&without), bits(Rights::READ), Error::MissingRight),
        (
            handle(&with),
            bits(Rights::READ | Rights::WRITE),
            Error::MissingRight,
        ),
        (handle(&with), 1 << 20, Error::BadArgument),
        (handle(&with), 1 << 40, Error::BadArgument),
        (handle(&with) + (1 << 16), 0, Error::BadHandle),
        (1 << 32, 0, Error::BadHandle),
    ] {
        let arguments = [what, rights, 0, 0];
        let object = desk.object.handle();
        equal!(
            raw::do_io(object, Operation::Share, arguments),
            Err(error),
            "handle {what:#x} with {rights:#x}"
        );
        let by_queue = by_queue(&mut queue, object, Operation::Share, arguments)?;
        equal!(by_queue, Err(error));
    }
    // A queue is its owner's alone.
    let raw_queue = queue.handle().raw().into();
    let shared = raw::do_io(desk.object.handle(), Operation::Share, [raw_queue, 0, 0, 0]);
    equal!(shared, Err(Error::MissingRight));
    desk.nothing()
}

fn a_server_yields_what_its_handles_lead_to() -> Outcome {
    let desk = Desk::new()?;
    let memory = Memory::new(8192)?;
    let call = desk.call(|object| {
        let object = object.until(soon());
        object.obtain::<Memory>(Rights::READ | Rights::MAP, 9)
    });
    let message = desk.request()?;
    equal!(message.what.operation(), Operation::Share as u64);
    equal!(message.arguments[0], 0);
    equal!(message.arguments[2], 9);
    let reply = |handle: Handle, rights| {
        desk.service
            .reply(message.token, Reply::Handle(handle, rights))
    };
    // What is wrong with the server's handle is for the server to hear, and the request waits on.
    let kept = memory.duplicate(Rights::READ | Rights::DUPLICATE)?;
    equal!(reply(kept.handle(), Rights::READ), Err(Error::MissingRight));
    let less = memory.duplicate(Rights::READ | Rights::TRANSFER)?;
    equal!(
        reply(less.handle(), Rights::READ | Rights::WRITE),
        Err(Error::MissingRight)
    );
    equal!(reply(Handle::NULL, Rights::READ), Err(Error::BadHandle));
    equal!(desk.counts()?, (0, 1));
    reply(memory.handle(), Rights::READ | Rights::MAP)?;
    let theirs = call.join().map_err(|failure| failure.error)?;
    equal!(theirs.size(), Ok(8192));
    equal!(theirs.write(0, b"no"), Err(Error::MissingRight));
    equal!(
        theirs.duplicate(Rights::READ).map(drop),
        Err(Error::MissingRight)
    );
    Ok(())
}

fn a_handle_is_the_answer_where_one_is_expected() -> Outcome {
    let desk = Desk::new()?;
    let mut queue = IoQueue::new(4, 0)?;
    let memory = Memory::new(4096)?;
    let handle = memory.handle();
    for operation in [
        Operation::Read,
        Operation::Write,
        Operation::GetMeta,
        Operation::SetMeta,
        Operation::Destroy,
    ] {
        let used = own_process().meta(driver_sdk::abi::object::ProcessMeta::HandlesUsed)?;
        submit(
            &mut queue,
            &entry(desk.object.handle(), operation, 1, [0; 4]),
        )?;
        queue.enter(0, soon())?;
        let token = desk.request()?.token;
        for reply in [
            Reply::Handle(handle, Rights::READ),
            Reply::Object(3, Rights::READ),
        ] {
            equal!(
                desk.service.reply(token, reply),
                Err(Error::BadArgument),
                "{reply:?} to {operation:?}"
            );
        }
        let after = own_process().meta(driver_sdk::abi::object::ProcessMeta::HandlesUsed)?;
        equal!(after, used);
        desk.value(token, 0)?;
        equal!(completion(&mut queue)?.result(), Ok(0));
    }
    for operation in [Operation::Open, Operation::Share] {
        for number in [1, u64::MAX] {
            submit(
                &mut queue,
                &entry(desk.object.handle(), operation, 1, [0; 4]),
            )?;
            queue.enter(0, soon())?;
            let reply = Reply::Object(number, Rights::READ | Rights::WRITE);
            desk.service.reply(desk.request()?.token, reply)?;
            let object = Remote::from(own(completion(&mut queue)?.value));
            equal!(
                error_of(object.until(soon()).set_meta(1, 1)),
                Some(Error::MissingRight)
            );
            drop(object);
            desk.closed(number)?;
        }
    }
    Ok(())
}

/// A client could close its handle before the server took what it shared: a timer was freed twice,
/// a served object was closed while it was on its way, and nobody paid for a memory.
fn what_is_on_its_way_is_held() -> Outcome {
    leaves_nothing(|| {
        let (desk, other) = (Desk::new()?, Desk::new()?);
        let mut queue = IoQueue::new(8, 0)?;
        let (timer, memory) = (Timer::new()?, Memory::new(64 << 10)?);
        let used = || own_process().meta(driver_sdk::abi::object::ProcessMeta::MemoryUsed);
        let before = used()?;
        let remote = other.service.mint(12, ALL)?;
        let rights = Rights::MANAGE | Rights::WAIT;
        share(&mut queue, &desk.object, timer.handle(), rights, 1)?;
        share(&mut queue, &desk.object, memory.handle(), Rights::READ, 2)?;
        share(&mut queue, &desk.object, remote.handle(), Rights::READ, 3)?;
        drop((timer, memory, remote));
        equal!(used()?, before + 128, "a served object is charged");
        other.nothing()?;
        // Their places would be given to these.
        let others = [Timer::new()?, Timer::new()?];
        let message = desk.request()?;
        let timer = Timer::from(own(message.arguments[0]));
        timer.set(Instant::now())?;
        equal!(timer.wait(soon()), Ok(1));
        for other in &others {
            equal!(other.wait(Deadline::NOW), Err(Error::TimedOut));
        }
        desk.value(message.token, 0)?;
        let message = desk.request()?;
        equal!(Memory::from(own(message.arguments[0])).size(), Ok(64 << 10));
        desk.value(message.token, 0)?;
        let message = desk.request()?;
        let remote = own(message.arguments[0]);
        other.nothing()?;
        drop(remote);
        other.closed(12)?;
        other.nothing()?;
        desk.value(message.token, 0)?;
        for _ in 0..3 {
            equal!(completion(&mut queue)?.result(), Ok(0));
        }
        Ok(())
    })
}

fn what_never_arrives_is_let_go() -> Outcome {
    leaves_nothing(|| {
        let (desk, other) = (Desk::new()?, Desk::new()?);
        let mut queue = IoQueue::new(8, 0)?;
        let remote = other.service.mint(12, ALL)?;
        for key in 0..3 {
            share(&mut queue, &desk.object, remote.handle(), ALL, key)?;
        }
        drop(remote);
        other.nothing()?;
        // Cancelled, ended with its service, and forgotten with its queue.
        equal!(queue.cancel(0), Ok(false));
        other.nothing()?;
        let mut second = IoQueue::new(8, 0)?;
        share(
            &mut second,
            &desk.object,
            Event::new()?.as_ref().get(),
            Rights::WAIT,
            1,
        )?;
        drop(queue);
        other.closed(12)?;
        other.nothing()?;
        desk.service.end()?;
        equal!(completion(&mut second)?.result(), Err(Error::ServerGone));
        Ok(())
    })
}

/// Fills this process's table of handles.
fn full_table() -> Outcome<Vec<Memory>> {
    let memory = Memory::new(4096)?;
    let mut copies = Vec::with_capacity(4096);
    loop {
        match memory.duplicate(Rights::READ) {
            Ok(copy) => copies.push(copy),
            Err(error) => {
                equal!(error, Error::LimitReached);
                copies.push(memory);
                return Ok(copies);
            }
        }
    }
}

fn a_full_table_is_told_to_the_client() -> Outcome {
    leaves_nothing(|| {
        let desk = Desk::new()?;
        let mut queue = IoQueue::new(8, 0)?;
        let event = Event::new()?;
        let lent = desk.service.mint(3, ALL)?;
        share(&mut queue, &lent, event.as_ref().get(), Rights::WAIT, 1)?;
        drop(lent);
        submit(
            &mut queue,
            &entry(desk.object.handle(), Operation::Open, 2, [0; 4]),
        )?;
        queue.enter(0, soon())?;
        let copies = full_table()?;
        // The server's table has no room for the event: the next message is the next request. The
        // object was closed before, so the notice of that is first now.
        let message = desk.request()?;
        equal!(message.what.operation(), Operation::Open as u64);
        equal!(completion(&mut queue)?.result(), Err(Error::LimitReached));
        desk.closed(3)?;
        // The client's table has none for an object: the server hears that it is closed.
        let reply = Reply::Object(4, ALL);
        desk.service.reply(message.token, reply)?;
        equal!(completion(&mut queue)?.result(), Err(Error::LimitReached));
        desk.closed(4)?;
        drop(copies);
        desk.nothing()
    })
}

/// An object that could not be put into the caller's table stayed: its places among the requests
/// could not be had again, and its memory was charged for ever.
fn nothing_is_left_of_what_finds_no_room() -> Outcome {
    leaves_nothing(|| {
        let own = own_process().handle();
        let copies = full_table()?;
        for _ in 0..50 {
            for (kind, b) in [
                (CreateKind::IoQueue, 64),
                (CreateKind::Timer, 0),
                (CreateKind::Service, 0),
                (CreateKind::Event, 0),
                (CreateKind::Processes, 0),
            ] {
                let created = raw::do_io(own, Operation::Create, [kind as u64, b, 0, 0]);
                equal!(created, Err(Error::LimitReached), "{kind:?}");
            }
        }
        drop(copies);
        let queues = [(); 3].map(|()| IoQueue::new(64, 0));
        check!(queues.iter().all(Result::is_ok), "{queues:?}");
        Ok(())
    })
}

fn a_closed_notice_is_the_last_of_an_object() -> Outcome {
    let desk = Desk::new()?;
    let mut queue = IoQueue::new(4, 0)?;
    let object = desk.service.mint(5, ALL)?;
    let second = object.duplicate(ALL)?;
    drop(object);
    desk.nothing()?;
    submit(
        &mut queue,
        &entry(second.handle(), Operation::GetMeta, 1, [0; 4]),
    )?;
    queue.enter(0, soon())?;
    drop(second);
    // The request holds it.
    let token = desk.request()?.token;
    desk.nothing()?;
    desk.value(token, 1)?;
    desk.closed(5)?;
    equal!(completion(&mut queue)?.result(), Ok(1));
    desk.nothing()
}

fn closed_notices_are_never_lost() -> Outcome {
    const COUNT: u64 = 100;
    leaves_nothing(|| {
        let service = Service::new()?;
        let mut queue = IoQueue::new(2, 4)?;
        service.bind(&queue)?;
        let objects: Result<Vec<_>, _> = (0..COUNT).map(|n| service.mint(n, ALL)).collect();
        drop(objects?);
        let mut seen = [0u8; COUNT as usize];
        for _ in 0..COUNT {
            let completion = completion(&mut queue)?;
            check!(completion.is_message());
            seen[completion.user_data as usize] += 1;
        }
        equal!(seen, [1; COUNT as usize]);
        check!(queue.enter(1, Deadline::NOW) == Err(Error::TimedOut));
        Ok(())
    })
}

fn an_event_is_signalled_at_the_end_of_the_service() -> Outcome {
    let desk = Desk::new()?;
    let mut queue = IoQueue::new(4, 0)?;
    let event = ManuallyDrop::new(Event::new()?);
    let forgotten = Event::new()?;
    let lent = desk.service.mint(3, ALL)?;
    for (object, event) in [(&*desk.object, &*event), (&lent, &forgotten)] {
        share(&mut queue, object, event.as_ref().get(), Rights::READ, 1)?;
        let message = desk.request()?;
        drop(own(message.arguments[0]));
        desk.value(message.token, 0)?;
        completion(&mut queue)?;
    }
    drop(lent);
    desk.closed(3)?;
    equal!(event.wait(Deadline::NOW), Err(Error::TimedOut));
    desk.service.end()?;
    equal!(event.wait(Deadline::NOW), Ok(1));
    equal!(forgotten.wait(Deadline::NOW), Err(Error::TimedOut));
    drop(ManuallyDrop::into_inner(event));
    Ok(())
}

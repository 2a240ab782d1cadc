//! Operations on served objects, by `do_io` and by a queue: what reaches the server, with which
//! rights, and what comes back.

use driver_sdk::{
    abi::{
        Call, Handle, Rights,
        call::{OPERATION_COUNT, Operation, TIMED, TRACED},
        object::CreateKind,
        service::{FIRST_SERVED_KIND, Message, Reply, Token},
    },
    prelude::*,
    rt::object::{IoQueue, Operations, Service},
};

use crate::{
    harness::{Outcome, check, equal, tests},
    raw,
    serving::{ALL, Desk, by_queue, completion, entry, error_of, soon, submit},
};

tests![
    every_operation_reaches_the_server_with_its_arguments,
    every_operation_needs_its_right,
    the_short_ways_check_rights_too,
    what_no_server_sees_is_refused,
    replies_may_be_late_out_of_order_and_from_another_thread,
    an_error_comes_with_a_number,
    a_reply_is_taken_once,
    a_token_is_good_for_its_service_only,
    an_answer_after_the_client_gave_up_is_not_found,
    minted_handles_are_as_the_server_says,
    a_served_handle_is_closed_by_a_queue,
];

/// Operations with all of their arguments, and those that the server gets.
fn operations() -> [(Operation, [u64; 4], [u64; 3]); 9] {
    let create = CreateKind::Memory as u64;
    [
        (Operation::Open, [0, 0, 5, 6], [0, 0, 5]),
        (Operation::Create, [create, 8, 9, 6], [create, 8, 9]),
        (
            Operation::Create,
            [FIRST_SERVED_KIND, 0, 0, 6],
            [FIRST_SERVED_KIND, 0, 0],
        ),
        (Operation::Destroy, [1, 2, 3, 4], [1, 2, 3]),
        (Operation::Read, [1, 2, 3, 9], [1, 2, 3]),
        (Operation::Write, [1, 2, 3, 0xffff], [1, 2, 3]),
        (Operation::GetMeta, [1, 2, 3, 4], [1, 2, 3]),
        (Operation::SetMeta, [u64::MAX, 2, 3, 4], [u64::MAX, 2, 3]),
        (Operation::Share, [0, 2, 3, 4], [0, 2, 3]),
    ]
}

fn registration(operation: Operation, arguments: [u64; 4]) -> u16 {
    match operation {
        Operation::Read | Operation::Write => arguments[3] as u16,
        _ => 0,
    }
}

fn is_as_sent(
    message: &Message,
    operation: Operation,
    arguments: [u64; 4],
    expected: [u64; 3],
) -> Outcome {
    equal!(message.what.operation(), operation as u64);
    equal!(message.what.rights(), ALL);
    equal!(message.object, 7);
    equal!(message.arguments, expected, "arguments of {operation:?}");
    let number = registration(operation, arguments);
    equal!(message.what.registration(), number);
    Ok(())
}

fn every_operation_reaches_the_server_with_its_arguments() -> Outcome {
    let desk = Desk::new()?;
    let mut queue = IoQueue::new(4, 0)?;
    let handle = desk.object.as_ref().as_ref().get();
    for (operation, arguments, expected) in operations() {
        // SAFETY: no address is among the arguments.
        let call =
            desk.call(move |object| unsafe { object.with(77, soon()).ask(operation, arguments) });
        let message = desk.request()?;
        is_as_sent(&message, operation, arguments, expected)?;
        equal!(message.trace, 77);
        desk.value(message.token, 1234)?;
        check!(call.join() == Ok(1234), "{operation:?} by do_io");

        let mut submission = entry(handle, operation, 5, arguments);
        submission.trace = 78;
        submit(&mut queue, &submission)?;
        equal!(queue.enter(0, soon())?, 0);
        let message = desk.request()?;
        is_as_sent(&message, operation, arguments, expected)?;
        equal!(message.trace, 78);
        desk.value(message.token, 4321)?;
        let completion = completion(&mut queue)?;
        equal!(
            (completion.user_data, completion.trace, completion.result()),
            (5, 78, Ok(4321))
        );
    }
    Ok(())
}

fn every_operation_needs_its_right() -> Outcome {
    let desk = Desk::new()?;
    let mut queue = IoQueue::new(4, 0)?;
    for (operation, arguments, _) in operations() {
        let right = right_of(operation);
        let without = desk.object.duplicate(ALL - right)?;
        equal!(
            raw::do_io(without.handle(), operation, arguments),
            Err(Error::MissingRight)
        );
        equal!(
            by_queue(&mut queue, without.handle(), operation, arguments)?,
            Err(Error::MissingRight)
        );
        desk.nothing()?;
        // It alone is enough, and the server sees no more than it.
        let only = desk.service.mint(9, right)?;
        submit(&mut queue, &entry(only.handle(), operation, 1, arguments))?;
        queue.enter(0, soon())?;
        let message = desk.request()?;
        equal!((message.object, message.what.rights()), (9, right));
        desk.value(message.token, 0)?;
        equal!(completion(&mut queue)?.result(), Ok(0));
        drop(only);
        desk.closed(9)?;
    }
    Ok(())
}

/// A server that waits on the same core, and one that is bound to a queue, are reached by shorter
/// ways through the kernel.
fn the_short_ways_check_rights_too() -> Outcome {
    let desk = Desk::new()?;
    let serving = desk.service.clone();
    let on_one = || thread::Builder::new().affinity(1);
    let server = on_one().spawn(move || {
        let mut answer = None;
        let mut seen = 0;
        while let Ok(message) = serving.serve(answer, Deadline::NEVER) {
            seen += u64::from(message.token != Token::NONE);
            answer = (message.token != Token::NONE).then_some((
                message.token,
                Reply::Value(message.what.rights().bits().into()),
            ));
        }
        seen
    })?;
    let (object, service) = (desk.object.clone(), desk.service.clone());
    let client = on_one().spawn(move || -> Outcome<u64> {
        // None is closed meanwhile: the server would be busy with the notice.
        let mut kept = alloc::vec::Vec::new();
        for (operation, arguments, _) in operations() {
            let right = right_of(operation);
            let without = object.duplicate(ALL - right)?;
            equal!(
                raw::do_io(without.handle(), operation, arguments),
                Err(Error::MissingRight)
            );
            let only = service.mint(9, right)?;
            equal!(
                raw::do_io(only.handle(), operation, arguments),
                Ok(right.bits().into())
            );
            kept.extend([without, only]);
        }
        Ok(kept.len() as u64 / 2)
    })?;
    let asked = client.join()?;
    desk.service.end()?;
    equal!(server.join(), asked);

    let desk = Desk::new()?;
    let (mut server, mut queue) = (IoQueue::new(16, 32)?, IoQueue::new(16, 32)?);
    desk.service.bind(&server)?;
    for (operation, arguments, expected) in operations() {
        let right = right_of(operation);
        let without = desk.object.duplicate(ALL - right)?;
        let only = desk.object.duplicate(right)?;
        submit(
            &mut queue,
            &entry(without.handle(), operation, 1, arguments),
        )?;
        submit(&mut queue, &entry(only.handle(), operation, 2, arguments))?;
        equal!(queue.enter(0, soon()), Ok(1));
        let refused = queue.pop()?.ok_or("a completion is missing")?;
        equal!(
            (refused.user_data, refused.result()),
            (1, Err(Error::MissingRight))
        );
        let message = completion(&mut server)?;
        equal!(message.what().rights(), right);
        equal!(message.arguments, expected);
        let number = registration(operation, arguments);
        equal!(message.what().registration(), number);
        // Only right tokens are taken there, too.
        let service = desk.service.handle();
        let wrong = message.value + (1 << 32);
        for (user_data, token) in [(3, wrong), (4, message.value), (5, message.value)] {
            let reply = entry(service, Operation::Reply, user_data, [token, 0, 6, 0]);
            submit(&mut server, &reply)?;
        }
        server.enter(2, soon())?;
        for user_data in [3, 5] {
            let done = server.pop()?.ok_or("a completion is missing")?;
            equal!(
                (done.user_data, done.result()),
                (user_data, Err(Error::NotFound))
            );
        }
        equal!(completion(&mut queue)?.result(), Ok(6));
    }
    Ok(())
}

fn right_of(operation: Operation) -> Rights {
    match operation {
        Operation::Open | Operation::Read | Operation::GetMeta => Rights::READ,
        Operation::Write => Rights::WRITE,
        Operation::Share => Rights::MAP,
        _ => Rights::MANAGE,
    }
}

fn what_no_server_sees_is_refused() -> Outcome {
    let desk = Desk::new()?;
    let mut queue = IoQueue::new(4, 0)?;
    let handle = desk.object.as_ref().as_ref().get();
    let own = u64::from(handle.raw());
    let call = |operation: u64| raw::call(Call::DoIo, [own, operation, 0, 0, 0, 0]);
    for operation in Operation::Close as u64..OPERATION_COUNT + 3 {
        equal!(call(operation), Err(Error::BadOperation));
        equal!(call(operation | TRACED), Err(Error::BadOperation));
    }
    for operation in [1 << 10, 1 << 32, u64::MAX, !(TRACED | TIMED)] {
        equal!(call(operation), Err(Error::BadOperation));
    }
    for (operation, error) in [
        (Operation::Cancel, Error::BadOperation),
        (Operation::Reply, Error::BadOperation),
        (Operation::Wait, Error::WrongObject),
    ] {
        equal!(by_queue(&mut queue, handle, operation, [0; 4])?, Err(error));
    }
    let mut unknown = entry(handle, Operation::Read, 3, [0; 4]);
    for operation in [OPERATION_COUNT as u32, u32::MAX] {
        unknown.operation = operation;
        submit(&mut queue, &unknown)?;
        equal!(completion(&mut queue)?.result(), Err(Error::BadOperation));
    }
    // Only a wait has a deadline, and no registration has more than 16 bits.
    let mut timed = entry(handle, Operation::GetMeta, 3, [0; 4]);
    timed.deadline = 1;
    submit(&mut queue, &timed)?;
    equal!(completion(&mut queue)?.result(), Err(Error::BadArgument));
    for operation in [Operation::Read, Operation::Write] {
        let arguments = [0, 0, 0, 1 << 16];
        equal!(
            raw::do_io(handle, operation, arguments),
            Err(Error::BadArgument)
        );
        equal!(
            by_queue(&mut queue, handle, operation, arguments)?,
            Err(Error::BadArgument)
        );
    }
    // Nothing of a stale handle.
    drop(desk.object.duplicate(ALL)?);
    let stale = Handle::from_raw(handle.raw() + (1 << 16));
    equal!(
        by_queue(&mut queue, stale, Operation::GetMeta, [0; 4])?,
        Err(Error::BadHandle)
    );
    desk.nothing()
}

fn replies_may_be_late_out_of_order_and_from_another_thread() -> Outcome {
    let desk = Desk::new()?;
    let calls: alloc::vec::Vec<_> = (0..8).map(|key| desk.get_meta(key)).collect();
    let mut tokens = [Token::NONE; 8];
    for _ in 0..8 {
        let message = desk.request()?;
        tokens[message.arguments[0] as usize] = message.token;
    }
    equal!(desk.counts()?, (0, 8));
    let service = desk.service.clone();
    let answering = thread::spawn(move || {
        let mut replies = tokens.iter().enumerate().rev();
        replies.try_for_each(|(key, &token)| service.reply(token, Reply::Value(100 + key as u64)))
    });
    check!(answering.join() == Ok(()));
    for (key, call) in calls.into_iter().enumerate() {
        check!(call.join() == Ok(100 + key as u64));
    }
    equal!(desk.counts()?, (0, 0));
    Ok(())
}

fn an_error_comes_with_a_number() -> Outcome {
    let desk = Desk::new()?;
    let call = desk.get_meta(1);
    let token = desk.request()?.token;
    desk.service
        .reply(token, Reply::Error(Error::Failed, 4711))?;
    let failure = call.join().err().ok_or("the call did not fail")?;
    equal!((failure.error, failure.detail), (Error::Failed, 4711));
    // No error and no kind of reply: nothing has happened to the request.
    let call = desk.get_meta(1);
    let token = desk.request()?.token;
    let service = desk.service.handle();
    for status in [0xfff, 3 << 16, 1 << 40, u64::MAX] {
        let reply = raw::do_io(service, Operation::Reply, [token.0, status, 0, 0]);
        equal!(reply, Err(Error::BadArgument));
    }
    for status in [1 << 16, 2 << 16] {
        let reply = raw::do_io(service, Operation::Reply, [token.0, status, 1, 1 << 40]);
        equal!(reply, Err(Error::BadArgument), "rights that do not exist");
    }
    desk.value(token, 3)?;
    check!(call.join() == Ok(3));
    Ok(())
}

fn a_reply_is_taken_once() -> Outcome {
    let desk = Desk::new()?;
    let mut queue = IoQueue::new(4, 0)?;
    let service = desk.service.handle();
    let call = desk.get_meta(1);
    let token = desk.request()?.token;
    desk.value(token, 1)?;
    equal!(desk.value(token, 2), Err(Error::NotFound));
    let again = desk.service.serve(Some((token, Reply::Value(2))), soon());
    equal!(again, Err(Error::NotFound));
    check!(call.join() == Ok(1));
    equal!(desk.value(token, 2), Err(Error::NotFound));
    // Nobody's: of any asker, any slot, any number.
    let call = desk.get_meta(1);
    let mine = desk.request()?.token;
    for forged in [
        0,
        u64::MAX,
        mine.0 + (1 << 32),
        mine.0 ^ 1,
        mine.0 | 1 << 16,
        mine.0 | 0xffff,
        1 << 32 | 4096,
        1 << 32 | 12_287,
        1 << 32 | 12_288,
    ] {
        equal!(
            desk.value(Token(forged), 9),
            Err(Error::NotFound),
            "token {forged:#x}"
        );
        let by_queue = by_queue(&mut queue, service, Operation::Reply, [forged, 0, 9, 0])?;
        equal!(by_queue, Err(Error::NotFound), "token {forged:#x}");
    }
    desk.value(mine, 5)?;
    check!(call.join() == Ok(5));
    Ok(())
}

fn a_token_is_good_for_its_service_only() -> Outcome {
    let (desk, other) = (Desk::new()?, Service::new()?);
    let mut queue = IoQueue::new(4, 0)?;
    let call = desk.get_meta(1);
    let token = desk.request()?.token;
    equal!(other.reply(token, Reply::Value(9)), Err(Error::NotFound));
    let reply = [token.0, 0, 9, 0];
    equal!(
        by_queue(&mut queue, other.handle(), Operation::Reply, reply)?,
        Err(Error::NotFound)
    );
    let less = desk.service.duplicate(Rights::READ | Rights::WAIT)?;
    equal!(less.reply(token, Reply::Value(9)), Err(Error::MissingRight));
    equal!(
        by_queue(&mut queue, less.handle(), Operation::Reply, reply)?,
        Err(Error::MissingRight)
    );
    equal!(
        less.serve(None, Deadline::NOW),
        Err(Error::MissingRight),
        "serving needs the right to answer"
    );
    let less = desk.service.duplicate(Rights::WRITE)?;
    equal!(less.serve(None, Deadline::NOW), Err(Error::MissingRight));
    equal!(desk.counts()?, (0, 1));
    // An answer by a queue has a completion only if it is refused.
    submit(
        &mut queue,
        &entry(less.handle(), Operation::Reply, 1, [token.0, 0, 8, 0]),
    )?;
    equal!(queue.enter(0, soon())?, 0);
    check!(call.join() == Ok(8));
    check!(queue.pop()?.is_none());
    Ok(())
}

fn an_answer_after_the_client_gave_up_is_not_found() -> Outcome {
    let desk = Desk::new()?;
    let hurried = desk.call(|object| {
        let deadline = Deadline::after(core::time::Duration::from_millis(2));
        object.until(deadline).get_meta(1)
    });
    let token = desk.request()?.token;
    equal!(error_of(hurried.join()), Some(Error::TimedOut));
    equal!(desk.counts()?, (0, 0));
    equal!(desk.value(token, 1), Err(Error::NotFound));
    // One that nobody has taken goes away as well.
    let hurried = desk
        .object
        .until(Deadline::after(core::time::Duration::from_millis(2)));
    equal!(error_of(hurried.get_meta(1)), Some(Error::TimedOut));
    equal!(
        error_of(desk.object.until(Deadline::NOW).get_meta(1)),
        Some(Error::TimedOut)
    );
    desk.nothing()
}

fn minted_handles_are_as_the_server_says() -> Outcome {
    let desk = Desk::new()?;
    for rights in [Rights::empty(), Rights::READ, ALL, Rights::all()] {
        let object = desk.service.mint(u64::MAX, rights)?;
        for right in Rights::all().iter() {
            let more = object.duplicate(right);
            let allowed = rights.contains(right) && rights.contains(Rights::DUPLICATE);
            equal!(more.is_ok(), allowed, "{right:?} of {rights:?}");
        }
        drop(object);
        desk.closed(u64::MAX)?;
    }
    let service = desk.service.handle();
    let mint = |rights| raw::do_io(service, Operation::Open, [1, rights, 0, 0]);
    equal!(mint(1 << 31), Err(Error::BadArgument));
    equal!(mint(1 << 40), Err(Error::BadArgument));
    let less = desk
        .service
        .duplicate(Rights::all() & (Rights::WRITE | Rights::WAIT | Rights::READ))?;
    equal!(less.mint(1, ALL).map(drop), Err(Error::MissingRight));
    equal!(less.end(), Err(Error::MissingRight));
    // No notice of what was never made.
    desk.nothing()?;
    Ok(())
}

fn a_served_handle_is_closed_by_a_queue() -> Outcome {
    let desk = Desk::new()?;
    let mut queue = IoQueue::new(4, 0)?;
    let object = desk.service.mint(8, ALL)?;
    let handle = core::mem::ManuallyDrop::new(object).handle();
    equal!(
        by_queue(&mut queue, handle, Operation::Close, [0; 4])?,
        Ok(0)
    );
    desk.closed(8)?;
    equal!(
        by_queue(&mut queue, handle, Operation::Close, [0; 4])?,
        Err(Error::BadHandle)
    );
    Ok(())
}

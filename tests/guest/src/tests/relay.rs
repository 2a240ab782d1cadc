//! Requests that go from queue to queue in batches, and their answers.

use alloc::vec::Vec;

use driver_sdk::{
    abi::{
        Handle, Rights,
        call::Operation,
        queue::{Completion, Submission},
        service::{Notice, Reply, ServiceMeta, Token},
    },
    prelude::*,
    rt::object::{Event, IoQueue, Remote, Service},
};

use crate::{
    harness::{Outcome, check, equal, tests},
    serving::{ALL, Desk, completion, entry, soon, submit},
};

tests![
    messages_leave_room_for_completions,
    answers_come_back_to_whoever_asked,
    an_object_is_closed_after_its_last_answer,
    a_batch_stops_at_what_goes_another_way,
    answers_that_are_none_leave_the_request,
    what_was_passed_on_can_be_cancelled,
    a_service_that_ends_answers_what_was_passed_on,
];

/// A desk whose messages arrive in a queue.
fn desk(submissions: u32, completions: u32) -> Outcome<(Desk, IoQueue)> {
    let desk = Desk::new()?;
    let queue = IoQueue::new(submissions, completions)?;
    desk.service.bind(&queue)?;
    Ok((desk, queue))
}

fn get_meta(object: &Remote, user_data: u64, key: u64) -> Submission {
    let entry = entry(
        object.handle(),
        Operation::GetMeta,
        user_data,
        [key, 0, 0, 0],
    );
    Submission {
        trace: user_data ^ 0x55,
        ..entry
    }
}

fn submit_all(queue: &mut IoQueue, entries: impl IntoIterator<Item = Submission>) -> Outcome {
    for entry in entries {
        submit(queue, &entry)?;
    }
    queue.enter(0, soon())?;
    Ok(())
}

fn all(queue: &mut IoQueue) -> Outcome<Vec<Completion>> {
    let mut all = Vec::new();
    while let Some(completion) = queue.pop()? {
        all.push(completion);
    }
    Ok(all)
}

fn answer(service: &Service, token: Token, value: u64) -> Submission {
    let [status, value, extra] = Reply::Value(value).to_raw();
    let arguments = [token.0, status, value, extra];
    entry(service.handle(), Operation::Reply, u64::MAX, arguments)
}

/// The places of completions that are still to come are not given to messages.
fn messages_leave_room_for_completions() -> Outcome {
    let (desk, mut server) = desk(4, 4)?;
    let event = Event::new()?;
    for number in 0..3 {
        check!(server.submit_wait(&event, number, soon()).is_ok());
    }
    equal!(server.enter(0, soon()), Ok(0));
    let mut client = IoQueue::new(8, 8)?;
    submit_all(
        &mut client,
        (0..4).map(|key| get_meta(&desk.object, key, key)),
    )?;
    equal!(desk.counts()?, (3, 1));
    for _ in 0..3 {
        event.signal()?;
    }
    let (mut waits, mut keys) = (0, Vec::new());
    while waits < 3 || keys.len() < 4 {
        let completion = completion(&mut server)?;
        match completion.is_message() {
            true => keys.push(completion.arguments[0]),
            false => waits += 1,
        }
    }
    equal!((waits, keys), (3, (0..4).collect()));
    Ok(())
}

/// Two clients, two objects each, in turns; answered from the last to the first.
fn answers_come_back_to_whoever_asked() -> Outcome {
    let (desk, mut server) = desk(64, 64)?;
    let other = desk.service.mint(8, ALL)?;
    let mut clients = [IoQueue::new(16, 16)?, IoQueue::new(16, 16)?];
    for (client, queue) in clients.iter_mut().enumerate() {
        let entries = (0..16u64).map(|number| {
            let object = [&desk.object, &other][(number / 3 % 2) as usize];
            get_meta(object, number, 100 * client as u64 + number)
        });
        submit_all(queue, entries)?;
    }
    let messages = all(&mut server)?;
    equal!(messages.len(), 32);
    equal!(desk.counts()?, (0, 32));
    for (index, message) in messages.iter().enumerate() {
        let (client, number) = (index as u64 / 16, index as u64 % 16);
        equal!(message.user_data, 7 + number / 3 % 2);
        equal!(message.arguments, [100 * client + number, 0, 0]);
        equal!(message.trace, number ^ 0x55);
        let what = message.what();
        equal!((what.notice(), what.rights()), (Notice::Request, ALL));
        equal!(what.operation(), Operation::GetMeta as u64);
    }
    let answers = messages.iter().rev();
    let answers = answers.map(|m| answer(&desk.service, m.token(), 1000 + m.arguments[0]));
    submit_all(&mut server, answers)?;
    equal!(desk.counts()?, (0, 0));
    for (client, queue) in clients.iter_mut().enumerate() {
        for number in (0..16).rev() {
            let done = queue.pop()?.ok_or("a completion is missing")?;
            equal!((done.user_data, done.trace), (number, number ^ 0x55));
            equal!(done.result(), Ok(1000 + 100 * client as u64 + number));
        }
        check!(queue.pop()?.is_none());
    }
    check!(server.pop()?.is_none());
    Ok(())
}

fn an_object_is_closed_after_its_last_answer() -> Outcome {
    let (desk, mut server) = desk(8, 16)?;
    let mut client = IoQueue::new(8, 8)?;
    let lent = desk.service.mint(9, Rights::READ)?;
    submit_all(&mut client, (0..4).map(|key| get_meta(&lent, key, key)))?;
    drop(lent);
    let messages = all(&mut server)?;
    equal!(messages.len(), 4);
    // One of them by a call, so that it goes the other way.
    desk.value(messages[1].token(), 1)?;
    for index in [0, 3] {
        let answer = answer(&desk.service, messages[index].token(), index as u64);
        submit_all(&mut server, [answer])?;
        check!(server.pop()?.is_none());
    }
    submit_all(&mut server, [answer(&desk.service, messages[2].token(), 2)])?;
    let closed = server.pop()?.ok_or("the object is not closed")?;
    equal!(closed.what().notice(), Notice::Closed);
    equal!((closed.user_data, closed.token()), (9, Token::NONE));
    let done: Vec<_> = all(&mut client)?.iter().map(|c| c.user_data).collect();
    equal!(done, [1, 0, 3, 2]);
    Ok(())
}

/// Of a batch, what has no right, a deadline, or goes elsewhere has its own result, and what is
/// behind it goes on.
fn a_batch_stops_at_what_goes_another_way() -> Outcome {
    let (desk, mut server) = desk(16, 16)?;
    let weak = desk.service.mint(8, Rights::WRITE)?;
    let mut client = IoQueue::new(16, 16)?;
    let object = desk.object.handle();
    let late = Submission {
        deadline: 1,
        ..get_meta(&desk.object, 3, 3)
    };
    let read = |number, registration| {
        entry(
            object,
            Operation::Read,
            number,
            [number, 0, 512, registration],
        )
    };
    let entries = [
        get_meta(&desk.object, 0, 0),
        get_meta(&weak, 1, 1),
        read(2, 1),
        late,
        read(4, 0xffff),
        read(5, 0x1_0000),
        entry(object, Operation::Write, 6, [6, 0, 512, 2]),
        entry(Handle::NULL, Operation::Nothing, 7, [0; 4]),
        entry(object, Operation::SetMeta, 8, [8, 9, 0, 0]),
        entry(Handle::NULL, Operation::GetMeta, 9, [0; 4]),
    ];
    submit_all(&mut client, entries)?;
    let seen: Vec<_> = all(&mut server)?
        .iter()
        .map(|m| {
            (
                m.arguments[0],
                m.what().operation(),
                m.what().registration(),
            )
        })
        .collect();
    let (read, write) = (Operation::Read as u64, Operation::Write as u64);
    equal!(
        seen,
        [
            (0, Operation::GetMeta as u64, 0),
            (2, read, 1),
            (4, read, 0xffff),
            (6, write, 2),
            (8, Operation::SetMeta as u64, 0),
        ]
    );
    let done: Vec<_> = all(&mut client)?
        .iter()
        .map(|c| (c.user_data, c.result()))
        .collect();
    equal!(
        done,
        [
            (1, Err(Error::MissingRight)),
            (3, Err(Error::BadArgument)),
            (5, Err(Error::BadArgument)),
            (7, Ok(0)),
            (9, Err(Error::BadHandle)),
        ]
    );
    Ok(())
}

/// Answers with a status that is none, to a token that is none, and twice.
fn answers_that_are_none_leave_the_request() -> Outcome {
    let (desk, mut server) = desk(16, 16)?;
    let mut client = IoQueue::new(4, 4)?;
    submit_all(
        &mut client,
        (0..2).map(|key| get_meta(&desk.object, key, key)),
    )?;
    let tokens: Vec<_> = all(&mut server)?.iter().map(|m| m.token()).collect();
    let service = desk.service.handle();
    let raw = |number, arguments| entry(service, Operation::Reply, number, arguments);
    let entries = [
        answer(&desk.service, tokens[0], 1),
        raw(4, [tokens[0].0, 0, 0, 0]),
        raw(1, [tokens[1].0, 0xfffe, 0, 0]),
        raw(2, [tokens[1].0 ^ 1 << 40, 0, 0, 0]),
        raw(3, [tokens[1].0 | 1 << 16, 0, 0, 0]),
        raw(5, [u64::MAX, 0, 0, 0]),
    ];
    submit_all(&mut server, entries)?;
    let refused: Vec<_> = all(&mut server)?
        .iter()
        .map(|c| (c.user_data, c.result()))
        .collect();
    let missing = Err(Error::NotFound);
    equal!(
        refused,
        [
            (4, missing),
            (1, Err(Error::BadArgument)),
            (2, missing),
            (3, missing),
            (5, missing),
        ]
    );
    equal!(desk.counts()?, (0, 1));
    let failed = [tokens[1].0, Error::Busy as u64, 77, 0];
    submit_all(&mut server, [raw(6, failed)])?;
    let done: Vec<_> = all(&mut client)?
        .iter()
        .map(|c| (c.user_data, c.result(), c.value))
        .collect();
    equal!(done, [(0, Ok(1), 1), (1, Err(Error::Busy), 77)]);
    Ok(())
}

/// In the middle of a batch, one that names registered memory and one that does not.
fn what_was_passed_on_can_be_cancelled() -> Outcome {
    let (desk, mut server) = desk(8, 8)?;
    let mut client = IoQueue::new(8, 8)?;
    let registered = entry(desk.object.handle(), Operation::Write, 2, [2, 0, 512, 3]);
    let plain = |number| get_meta(&desk.object, number, number);
    submit_all(&mut client, [plain(0), plain(1), registered, plain(3)])?;
    let tokens: Vec<_> = all(&mut server)?.iter().map(|m| m.token()).collect();
    equal!(client.cancel(1), Ok(false));
    equal!(client.cancel(2), Ok(true));
    equal!(client.cancel(1), Err(Error::NotFound));
    let told = server.pop()?.ok_or("the cancellation is not told")?;
    equal!(told.what().notice(), Notice::Cancelled);
    equal!(told.token(), tokens[2]);
    let answers = tokens.iter().map(|&token| answer(&desk.service, token, 5));
    submit_all(&mut server, answers)?;
    // That of the one that was taken back at once comes too late.
    let late: Vec<_> = all(&mut server)?.iter().map(|c| c.result()).collect();
    equal!(late, [Err(Error::NotFound)]);
    let done: Vec<_> = all(&mut client)?
        .iter()
        .map(|c| (c.user_data, c.result()))
        .collect();
    let cancelled = (1, Err(Error::Cancelled));
    equal!(done, [cancelled, (0, Ok(5)), (2, Ok(5)), (3, Ok(5))]);
    equal!(desk.counts()?, (0, 0));
    Ok(())
}

fn a_service_that_ends_answers_what_was_passed_on() -> Outcome {
    let (desk, mut server) = desk(8, 8)?;
    let mut client = IoQueue::new(8, 8)?;
    submit_all(
        &mut client,
        (0..8).map(|key| get_meta(&desk.object, key, key)),
    )?;
    let token = server.pop()?.ok_or("a message is missing")?.token();
    submit_all(&mut server, [answer(&desk.service, token, 5)])?;
    equal!(desk.service.meta(ServiceMeta::Taken)?, 7);
    desk.service.end()?;
    equal!(client.enter(8, soon()), Ok(8));
    let results: Vec<_> = all(&mut client)?.iter().map(|c| c.result()).collect();
    equal!(results[0], Ok(5));
    check!(results[1..].iter().all(|&r| r == Err(Error::ServerGone)));
    // Nobody is left to be answered.
    submit_all(&mut client, [get_meta(&desk.object, 9, 9)])?;
    let gone = client.pop()?.map(|completion| completion.result());
    equal!(gone, Some(Err(Error::ServerGone)));
    Ok(())
}

//! Served objects: requests, answers, data, and the end of either side.

use alloc::sync::Arc;

use driver_sdk::{
    abi::{Rights, call::Operation, queue::Submission},
    prelude::*,
    rt::{
        object::{Event, IoQueue, Operations, Remote, Service},
        serve::{Answer, Ask, Server},
    },
};
use guest_harness::child::PATIENCE;

use crate::harness::{Outcome, check, equal, tests};

tests![
    a_value_comes_back_from_a_server,
    data_goes_both_ways_and_is_copied_once,
    a_queue_reaches_the_same_server,
    a_server_takes_requests_from_a_queue,
    events_hand_the_turn_back_and_forth,
];

const ALL: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MANAGE)
    .union(Rights::MAP)
    .union(Rights::PASS);

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

/// A server in a thread of its own, which answers until its service ends.
struct Echo {
    server: Arc<Server>,
    thread: Option<thread::JoinHandle<()>>,
    object: Remote,
}

impl Echo {
    fn start() -> Result<Self, Error> {
        let server = Arc::new(Server::new(Service::new()?, 4, 4096)?);
        let object = server.mint(7, ALL)?;
        let serving = server.clone();
        let thread = thread::spawn(move || {
            let mut stored = alloc::vec::Vec::new();
            let _ = serving.run(|request| match request.ask {
                Ask::GetMeta { key } => request.value(key + 1),
                Ask::Write { .. } => {
                    stored = request.bytes();
                    let length = stored.len() as u64;
                    request.value(length)
                }
                Ask::Read { .. } => request.reply_data(&stored),
                _ => request.refuse(Error::BadOperation),
            });
        });
        Ok(Self {
            server,
            thread: Some(thread),
            object,
        })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.server.service().end();
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}

fn a_value_comes_back_from_a_server() -> Outcome {
    let echo = Echo::start()?;
    for key in 0..100 {
        let object = echo.object.until(soon());
        check!(object.get_meta(key).is_ok_and(|value| value == key + 1));
    }
    let refused = echo.object.until(soon()).set_meta(1, 2);
    check!(refused.is_err_and(|failure| failure.error == Error::BadOperation));
    Ok(())
}

fn data_goes_both_ways_and_is_copied_once() -> Outcome {
    let echo = Echo::start()?;
    let object = echo.object.until(soon());
    for length in [0, 1, 63, 64, 65, 1000, 4095, 4096] {
        let sent: alloc::vec::Vec<u8> = (0..length).map(|n| (n * 7 + length) as u8).collect();
        check!(
            object
                .write(0, &sent)
                .is_ok_and(|written| written == length)
        );
        let mut got = alloc::vec![0; length];
        check!(object.read(0, &mut got).is_ok_and(|read| read == length));
        check!(sent == got, "{length} bytes");
    }
    let mut long = alloc::vec![0; 4097];
    check!(
        object
            .write(0, &long)
            .is_err_and(|failure| failure.error == Error::TooLong)
    );
    check!(
        object
            .read(0, &mut long)
            .is_err_and(|failure| failure.error == Error::TooLong)
    );
    Ok(())
}

fn a_queue_reaches_the_same_server() -> Outcome {
    let echo = Echo::start()?;
    let mut queue = IoQueue::new(32, 0)?;
    for round in 0..10u64 {
        for key in 0..32 {
            let entry = Submission::new(
                echo.object.handle(),
                Operation::GetMeta,
                key,
                [key + round, 0, 0, 0],
            );
            // SAFETY: no address is among the arguments.
            check!(unsafe { queue.submit(&entry) }.is_ok());
        }
        check!(queue.enter(32, soon())? >= 32);
        for key in 0..32 {
            let completion = queue.pop()?.ok_or("a completion is missing")?;
            equal!(completion.user_data, key);
            equal!(completion.result(), Ok(key + round + 1));
        }
        check!(queue.pop()?.is_none());
    }
    // Copied data: the read is given back when the queue is entered again.
    let sent = [0x5au8; 512];
    let mut got = [0u8; 512];
    let handle = echo.object.handle();
    let write = [0, sent.as_ptr() as u64, 512, 0];
    let read = [0, got.as_mut_ptr() as u64, 512, 0];
    // SAFETY: both arrays outlive the completions, which are waited for here.
    unsafe {
        check!(
            queue
                .submit(&Submission::new(handle, Operation::Write, 1, write))
                .is_ok()
        );
        check!(
            queue
                .submit(&Submission::new(handle, Operation::Read, 2, read))
                .is_ok()
        );
    }
    check!(queue.enter(2, soon())? >= 2);
    for user_data in [1, 2] {
        let completion = queue.pop()?.ok_or("a completion is missing")?;
        equal!(
            (completion.user_data, completion.result()),
            (user_data, Ok(512))
        );
    }
    equal!(got, sent);
    Ok(())
}

fn a_server_takes_requests_from_a_queue() -> Outcome {
    let server = Arc::new(Server::new(Service::new()?, 4, 4096)?);
    let object = server.mint(3, ALL)?;
    let serving = server.clone();
    let thread = thread::spawn(move || -> Result<u64, Error> {
        let mut queue = IoQueue::new(64, 0)?;
        serving.bind(&queue)?;
        let mut batches = 0;
        let mut open = true;
        while open {
            queue.enter(1, soon())?;
            batches += 1;
            while let Some(completion) = queue.pop()? {
                let Some((_, message)) = driver_sdk::rt::object::message(&completion) else {
                    continue;
                };
                let request = serving.accept(message);
                match request.ask {
                    Ask::GetMeta { key } => request.value(key * 2).submit(&mut queue),
                    Ask::Closed => open = false,
                    _ => drop(Answer::later()),
                }
            }
        }
        Ok(batches)
    });
    let mut queue = IoQueue::new(32, 0)?;
    for _ in 0..10 {
        for key in 0..32 {
            let entry = Submission::new(object.handle(), Operation::GetMeta, key, [key, 0, 0, 0]);
            // SAFETY: no address is among the arguments.
            check!(unsafe { queue.submit(&entry) }.is_ok());
        }
        check!(queue.enter(32, soon())? >= 32);
        for key in 0..32 {
            let completion = queue.pop()?.ok_or("a completion is missing")?;
            equal!(
                (completion.user_data, completion.result()),
                (key, Ok(key * 2))
            );
        }
    }
    check!(
        object
            .until(soon())
            .get_meta(21)
            .is_ok_and(|value| value == 42)
    );
    drop(object);
    let batches = thread.join()?;
    check!(batches >= 2, "{batches} batches");
    Ok(())
}

fn events_hand_the_turn_back_and_forth() -> Outcome {
    let (ping, pong) = (Arc::new(Event::new()?), Arc::new(Event::new()?));
    let (theirs, ours) = (ping.clone(), pong.clone());
    let thread = thread::spawn(move || {
        theirs.wait(soon()).is_ok()
            && (0..100).all(|_| ours.signal_and_wait(&theirs, soon()).is_ok())
    });
    for _ in 0..100 {
        ping.signal_and_wait(&pong, soon())?;
    }
    ping.signal()?;
    check!(thread.join());
    Ok(())
}

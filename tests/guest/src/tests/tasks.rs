//! The executor on the kernel's queue. What it promises about buffers is tested on the host, where
//! completions come in any order; here is what the kernel adds.

use alloc::{rc::Rc, sync::Arc, vec, vec::Vec};
use core::{
    cell::RefCell,
    future::poll_fn,
    task::{Poll, Waker},
    time::Duration,
};

use driver_sdk::{
    prelude::*,
    rt::{
        syscall::Failure,
        task::{Executor, Rejected, Request as TaskRequest, join, join_all, outcome},
    },
};
use guest_harness::child::{PATIENCE, leaves_nothing};

use crate::harness::{Outcome, check, equal, tests};

tests![
    tasks_read_and_write_objects_of_the_kernel,
    tasks_wait_for_all_kinds_of_things_at_once,
    a_full_queue_makes_tasks_wait_for_room,
    a_time_out_reports_and_the_buffer_comes_with_the_completion,
    another_thread_wakes_a_task,
    an_executor_that_is_dropped_takes_its_requests_back,
    client_and_server_are_tasks_of_one_executor,
    a_request_to_stop_ends_the_executor,
];

const ALL: Rights = Rights::READ.union(Rights::WRITE).union(Rights::MANAGE);

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

fn tasks_read_and_write_objects_of_the_kernel() -> Outcome {
    leaves_nothing(|| {
        let mut executor = Executor::new(8)?;
        let handle = executor.handle();
        let memory = Rc::new(Memory::new(64 << 10)?);
        // Eight tasks of eight requests on a queue for eight: each in its own part.
        let tasks: Vec<_> = (0..8u64)
            .map(|part| {
                let (tasks, memory) = (handle.clone(), memory.clone());
                handle.spawn(async move {
                    for round in 0..8u64 {
                        let offset = (part * 8 + round) * 1024;
                        let bytes = vec![(part * 8 + round) as u8; 1024];
                        let write = TaskRequest::write(&*memory, offset, bytes);
                        let (completion, mut bytes) = tasks.run(write).await.ok()?;
                        outcome(&completion).ok().filter(|&count| count == 1024)?;
                        bytes.fill(0xee);
                        let read = TaskRequest::read(&*memory, offset, bytes);
                        let (completion, bytes) = tasks.run(read).await.ok()?;
                        outcome(&completion).ok().filter(|&count| count == 1024)?;
                        let expected = (part * 8 + round) as u8;
                        bytes.iter().all(|&byte| byte == expected).then_some(())?;
                    }
                    Some(())
                })
            })
            .collect();
        let results = executor.block_on(join_all(tasks))?;
        check!(results.iter().all(Option::is_some));
        let bytes = memory.read_all()?;
        check!(
            bytes
                .iter()
                .enumerate()
                .all(|(at, &byte)| byte == (at / 1024) as u8)
        );
        // Errors come as completions.
        let beyond = TaskRequest::read(&*memory, 64 << 10, vec![0; 1]);
        let (completion, _) = executor
            .block_on(handle.run(beyond))?
            .map_err(|_| "rejected")?;
        equal!(completion.result(), Err(Error::OutOfRange));
        Ok(())
    })
}

fn tasks_wait_for_all_kinds_of_things_at_once() -> Outcome {
    let mut executor = Executor::new(16)?;
    let handle = executor.handle();
    let event = Arc::new(Event::new()?);
    let timer = Timer::new()?;
    timer.set(Instant::now() + Duration::from_millis(3))?;
    let signal = event.clone();
    let signaller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(2));
        signal.signal()
    });
    let never = Event::new()?;
    let ((signals, ticks), (ended, late)) = executor.block_on(join(
        join(handle.wait(&*event, soon()), handle.wait(&timer, soon())),
        join(
            handle.wait(signaller.thread(), soon()),
            handle.wait(&never, Deadline::after(Duration::from_millis(4))),
        ),
    ))?;
    equal!((signals, ticks), (Ok(1), Ok(1)));
    check!(ended.is_ok());
    equal!(late, Err(Error::TimedOut));
    equal!(signaller.join(), Ok(()));
    let start = Instant::now();
    executor.block_on(handle.sleep(Duration::from_millis(3)))?;
    check!(start.elapsed() >= Duration::from_millis(3));
    Ok(())
}

fn a_full_queue_makes_tasks_wait_for_room() -> Outcome {
    let mut executor = Executor::new(2)?;
    let handle = executor.handle();
    let done = Rc::new(RefCell::new(0));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (tasks, done) = (handle.clone(), done.clone());
            handle.spawn(async move {
                if tasks.run(TaskRequest::nothing()).await.is_ok() {
                    *done.borrow_mut() += 1;
                }
            })
        })
        .collect();
    executor.block_on(join_all(tasks))?;
    equal!(*done.borrow(), 20);
    Ok(())
}

/// A server whose requests nobody takes.
fn silent() -> Result<(Server, Remote), Error> {
    let server = Server::new(Service::new()?, 2, 512)?;
    let object = server.mint(1, ALL)?;
    Ok((server, object))
}

fn a_time_out_reports_and_the_buffer_comes_with_the_completion() -> Outcome {
    let (_server, object) = silent()?;
    let mut executor = Executor::new(8)?;
    let handle = executor.handle();
    let result = executor.block_on(async {
        let operation = handle.start(TaskRequest::read(&object, 0, vec![1; 512]))?;
        let early = Deadline::after(Duration::from_millis(2));
        let Err(operation) = handle.within(early, operation).await else {
            return Ok(None);
        };
        let still = operation.is_done();
        operation.cancel();
        let (completion, buffer) = operation.await;
        Ok::<_, Rejected<Vec<u8>>>(Some((still, outcome(&completion), buffer.len())))
    });
    let cancelled = Err(Failure::from(Error::Cancelled));
    equal!(result?, Ok(Some((false, cancelled, 512))));
    Ok(())
}

fn another_thread_wakes_a_task() -> Outcome {
    let mut executor = Executor::new(4)?;
    for round in 0..20 {
        // The waker's flag, by which the task knows that it was not woken for nothing.
        let shared = Arc::new(Mutex::new((None::<Waker>, false)));
        let theirs = shared.clone();
        let thread = thread::spawn(move || {
            loop {
                let mut shared = theirs.lock();
                if let Some(waker) = shared.0.take() {
                    shared.1 = true;
                    drop(shared);
                    if round % 2 == 0 {
                        thread::sleep(Duration::from_micros(500));
                    }
                    return waker.wake();
                }
                drop(shared);
                thread::yield_now();
            }
        });
        executor.block_on(poll_fn(|context| {
            let mut shared = shared.lock();
            if shared.1 {
                return Poll::Ready(());
            }
            shared.0 = Some(context.waker().clone());
            Poll::Pending
        }))?;
        thread.join();
    }
    Ok(())
}

fn an_executor_that_is_dropped_takes_its_requests_back() -> Outcome {
    leaves_nothing(|| {
        let (server, object) = silent()?;
        let event = Event::new()?;
        let executor = Executor::new(8)?;
        let handle = executor.handle();
        let read = handle.start(TaskRequest::read(&object, 0, vec![0; 64]))?;
        let wait = handle.start(TaskRequest::wait(&event, Deadline::NEVER))?;
        equal!(handle.under_way(), 2);
        let start = Instant::now();
        drop(executor);
        check!(start.elapsed() < PATIENCE);
        check!(read.is_done() && wait.is_done());
        equal!(handle.under_way(), 0);
        drop((read, wait, handle));
        let gone = server.next(Answer::later(), Deadline::NOW);
        equal!(
            gone.map(drop),
            Err(Error::TimedOut),
            "the request was withdrawn"
        );
        Ok(())
    })
}

fn client_and_server_are_tasks_of_one_executor() -> Outcome {
    // A slot for each client: what waits for one holds up the answers behind it in the queue.
    let server = Arc::new(Server::new(Service::new()?, 8, 512)?);
    let object = Rc::new(server.mint(3, ALL)?);
    let mut executor = Executor::new(32)?;
    let handle = executor.handle();
    handle.bind(&server)?;
    let (tasks, serving) = (handle.clone(), server.clone());
    let answered = Rc::new(RefCell::new(0));
    let count = answered.clone();
    let _serves = handle.spawn(async move {
        loop {
            let (_, message) = tasks.message().await;
            let request = serving.accept(message);
            *count.borrow_mut() += 1;
            tasks.answer(match request.ask {
                Ask::Read { offset, .. } => request.reply_data(&[offset as u8; 512]),
                Ask::GetMeta { key } => request.value(key + 1),
                _ => request.refuse(Error::BadOperation),
            });
        }
    });
    let clients: Vec<_> = (0..8u64)
        .map(|number| {
            let (tasks, object) = (handle.clone(), object.clone());
            handle.spawn(async move {
                let read = TaskRequest::read(&*object, number, vec![0xff; 512]);
                let (completion, bytes) = tasks.run(read).await.ok()?;
                outcome(&completion).ok()?;
                let right = bytes.iter().all(|&byte| byte == number as u8);
                let (completion, ()) = tasks
                    .run(TaskRequest::get_meta(&*object, number))
                    .await
                    .ok()?;
                right.then_some(outcome(&completion).ok()?)
            })
        })
        .collect();
    let values = executor.block_on(join_all(clients))?;
    check!(
        values
            .iter()
            .zip(1..)
            .all(|(value, expected)| *value == Some(expected))
    );
    equal!(*answered.borrow(), 16);
    Ok(())
}

fn a_request_to_stop_ends_the_executor() -> Outcome {
    let thread = thread::spawn(|| -> Result<(), Error> {
        let mut executor = Executor::new(4)?;
        let handle = executor.handle();
        executor.block_on(handle.sleep(PATIENCE))
    });
    thread::sleep(Duration::from_millis(2));
    thread.ask_to_stop()?;
    equal!(thread.join(), Err(Error::Interrupted));
    Ok(())
}

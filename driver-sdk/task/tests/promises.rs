//! What the crate's head promises, one by one.
#![allow(missing_docs, reason = "a test has no readers of its interface")]

mod common;

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use common::{Broken, Buffer, Fake, Outcome};
use spillway_task::{Either, Executor, Handle, Rejected, join, select};

fn executor(room: usize, most_under_way: usize) -> (Fake, Executor<Fake>, Handle<Fake>) {
    let fake = Fake::new(room, most_under_way, 1);
    let executor = Executor::new(fake.clone());
    let handle = executor.handle();
    (fake, executor, handle)
}

/// One poll, by nobody who waits.
fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_request_starts_when_it_is_submitted_and_gives_its_buffer_back() {
    let (fake, mut executor, handle) = executor(4, 4);
    let operation = handle.start(&7, fake.buffer(7)).unwrap();
    assert_eq!(fake.state().ring.len(), 1);
    assert_eq!(handle.under_way(), 1);
    let (outcome, buffer) = executor.block_on(operation).unwrap();
    assert_eq!((outcome, buffer.submission), (Outcome::Done, 7));
    assert_eq!(handle.under_way(), 0);
}

#[test]
fn a_dropped_future_cancels_nothing_and_its_buffer_stays_until_the_completion() {
    let (fake, mut executor, handle) = executor(4, 4);
    drop(handle.start(&1, fake.buffer(1)).unwrap());
    let other = handle.start(&2, fake.buffer(2)).unwrap();
    fake.state().endless.insert(1);
    drop(executor.block_on(other).unwrap());
    assert_eq!(fake.state().freed, 1);
    assert_eq!(fake.state().under_way[&1], (0, false));
    fake.state().complete(1);
    executor.block_on(async {}).unwrap();
    let third = handle.start(&3, fake.buffer(3)).unwrap();
    drop(executor.block_on(third).unwrap());
    assert_eq!(fake.state().freed, 3);
}

#[test]
fn a_time_out_gives_the_request_back_and_not_its_buffer() {
    let (fake, mut executor, handle) = executor(4, 4);
    fake.state().endless.insert(1);
    let result = executor.block_on(async {
        let operation = handle.start(&1, fake.buffer(1)).unwrap();
        let operation = handle.within(50, operation).await.unwrap_err();
        assert_eq!(handle.now(), 50);
        assert!(!operation.is_done());
        assert_eq!(fake.state().freed, 0);
        operation.cancel();
        operation.await
    });
    assert_eq!(result.unwrap().0, Outcome::Cancelled);
}

#[test]
fn what_ends_in_time_is_no_time_out() {
    let (fake, mut executor, handle) = executor(4, 4);
    let inside = executor.block_on(async {
        let operation = handle.start(&1, fake.buffer(1)).unwrap();
        fake.state().complete(1);
        handle.within(u64::MAX, operation).await
    });
    assert_eq!(inside.unwrap().unwrap().0, Outcome::Done);
}

#[test]
fn select_gives_back_what_did_not_win() {
    let (fake, mut executor, handle) = executor(4, 4);
    fake.state().endless.insert(1);
    executor
        .block_on(async {
            let slow = handle.start(&1, fake.buffer(1)).unwrap();
            let quick = handle.start(&2, fake.buffer(2)).unwrap();
            let slow = match select(slow, quick).await {
                Either::Right(((Outcome::Done, buffer), slow)) => {
                    assert_eq!(buffer.submission, 2);
                    slow
                }
                other => panic!("{:?}", other.factor_first().0),
            };
            fake.state().endless.clear();
            let third = handle.start(&3, fake.buffer(3)).unwrap();
            let ((one, first), (other, second)) = join(slow, third).await;
            assert_eq!((one, other), (Outcome::Done, Outcome::Done));
            assert_eq!((first.submission, second.submission), (1, 3));
        })
        .unwrap();
}

#[test]
fn a_full_queue_rejects_and_run_waits_for_room() {
    let (fake, mut executor, handle) = executor(2, 1);
    let kept: Vec<_> = (0..2)
        .map(|n| handle.start(&n, fake.buffer(n)).unwrap())
        .collect();
    let Rejected(mut buffer) = handle.start(&2, fake.buffer(2)).unwrap_err();
    buffer.submitted = false;
    drop(buffer);
    let (outcome, buffer) = executor
        .block_on(handle.run(&3, fake.buffer(3)))
        .unwrap()
        .unwrap();
    assert_eq!((outcome, buffer.submission), (Outcome::Done, 3));
    drop(kept);
}

#[test]
fn room_that_a_hand_over_leaves_is_seen_without_a_completion() {
    // Both requests under way never end; the ring has room as soon as it was handed over.
    let (fake, mut executor, handle) = executor(2, 3);
    fake.state().endless.extend([0, 1]);
    let endless: Vec<_> = (0..2)
        .map(|n| handle.start(&n, fake.buffer(n)).unwrap())
        .collect();
    let (outcome, _) = executor
        .block_on(handle.run(&2, fake.buffer(2)))
        .unwrap()
        .unwrap();
    assert_eq!(outcome, Outcome::Done);
    drop(endless);
}

#[test]
fn an_executor_that_is_dropped_cancels_and_waits() {
    let (fake, executor, handle) = executor(8, 8);
    fake.state().endless.extend(0..8);
    let kept: Vec<_> = (0..8)
        .map(|n| handle.start(&n, fake.buffer(n)).unwrap())
        .collect();
    drop(executor);
    // Those who kept the futures still learn what became of them.
    for operation in kept {
        let mut operation = pin!(operation);
        match poll_once(operation.as_mut()) {
            Poll::Ready((outcome, _)) => assert_eq!(outcome, Outcome::Cancelled),
            Poll::Pending => panic!("it did not come back"),
        }
    }
    assert_eq!(fake.state().freed, 8);
    let Rejected(mut buffer) = handle.start(&9, fake.buffer(9)).unwrap_err();
    buffer.submitted = false;
}

#[test]
fn what_does_not_come_back_in_time_is_leaked() {
    let (fake, mut executor, handle) = executor(4, 4);
    executor.set_patience(10_000);
    fake.state().stubborn.insert(0);
    drop(handle.start(&0, fake.buffer(0)).unwrap());
    drop(handle.start(&1, fake.buffer(1)).unwrap());
    drop(executor);
    assert_eq!(fake.state().now, 10_000);
    assert_eq!(fake.state().freed, 1);
    drop(handle);
    assert_eq!(fake.state().freed, 1);
}

#[test]
fn a_broken_queue_ends_the_call_and_leaks() {
    let (fake, mut executor, handle) = executor(4, 4);
    let operation = handle.start(&0, fake.buffer(0)).unwrap();
    fake.state().broken = true;
    assert_eq!(executor.block_on(operation).unwrap_err(), Broken);
    drop(executor);
    assert_eq!(fake.state().freed, 0);
}

#[test]
fn completions_of_nobody_and_second_ones_are_ignored() {
    let (fake, mut executor, handle) = executor(4, 4);
    for user_data in [77, u64::MAX, u64::MAX << 32] {
        let nobody = (user_data, 99, Outcome::Done);
        fake.state().completions.push_back(nobody);
    }
    for round in 0..3 {
        let operation = handle.start(&round, fake.buffer(round)).unwrap();
        executor.block_on(operation).unwrap();
        // The first round's user data again, which is used up.
        fake.state().completions.push_back((0, 99, Outcome::Done));
    }
    let operation = handle.start(&5, fake.buffer(5)).unwrap();
    fake.state().endless.insert(5);
    let mut operation = pin!(operation);
    executor.block_on(async {}).unwrap();
    assert!(poll_once(operation.as_mut()).is_pending());
    operation.cancel();
    executor.block_on(operation).unwrap();
}

#[test]
fn sleepers_wake_in_the_order_of_their_moments() {
    let (_fake, mut executor, handle) = executor(4, 4);
    let woken = Rc::new(RefCell::new(Vec::new()));
    for moment in [30, 10, 20, 10] {
        let (clock, woken) = (handle.clone(), woken.clone());
        let _detached = handle.spawn(async move {
            clock.sleep_until(moment).await;
            assert!(clock.now() >= moment);
            woken.borrow_mut().push(moment);
        });
    }
    executor.block_on(handle.sleep_until(40)).unwrap();
    assert_eq!(*woken.borrow(), [10, 10, 20, 30]);
}

#[test]
fn tasks_have_results_and_go_on_in_the_next_call() {
    let (fake, mut executor, handle) = executor(4, 4);
    let inner = handle.clone();
    let buffer = fake.buffer(1);
    let task = handle.spawn(async move {
        let deeper = inner.spawn(async { 5 });
        let (outcome, _) = inner.run(&1, buffer).await.unwrap();
        assert_eq!(outcome, Outcome::Done);
        deeper.await + 1
    });
    executor.block_on(async {}).unwrap();
    assert!(!task.is_finished());
    assert_eq!(executor.block_on(task), Ok(6));
}

#[test]
fn messages_come_in_order_to_whoever_waits() {
    let (fake, mut executor, handle) = executor(4, 4);
    fake.state().messages.extend([1, 2, 3]);
    let got = executor.block_on(async { [handle.message().await, handle.message().await] });
    assert_eq!(got, Ok([1, 2]));
    assert_eq!(executor.block_on(handle.message()), Ok(3));
}

#[test]
fn a_task_that_never_waits_does_not_starve_the_queue() {
    let (fake, mut executor, handle) = executor(4, 4);
    let _detached = handle.spawn(poll_fn(|context| {
        context.waker().wake_by_ref();
        Poll::<()>::Pending
    }));
    let before = fake.state().entered;
    let operation = handle.start(&1, fake.buffer(1)).unwrap();
    fake.state().seed = 3;
    let mut rounds = 0;
    let done = executor.block_on(async {
        let mut operation = pin!(operation);
        poll_fn(|context| {
            rounds += 1;
            assert!(rounds < 10_000, "it was never handed over");
            if fake.state().entered > before {
                fake.state().complete(1);
            }
            operation.as_mut().poll(context)
        })
        .await
    });
    assert_eq!(done.unwrap().0, Outcome::Done);
}

#[test]
fn a_batch_is_handed_over_at_once() {
    let (fake, mut executor, handle) = executor(32, 32);
    let tasks: Vec<_> = (0..32)
        .map(|n| {
            let (inner, buffer) = (handle.clone(), fake.buffer(n));
            handle.spawn(async move { inner.run(&n, buffer).await.map(drop) })
        })
        .collect();
    fake.state().endless.extend(0..31);
    let mut tasks = tasks.into_iter();
    executor
        .block_on(tasks.next_back().unwrap())
        .unwrap()
        .unwrap();
    assert_eq!(fake.state().entered, 1);
    fake.state().endless.clear();
    for task in tasks {
        executor.block_on(task).unwrap().unwrap();
    }
}

/// A buffer that says so if its request is over is what all of this rests on.
#[test]
#[should_panic(expected = "was freed while it was under way")]
fn the_fake_notices_a_buffer_that_is_freed_early() {
    let fake = Fake::new(1, 1, 0);
    let buffer: Buffer = fake.buffer(1);
    drop(buffer);
}

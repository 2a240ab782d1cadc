//! Random programs on a queue of random order: every buffer comes back, or is freed, once, and
//! never while its request is under way.
#![allow(missing_docs, reason = "a test has no readers of its interface")]

mod common;

use common::{Fake, Outcome};
use proptest::prelude::*;
use spillway_task::{Either, Executor, Handle, select};

/// What a task does with one request.
#[derive(Clone, Copy, Debug)]
enum Step {
    Wait,
    Drop,
    Cancel,
    CancelAndDrop,
    Within(u64),
    Race(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Wait),
        Just(Step::Drop),
        Just(Step::Cancel),
        Just(Step::CancelAndDrop),
        (0u64..20).prop_map(Step::Within),
        (0u64..20).prop_map(Step::Race),
    ]
}

async fn perform(handle: Handle<Fake>, fake: Fake, number: u64, step: Step) {
    let mut buffer = fake.buffer(number);
    let operation = loop {
        buffer.submitted = true;
        match handle.start(&number, buffer) {
            Ok(operation) => break operation,
            Err(rejected) => buffer = rejected.0,
        }
        buffer.submitted = false;
        handle.sleep_until(handle.now() + 1).await;
    };
    match step {
        Step::Wait => {
            let (outcome, buffer) = operation.await;
            assert_eq!((outcome, buffer.submission), (Outcome::Done, number));
        }
        Step::Drop => drop(operation),
        Step::Cancel => {
            operation.cancel();
            assert_eq!(operation.await.1.submission, number);
        }
        Step::CancelAndDrop => operation.cancel(),
        Step::Within(time) => match handle.within(handle.now() + time, operation).await {
            Ok((outcome, _)) => assert_eq!(outcome, Outcome::Done),
            Err(operation) => assert_eq!(operation.await.1.submission, number),
        },
        Step::Race(time) => {
            let sleep = handle.sleep_until(handle.now() + time);
            if let Either::Right(((), late)) = select(operation, sleep).await {
                late.cancel();
            }
        }
    }
}

proptest! {
    #[test]
    fn no_buffer_is_lost_or_freed_early(
        programs in prop::collection::vec(prop::collection::vec(step(), 1..8), 1..12),
        room in 1usize..8,
        most in 1usize..8,
        seed: u64,
        early_end in prop::option::of(0u64..40),
    ) {
        let fake = Fake::new(room, most, seed);
        let mut executor = Executor::new(fake.clone());
        let handle = executor.handle();
        let requests: usize = programs.iter().map(Vec::len).sum();
        let mut number = 0;
        let tasks: Vec<_> = programs
            .into_iter()
            .map(|steps| {
                let first = number;
                number += steps.len() as u64;
                let (handle, fake) = (handle.clone(), fake.clone());
                executor.handle().spawn(async move {
                    for (step, number) in steps.into_iter().zip(first..) {
                        perform(handle.clone(), fake.clone(), number, step).await;
                    }
                })
            })
            .collect();
        match early_end {
            // Dropped in the middle: what was submitted comes back all the same.
            Some(moment) => {
                executor.block_on(handle.sleep_until(moment)).unwrap();
                drop(tasks);
                let under_way = handle.under_way();
                let freed = fake.state().freed;
                drop(executor);
                prop_assert!(fake.state().freed >= freed + under_way);
            }
            None => {
                for task in tasks {
                    executor.block_on(task).unwrap();
                }
                drop(executor);
                prop_assert_eq!(fake.state().freed, requests);
                prop_assert_eq!(fake.state().over.len(), requests);
            }
        }
        prop_assert_eq!(handle.under_way(), 0);
        prop_assert!(fake.state().under_way.is_empty() && fake.state().ring.is_empty());
    }
}

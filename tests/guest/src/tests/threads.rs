//! Threads of this process.

use alloc::{sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use driver_sdk::{
    abi::object::{ProcessMeta, ThreadArguments, ThreadMeta},
    prelude::*,
};

use crate::{
    child::leaves_nothing,
    harness::{Outcome, check, equal, tests},
};

tests![
    a_join_returns_the_result,
    a_thread_has_its_name_and_number,
    many_threads_run_and_are_given_back,
    detached_threads_are_given_back_too,
    a_thread_handle_outlives_its_thread,
    a_refused_thread_leaves_nothing,
];

fn a_join_returns_the_result() -> Outcome {
    let text = alloc::string::String::from("from the outside");
    let thread = thread::spawn(move || alloc::format!("{text} and back"));
    equal!(thread.join(), "from the outside and back");
    let slow = thread::spawn(|| {
        thread::sleep(Duration::from_millis(5));
        42
    });
    check!(!slow.is_finished());
    equal!(slow.join(), 42);
    Ok(())
}

fn a_thread_has_its_name_and_number() -> Outcome {
    equal!(thread::name(), None);
    let builder = thread::Builder::new().name("worker");
    let thread = builder.spawn(|| thread::name().map(alloc::string::String::from))?;
    let number = thread.id()?;
    let other = thread::spawn(|| ());
    check!(other.id()? != number);
    equal!(thread.join().as_deref(), Some("worker"));
    other.join();
    Ok(())
}

fn many_threads_run_and_are_given_back() -> Outcome {
    leaves_nothing(|| {
        let count = Arc::new(AtomicU32::new(0));
        let mut threads = Vec::new();
        for _ in 0..100 {
            let count = count.clone();
            let builder = thread::Builder::new().stack_size(16 << 10);
            threads.push(builder.spawn(move || {
                thread::yield_now();
                count.fetch_add(1, Ordering::Relaxed)
            })?);
        }
        let mut numbers: Vec<_> = threads.into_iter().map(thread::JoinHandle::join).collect();
        numbers.sort_unstable();
        check!(numbers.into_iter().eq(0..100));
        Ok(())
    })
}

fn detached_threads_are_given_back_too() -> Outcome {
    leaves_nothing(|| {
        static DONE: Semaphore = Semaphore::new(0);
        for _ in 0..20 {
            drop(thread::spawn(|| DONE.release(1)));
        }
        (0..20).for_each(|_| DONE.acquire());
        // The last of them may still be on the way out.
        while own_process().meta(ProcessMeta::ThreadsUsed)? > 1 {
            thread::yield_now();
        }
        thread::spawn(|| ()).join();
        Ok(())
    })
}

fn a_thread_handle_outlives_its_thread() -> Outcome {
    let thread = thread::spawn(|| ());
    let kept = thread.thread().duplicate(KNOWN)?;
    thread.join();
    for _ in 0..2 {
        equal!(kept.wait(Deadline::NOW), Ok(ExitStatus::Exited(0)));
    }
    check!(kept.meta(ThreadMeta::Id).is_ok());
    check!(matches!(
        kept.set_meta(ThreadMeta::Priority, 1),
        Ok(()) | Err(Error::Gone)
    ));
    Ok(())
}

/// What can be done with a thread.
const KNOWN: Rights = Rights::READ.union(Rights::MANAGE).union(Rights::WAIT);

fn a_refused_thread_leaves_nothing() -> Outcome {
    leaves_nothing(|| {
        let refused = thread::Builder::new().priority(32).spawn(|| ()).map(drop);
        equal!(refused, Err(Error::BadArgument));
        let refused = thread::Builder::new()
            .affinity(1 << 63)
            .spawn(|| ())
            .map(drop);
        equal!(refused, Err(Error::BadArgument));
        let refused = thread::Builder::new()
            .stack_size(1 << 50)
            .spawn(|| ())
            .map(drop);
        check!(refused.is_err());
        let arguments = ThreadArguments {
            reserved: 1,
            ..ThreadArguments::default()
        };
        // SAFETY: the kernel must refuse it.
        let refused = unsafe { own_process().create_thread(&arguments) }.map(drop);
        check!(refused.is_err());
        Ok(())
    })
}

//! Programs that throw anything at the kernel. Whatever becomes of them, the system goes on and
//! gets everything back.

use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};

use driver_sdk::{
    abi::{
        Handle, Rights,
        counters::Counter,
        limits::Limits,
        service::{Message, Notice, Reply, Token},
    },
    prelude::*,
    rt::object::{Operations, OwnedHandle, Service},
};

use crate::{
    child::{Victim, end_of, leaves_nothing},
    harness::{Outcome, check, soak, tests},
    serving::{ALL, Desk, soon},
};

tests![random_calls_from_several_threads_harm_nobody];

/// Requests that the server of this process was asked by its victims.
static ASKED: AtomicU64 = AtomicU64::new(0);
/// System calls of the victims.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// The calls follow from the seed, so that a failure can be had again. There are over 100,000, or ten
/// millions in the long form, and as many entries of queues.
fn random_calls_from_several_threads_harm_nobody() -> Outcome {
    let wanted = if soak() { 10_000_000 } else { 100_000 };
    ASKED.store(0, Ordering::SeqCst);
    CALLS.store(0, Ordering::SeqCst);
    let mut seed = 1;
    while CALLS.load(Ordering::SeqCst) < wanted && seed < wanted / 1000 {
        leaves_nothing(|| play(seed))?;
        seed += 1;
    }
    let (asked, calls) = (ASKED.load(Ordering::SeqCst), CALLS.load(Ordering::SeqCst));
    println!("{calls} hostile calls, {asked} requests that reached the server");
    check!(calls >= wanted, "only {calls} calls");
    check!(
        asked > calls / 1000,
        "only {asked} requests reached a server"
    );
    Ok(())
}

fn play(seed: u64) -> Outcome {
    let limits = Limits {
        memory: 4 << 20,
        handles: 100,
        threads: 12,
        processes: 4,
        requests: 128,
    };
    let desk = Desk::with_window(4, 4096)?;
    let serving = desk.service.clone();
    let server = thread::spawn(move || serve(&serving));
    // Without a log, which it would fill.
    let hostile = Victim::silent("hostile").argument(seed).with(|command| {
        let command = command.limits(limits);
        command.give("object", &*desk.object, ALL)
    });
    let process = hostile.spawn()?;
    let counters = process.counters()?;
    let end = end_of(&process)?;
    let calls = counters.snapshot()?.get(Counter::SystemCalls);
    CALLS.fetch_add(calls, Ordering::Relaxed);
    // It may take its own memory away or end itself; its limits never make it panic.
    check!(
        !matches!(end.status, ExitStatus::Exited(code) if code != 0),
        "seed {seed} {}",
        end.status
    );
    // Others are served as ever.
    for key in 0..10 {
        let answer = desk.object.until(soon()).get_meta(key * 7 + 2);
        check!(answer == Ok(key * 7 + 2), "seed {seed}: {answer:?}");
    }
    desk.service.end()?;
    server.join();
    Ok(())
}

/// Answers in one of many ways, some of them late, and keeps nothing that it is given.
fn serve(service: &Arc<Service>) {
    let memory = Memory::new(4096).ok();
    let mut late: Vec<Token> = Vec::new();
    let mut answer = None;
    // A mistake of its own, or a client that is gone, is no reason to stop.
    loop {
        let message = match service.serve(answer.take(), Deadline::NEVER) {
            Ok(message) => message,
            Err(Error::NotFound | Error::BadArgument | Error::LimitReached) => continue,
            Err(_) => return,
        };
        if message.what.notice() != Notice::Request {
            continue;
        }
        ASKED.fetch_add(1, Ordering::Relaxed);
        take_gift(&message);
        let [a, _, c] = message.arguments;
        answer = Some(match a % 7 {
            0 => {
                late.push(message.token);
                if late.len() > 2 {
                    let _ = service.reply(late.swap_remove(0), Reply::Value(c));
                }
                continue;
            }
            1 => (message.token, Reply::Error(Error::Failed, a)),
            3 => (message.token, Reply::Object(a, ALL)),
            4 => {
                let handle = memory.as_ref().map(driver_sdk::rt::object::Object::handle);
                let rights = Rights::READ | Rights::MAP;
                let reply = Reply::Handle(handle.unwrap_or(Handle::NULL), rights);
                (message.token, reply)
            }
            _ => (message.token, Reply::Value(a)),
        });
        if let Some((token, Reply::Object(..) | Reply::Handle(..))) = answer
            && let Some((_, reply)) = answer.take()
            && service.reply(token, reply).is_err()
        {
            let _ = service.reply(token, Reply::Error(Error::Refused, 0));
        }
    }
}

/// What a `Share` brought goes back at once.
fn take_gift(message: &Message) {
    if message.what.operation() == driver_sdk::abi::call::Operation::Share as u64
        && let Ok(raw @ 1..) = u32::try_from(message.arguments[0])
    {
        drop(OwnedHandle::new(Handle::from_raw(raw)));
    }
}

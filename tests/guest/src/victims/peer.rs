//! The other side of a connection, in a process of its own: servers that are killed with requests
//! in every state, and clients.

use alloc::{sync::Arc, vec::Vec};
use core::mem::ManuallyDrop;

use driver_sdk::{
    abi::{
        Handle, Rights,
        call::Operation,
        service::{Reply, ServiceMeta},
    },
    prelude::*,
    rt::object::{Event, IoQueue, OwnedHandle, Remote, Service, Window},
};

use crate::{
    child::Shared,
    raw,
    serving::{ALL, by_queue, entry, submit},
};

/// Serves one object, which is shared with the `registry`, as the word says.
pub fn serve(how: &str) -> i32 {
    let registry = object::<Remote>("registry").expect("the test gives a registry");
    let shared = Shared::given();
    let service = Service::new().expect("there is room for a service");
    let window = service.set_window(2, 4096).expect("and for its window");
    let own = service.mint(1, ALL).expect("and for an object");
    use driver_sdk::rt::object::Operations;
    registry.share(&own, ALL, 0).expect("the registry answers");
    drop(own);
    match how {
        "untaken" => sleep(),
        "taken" => take_all(&service, &shared),
        "hoard" => hoard(&service, &shared),
        "queue" => take_by_queue(&service, &shared),
        "exit" => {
            let _ = service.serve(None, Deadline::NEVER);
            3
        }
        _ => echo(&service, &window),
    }
}

fn sleep() -> i32 {
    loop {
        thread::sleep(core::time::Duration::from_secs(1000));
    }
}

/// Takes turns with somebody else for ever, on one core, and counts them in the shared page.
pub fn take_turns(core: u64) -> i32 {
    let shared = Shared::given();
    let own = object::<Event>("own").expect("the test gives an event to wait for");
    let other = object::<Event>("other").expect("and one to signal");
    let turns = move || {
        while other.signal_and_wait(&own, Deadline::NEVER).is_ok() {
            shared.set(0, shared.get(0) + 1);
        }
    };
    let thread = thread::Builder::new().affinity(core).spawn(turns);
    thread.expect("there is room for a thread").join();
    1
}

/// Takes every request and answers none; the shared page has how many.
fn take_all(service: &Service, shared: &Shared) -> i32 {
    for count in 1.. {
        if service.serve(None, Deadline::NEVER).is_err() {
            break;
        }
        shared.set(0, count);
    }
    1
}

/// Keeps what clients share.
fn hoard(service: &Service, shared: &Shared) -> i32 {
    let mut hoard = Vec::new();
    let mut answer = None;
    while let Ok(message) = service.serve(answer, Deadline::NEVER) {
        if message.what.operation() == Operation::Share as u64 {
            let handle = Handle::from_raw(message.arguments[0] as u32);
            hoard.push(OwnedHandle::new(handle));
            shared.set(0, hoard.len() as u64);
        }
        answer = Some((message.token, Reply::Value(0)));
        if message.token == driver_sdk::abi::service::Token::NONE {
            answer = None;
        }
    }
    1
}

fn take_by_queue(service: &Service, shared: &Shared) -> i32 {
    let mut queue = IoQueue::new(16, 64).expect("there is room for a queue");
    service.bind(&queue).expect("it is this process's");
    let mut count = 0;
    while queue.enter(1, Deadline::NEVER).is_ok() {
        while let Ok(Some(_)) = queue.pop() {
            count += 1;
        }
        shared.set(0, count);
    }
    1
}

/// Answers with what was asked plus one, or as many bytes as were sent.
fn echo(service: &Service, _window: &Window) -> i32 {
    let mut answer = None;
    while let Ok(message) = service.serve(answer, Deadline::NEVER) {
        let value = match message.token.window_slot() {
            Some(_) => message.arguments[2],
            None => message.arguments[0] + 1,
        };
        answer = (message.what.notice() == driver_sdk::abi::service::Notice::Request)
            .then_some((message.token, Reply::Value(value)));
    }
    1
}

/// Asks the `object` for as much as it can have under way, and waits to be killed. The shared page
/// has at 1 that all is asked.
pub fn ask() -> i32 {
    let object = Arc::new(ManuallyDrop::into_inner(
        object::<Remote>("object").expect("the test gives an object"),
    ));
    let shared = Shared::given();
    for number in 0..5 {
        let object = object.clone();
        let call = move || {
            use driver_sdk::rt::object::Operations;
            let _ = match number {
                0 => object.get_meta(1),
                1 => object.write_registered(0, 5, 0, 8),
                _ => object.write(0, b"data").map(|written| written as u64),
            };
        };
        core::mem::forget(thread::spawn(call));
    }
    let mut queue = IoQueue::new(16, 16).expect("there is room for a queue");
    let memory = Memory::new(64 << 10).expect("and for a memory");
    let data = [1u8; 8];
    let mut buffer = [0u8; 8];
    let handle = object.as_ref().as_ref().get();
    for (number, operation, arguments) in [
        (1, Operation::GetMeta, [0; 4]),
        (2, Operation::Write, [0, 0, 8, 9]),
        (3, Operation::Read, [0, buffer.as_mut_ptr() as u64, 8, 0]),
        (4, Operation::Write, [0, data.as_ptr() as u64, 8, 0]),
    ] {
        let entry = entry(handle, operation, number, arguments);
        if submit(&mut queue, &entry).is_err() {
            return 2;
        }
    }
    let rights = Rights::READ.bits().into();
    let share = [memory.as_ref().get().raw().into(), rights, 0, 0];
    let entry = entry(handle, Operation::Share, 5, share);
    if submit(&mut queue, &entry).is_err() {
        return 2;
    }
    drop(memory);
    let _ = queue.enter(0, Deadline::NEVER);
    shared.set(1, 1);
    let _ = queue.enter(16, Deadline::NEVER);
    sleep()
}

/// Shares a memory with the `object` and lets go of it.
pub fn share() -> i32 {
    use driver_sdk::rt::object::Operations;
    let object = object::<Remote>("object").expect("the test gives an object");
    let memory = Memory::new(256 << 10).expect("there is room for a memory");
    match object.share(&memory, Rights::READ, 0) {
        Ok(_) => sleep(),
        Err(_) => 4,
    }
}

/// Has a `service` of another process, with every right: what only the server does is refused. The
/// token is that of a request which the server has.
pub fn intrude(token: u64) -> i32 {
    let service = object::<Service>("service").expect("the test gives a service");
    let mut queue = IoQueue::new(4, 0).expect("there is room for a queue");
    let reply = [token, 0, 666, 0];
    let handle = service.as_ref().get();
    let memory = Memory::new(4096).expect("and for a memory");
    // The server's own handles are not to be had either.
    let pass = [
        token,
        driver_sdk::abi::service::REPLY_HANDLE,
        1 << 16 | 1,
        0,
    ];
    let refused = [
        service.serve(None, Deadline::NOW).map(|_| 0),
        service
            .serve(
                Some((driver_sdk::abi::service::Token(token), Reply::Value(1))),
                Deadline::NOW,
            )
            .map(|_| 0),
        raw::do_io(handle, Operation::Reply, reply),
        raw::do_io(handle, Operation::Reply, pass),
        by_queue(&mut queue, handle, Operation::Reply, reply).unwrap_or(Ok(0)),
        by_queue(&mut queue, handle, Operation::Reply, pass).unwrap_or(Ok(0)),
        service.bind(&queue).map(u64::from),
        raw::do_io(
            handle,
            Operation::Share,
            [memory.as_ref().get().raw().into(), 0, 4096, 0],
        ),
    ];
    if refused.iter().any(|result| *result != Err(Error::Refused)) {
        println!("refused: {refused:?}");
        return 5;
    }
    // Objects of it, and its counts, are anybody's who has the rights.
    let minted = service.mint(33, ALL).is_ok();
    let counts = service.meta(ServiceMeta::Taken) == Ok(1);
    i32::from(!(minted && counts))
}

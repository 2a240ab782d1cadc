//! The operations on a Service, by its server and by who made it.

use alloc::sync::Arc;
use spillway_abi::{
    Error, Rights,
    call::Operation,
    service::{Reply, ServiceMeta, Token},
};

use super::{Action, handle, insert};
use crate::{
    ipc::{self, end::EndService},
    kernel::Guard,
    object::{Object, Service, Thread},
    sched::{self, work::Work},
};

/// Does an operation. The right has not been checked.
pub fn perform(
    guard: &mut Guard,
    thread: &Arc<Thread>,
    service: &Arc<Service>,
    rights: Rights,
    operation: Operation,
    [a, b, c, d]: [u64; 4],
) -> Action {
    let needed = match operation {
        Operation::Open | Operation::Share | Operation::SetMeta | Operation::Destroy => {
            Rights::MANAGE
        }
        Operation::Reply => Rights::WRITE,
        _ => return Action::Done(Err(Error::BadOperation)),
    };
    if !rights.contains(needed) {
        return Action::Done(Err(Error::MissingRight));
    }
    let result = match operation {
        Operation::Open => mint(guard, thread, service, a, b),
        Operation::Share => set_window(guard, thread, service, a, c),
        Operation::SetMeta => bind(guard, thread, service, a, b),
        Operation::Reply => reply(guard, thread, service, a, [b, c, d]),
        _ if service.state.get(guard).ended => Ok(0),
        _ => {
            let end = EndService::by_wish(guard, service.clone());
            return Action::Work(Work::EndService(end));
        }
    };
    result.into()
}

/// A handle for the caller to an object of the server.
fn mint(
    guard: &mut Guard,
    thread: &Arc<Thread>,
    service: &Arc<Service>,
    number: u64,
    rights: u64,
) -> Result<u64, Error> {
    let rights = u32::try_from(rights).ok().and_then(Rights::from_bits);
    let rights = rights.ok_or(Error::BadArgument)?;
    let remote = service.mint(guard, number)?;
    let handle = insert(guard, &thread.process, Object::Remote(remote), rights)?;
    Ok(handle.raw().into())
}

fn set_window(
    guard: &mut Guard,
    thread: &Arc<Thread>,
    service: &Arc<Service>,
    memory: u64,
    slot_bytes: u64,
) -> Result<u64, Error> {
    check_server(thread, service)?;
    let needed = Rights::READ | Rights::WRITE;
    let memory = thread
        .process
        .typed(guard, handle(memory)?, needed, Object::memory)?;
    service.set_window(guard, memory, slot_bytes)?;
    ipc::window::open_window(guard, service);
    Ok(0)
}

/// Requests arrive in a queue of the server from here on; the value is the service's number there.
fn bind(
    guard: &mut Guard,
    thread: &Arc<Thread>,
    service: &Arc<Service>,
    key: u64,
    queue: u64,
) -> Result<u64, Error> {
    if ServiceMeta::from_raw(key) != Some(ServiceMeta::Queue) {
        return Err(Error::BadOperation);
    }
    check_server(thread, service)?;
    service.check(guard)?;
    let queue = thread
        .process
        .typed(guard, handle(queue)?, Rights::WRITE, Object::queue)?;
    if !Arc::ptr_eq(&queue.owner, &thread.process) {
        return Err(Error::Refused);
    }
    let state = service.state.get(guard);
    if state.queue.is_some() || state.server.is_some() {
        return Err(Error::Busy);
    }
    let number = queue.bind(guard, service)?;
    service.state.get_mut(guard).queue = Some((queue, number));
    ipc::window::begin(guard, service);
    ipc::pump(guard, service);
    Ok(number.into())
}

/// Answers a request; whoever asked is ready then.
fn reply(
    guard: &mut Guard,
    thread: &Arc<Thread>,
    service: &Arc<Service>,
    token: u64,
    answer: [u64; 3],
) -> Result<u64, Error> {
    check_server(thread, service)?;
    let answered = ipc::reply::reply(guard, service, Token(token), Reply::from_raw(answer)?)?;
    if let Some(client) = answered {
        sched::make_ready(guard, &client);
    }
    sched::restore_priority(guard, thread);
    Ok(0)
}

/// Only the server itself does this: [`Error::Refused`].
pub fn check_server(thread: &Thread, service: &Service) -> Result<(), Error> {
    if Arc::ptr_eq(&thread.process, &service.owner) {
        Ok(())
    } else {
        Err(Error::Refused)
    }
}

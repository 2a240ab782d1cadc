//! The fast path of calls: requests without data to a server thread that waits on this core, and their
//! answers, each with a direct switch and without a look at the run queue. That of queues is
//! [`super::relay`].
//!
//! Everything else goes the long way ([`super::call`]), and what is refused here is checked and told
//! there. Both leave the same behind, but that what was asked is kept as [`Direct`].

use alloc::sync::Arc;
use spillway_abi::{
    Rights,
    call::Operation,
    service::{Message, Notice, Token, What},
};

use super::{Direct, has_news, requests};
use crate::{
    kernel::Kernel,
    object::{
        Remote, Service, Thread,
        thread::{Phase, Wait},
    },
    sched,
};

/// The rights that the operations need, by their numbers.
const NEEDED: [Rights; 8] = [
    Rights::READ,
    Rights::MANAGE,
    Rights::MANAGE,
    Rights::READ,
    Rights::WRITE,
    Rights::READ,
    Rights::MANAGE,
    Rights::MAP,
];

/// Whether an operation takes neither data nor a handle along, and the handle has the right to it.
#[inline(always)]
pub fn is_plain(operation: u64, rights: Rights, d: u64) -> bool {
    const REGISTERED: u64 = 1 << Operation::Read as u64 | 1 << Operation::Write as u64;
    const ALWAYS: u64 = 1 << Operation::Destroy as u64
        | 1 << Operation::GetMeta as u64
        | 1 << Operation::SetMeta as u64;
    let bit = 1u64.wrapping_shl(operation as u32);
    let is_registered = bit & REGISTERED != 0 && d.wrapping_sub(1) < 0xffff;
    operation < NEEDED.len() as u64
        && (bit & ALWAYS != 0 || is_registered)
        && rights.contains(NEEDED[operation as usize])
}

/// What a server is told of an operation. Of the operations here only reads and writes have a
/// registration.
#[inline(always)]
pub fn what(operation: u64, rights: Rights, d: u64) -> What {
    let has_registration =
        operation == Operation::Read as u64 || operation == Operation::Write as u64;
    let registration = if has_registration { d as u16 } else { 0 };
    What::new(Notice::Request, operation as u8, registration, rights)
}

/// Hands a request of a thread, which is in `do_io`, to a server thread of this core. The server is
/// on no list then, and is to be switched to. If it is not to be had the object comes back, and
/// nothing has changed.
#[inline]
pub fn ask(
    kernel: &mut Kernel,
    client: &Thread,
    remote: Arc<Remote>,
    rights: Rights,
    operation: u64,
    [a, b, c, d]: [u64; 4],
) -> Result<Arc<Thread>, Arc<Remote>> {
    if !is_plain(operation, rights, d) {
        return Err(remote);
    }
    let service = &remote.service;
    let waiting = service.state.get(kernel).server;
    let Some(server) = waiting.and_then(|slot| kernel.sched.find(slot)) else {
        return Err(remote);
    };
    let client_state = client.state.get(kernel);
    let priority = client_state.priority;
    if client_state.stop
        || client.process.is_ending()
        || !sched::can_hand_over(kernel, &server, priority)
    {
        return Err(remote);
    }
    let token = Token::new(client.slot, None, kernel.requests.next_sequence());
    let what = what(operation, rights, d);
    sched::unblock(kernel, &server);
    let message = Message {
        token,
        object: remote.number,
        what,
        arguments: [a, b, c],
        trace: 0,
    };
    server.set_message(kernel, &message);
    server.state.get_mut(kernel).priority = priority;
    remote.state.get_mut(kernel).uses += 1;
    let (state, links) = service.state.get_with_links(kernel);
    state.server = state.servers.pop_front(links);
    state.taken_count += 1;
    let state = client.state.get_mut(kernel);
    state.phase = Phase::Waiting(Wait::Answer);
    state.direct = Some(Direct {
        remote,
        token,
        what,
    });
    Ok(server)
}

/// Gives a value to the thread that a token names, and lets the server, which is in `Serve`, wait for
/// the next request. The thread is on no list then, and is to be switched to. `None`, and nothing
/// has changed, if anything else is to be done.
#[inline]
pub fn answer(
    kernel: &mut Kernel,
    server: &Thread,
    service: &Arc<Service>,
    token: Token,
    value: u64,
) -> Option<Arc<Thread>> {
    if token.asker() >= requests::FIRST {
        return None;
    }
    let state = service.state.get(kernel);
    let is_idle =
        !has_news(state) && state.server.is_none() && state.queue.is_none() && !state.ended;
    let client = kernel.sched.find(token.asker())?;
    let client_state = client.state.get(kernel);
    let direct = client_state.direct.as_ref()?;
    let is_right = direct.token == token
        && Arc::ptr_eq(&direct.remote.service, service)
        && direct.remote.state.get(kernel).uses > 1;
    let priority = client_state.priority;
    if !is_idle
        || !is_right
        || server.state.get(kernel).stop
        || server.process.is_ending()
        || !sched::can_hand_over(kernel, &client, priority)
    {
        return None;
    }
    let direct = client.state.get_mut(kernel).direct.take()?;
    direct.remote.state.get_mut(kernel).uses -= 1;
    drop(direct);
    let state = service.state.get_mut(kernel);
    state.taken_count -= 1;
    state.server = Some(server.slot);
    sched::unblock(kernel, &client);
    client.set_answer(kernel, Ok(value));
    let state = server.state.get_mut(kernel);
    state.priority = state.own_priority;
    state.phase = Phase::Waiting(Wait::Serve(service.clone()));
    Some(client)
}

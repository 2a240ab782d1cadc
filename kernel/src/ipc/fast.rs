//! The fast path: a request without data to a server thread that waits on this core, and the answer
//! back, each with a direct switch and without a look at the run queue.
//!
//! Everything else goes the long way ([`super::call`], [`crate::syscall`]), and what is refused here
//! is checked and told there. Both leave the same behind: the asker is on the service's list of
//! taken requests, the server has the message in its registers and the asker's priority.

use alloc::sync::Arc;
use spillway_abi::{
    Rights,
    call::{NO_DEADLINE, Operation},
    service::{Message, Notice, Token, What},
};

use super::{Asked, Stage, has_news, requests};
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

/// Whether an operation takes neither data nor a handle along.
#[inline(always)]
fn is_plain(operation: u64, c: u64, d: u64) -> bool {
    const REGISTERED: u64 = 1 << Operation::Read as u64 | 1 << Operation::Write as u64;
    const ALWAYS: u64 = 1 << Operation::Destroy as u64
        | 1 << Operation::GetMeta as u64
        | 1 << Operation::SetMeta as u64;
    let bit = 1u64.wrapping_shl(operation as u32);
    operation < NEEDED.len() as u64
        && (bit & ALWAYS != 0 || bit & REGISTERED != 0 && (d != 0 || c == 0) && d <= 0xffff)
}

/// Hands a request of a thread, which is in `do_io`, to a server thread of this core. The server is
/// on no list then, and is to be switched to. `None`, and nothing has changed, if it is not to be
/// had.
#[inline]
pub fn ask(
    kernel: &mut Kernel,
    client: &Thread,
    remote: &Arc<Remote>,
    rights: Rights,
    operation: u64,
    [a, b, c, d]: [u64; 4],
) -> Option<Arc<Thread>> {
    if !is_plain(operation, c, d) || !rights.contains(NEEDED[operation as usize]) {
        return None;
    }
    let service = &remote.service;
    let server = kernel.sched.find(service.state.get(kernel).server?)?;
    let client_state = client.state.get(kernel);
    let priority = client_state.priority;
    if client_state.stop || !sched::can_hand_over(kernel, &server, priority) {
        return None;
    }
    // The order of the checks is that of nothing that can be refused any more.
    let token = Token::new(client.slot, None, kernel.requests.next_sequence());
    let message = Message {
        token,
        object: remote.number,
        what: What::new(Notice::Request, operation as u8, d as u16, rights),
        arguments: [a, if d == 0 && is_data(operation) { 0 } else { b }, c],
        trace: 0,
    };
    remote.state.get_mut(kernel).uses += 1;
    let (state, links) = service.state.get_with_links(kernel);
    state.server = state.servers.pop_front(links);
    state.taken_count += 1;
    sched::wait_listed(kernel, client, Wait::Answer, NO_DEADLINE);
    client.state.get_mut(kernel).asked = Some(Asked {
        remote: remote.clone(),
        message,
        destination: None,
        gift: None,
        stage: Stage::Taken,
    });
    sched::unblock(kernel, &server);
    server.set_message(kernel, &message);
    server.state.get_mut(kernel).priority = priority;
    Some(server)
}

/// `Read` and `Write` name an address in `b`, unless the memory is registered.
#[inline(always)]
fn is_data(operation: u64) -> bool {
    operation == Operation::Read as u64 || operation == Operation::Write as u64
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
    let asked = client_state.asked.as_ref()?;
    let is_right = asked.message.token == token
        && asked.stage == Stage::Taken
        && asked.destination.is_none()
        && token.window_slot().is_none()
        && Arc::ptr_eq(&asked.remote.service, service)
        && asked.remote.state.get(kernel).uses > 1;
    let priority = client_state.priority;
    if !is_idle
        || !is_right
        || server.state.get(kernel).stop
        || !sched::can_hand_over(kernel, &client, priority)
    {
        return None;
    }
    let asked = client.state.get_mut(kernel).asked.take()?;
    asked.remote.state.get_mut(kernel).uses -= 1;
    drop(asked);
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

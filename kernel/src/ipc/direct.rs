//! The fast path of `do_io`: a request without data to a server thread that waits on this core, and
//! the answer, each with a direct switch and without a look at the run queue.
//!
//! Everything else goes the long way ([`super::call`], [`super::reply`]), and what is refused here is
//! checked and told there. Both leave the same behind, but that what was asked is kept as
//! [`Handed`].
//!
//! A client is found in what it asked, a server in its service.

use alloc::sync::Arc;
use core::mem;

use spillway_abi::{
    Rights,
    call::Operation,
    service::{Message, Notice, Token, What},
};

use super::{Asked, Direct, has_news, promote_server};
use crate::{
    arch::{self, Core, go_on},
    kernel::{Guard, Kernel},
    object::{Object, Remote, Thread, thread::Wait},
    sched,
};

/// A request that was handed to the server, with the core or in its queue.
#[derive(Debug)]
pub struct Handed {
    /// The thread that asked, which has this in its state: to be switched to.
    pub asker: Arc<Thread>,
    /// On what.
    pub remote: Arc<Remote>,
    /// Names it.
    pub token: Token,
    /// What it is.
    pub what: What,
}

impl Handed {
    /// As every other request, but for the arguments, which the server has.
    pub fn in_full(self) -> Asked {
        let Self {
            remote,
            token,
            what,
            ..
        } = self;
        let direct = Direct {
            remote,
            token,
            what,
        };
        direct.in_full()
    }
}

/// The rights that the operations need, by their numbers; more than there are for those that take
/// data or a handle along.
const NEEDED: [u32; 8] = {
    let mut needed = [u32::MAX; 8];
    needed[Operation::Destroy as usize] = Rights::MANAGE.bits();
    needed[Operation::Read as usize] = Rights::READ.bits();
    needed[Operation::Write as usize] = Rights::WRITE.bits();
    needed[Operation::GetMeta as usize] = Rights::READ.bits();
    needed[Operation::SetMeta as usize] = Rights::MANAGE.bits();
    needed
};

/// What the server is told of an operation, if the handle has the right to it and it takes neither
/// data nor a handle along.
#[inline(always)]
pub fn plain(operation: u64, rights: Rights, d: u64) -> Option<What> {
    let needed = *NEEDED.get(operation as usize)?;
    if needed & !rights.bits() != 0 {
        return None;
    }
    let registration =
        if operation == Operation::Read as u64 || operation == Operation::Write as u64 {
            u16::try_from(d).ok().filter(|&number| number != 0)?
        } else {
            0
        };
    let what = What::new(Notice::Request, operation as u8, registration, rights);
    Some(what)
}

/// Asks a server for a thread that is in `do_io`. Returns if that cannot be done here, and nothing has
/// changed then.
#[inline(always)]
pub fn ask(
    mut guard: Guard,
    client: &Thread,
    remote: Arc<Remote>,
    rights: Rights,
    operation: u64,
    [a, b, c, d]: [u64; 4],
) -> (Guard, Arc<Remote>) {
    let kernel = &mut *guard;
    let core = arch::core();
    let Some(what) = plain(operation, rights, d) else {
        return (guard, remote);
    };
    let service = &remote.service;
    let client_state = client.state.get(kernel);
    let priority = client_state.priority;
    let is_hasty = client_state.hasty;
    let service_state = service.state.get(kernel);
    let is_there = |server: &&Arc<Thread>| {
        let server = server.state.get(kernel);
        !is_hasty && sched::can_hand_over(kernel, core, server, priority)
    };
    if service_state.server.as_ref().filter(is_there).is_none() {
        return (guard, remote);
    }
    let state = service.state.get_mut(kernel);
    state.taken_count += 1;
    let Some(server) = state.server.take() else {
        return (guard, remote);
    };
    if !state.servers.is_empty() {
        promote_server(kernel, service);
    }
    let object = remote.number;
    remote.state.get_mut(kernel).uses += 1;
    let token = Token::new(client.slot, None, kernel.requests.next_sequence());
    server.state.get_mut(kernel).priority = priority;
    let context = server.context_pointer();
    let (asker, waited) = sched::hand_over(kernel, core, client, server);
    // It names a service, no more.
    mem::forget(waited);
    let handed = Handed {
        asker,
        remote,
        token,
        what,
    };
    let state = client.state.get_mut(kernel);
    sched::waits_for(state, Wait::Answer);
    sched::put(&mut state.handed, handed);
    drop(guard);
    let message = Message {
        token,
        object,
        what,
        arguments: [a, b, c],
        trace: 0,
    };
    // SAFETY: the server is this core's running thread, its address space is loaded, and it left by
    // a system call: it waited in `Serve`.
    unsafe { go_on::with_message(context, &message) }
}

/// Gives a value to the thread that a token names, and lets the server, which is in `Serve`, wait for
/// the next request. Returns if anything else is to be done, and nothing has changed then.
#[inline(always)]
pub fn answer(mut guard: Guard, server: &Thread, service: u64, token: Token, value: u64) -> Guard {
    let kernel = &mut *guard;
    let core = arch::core();
    if !can_answer(kernel, core, server, service, token) {
        return guard;
    }
    let state = sched::state_at(kernel, token.asker());
    let Some(Handed { asker, remote, .. }) = state.and_then(|state| state.handed.take()) else {
        return guard;
    };
    remote.state.get_mut(kernel).uses -= 1;
    let service = &remote.service;
    let key = service.key();
    service.state.get_mut(kernel).taken_count -= 1;
    let context = asker.context_pointer();
    let (itself, waited) = sched::hand_over(kernel, core, server, asker);
    // It waited for the answer, which has been taken out.
    mem::forget(waited);
    sched::put(&mut service.state.get_mut(kernel).server, itself);
    let state = server.state.get_mut(kernel);
    state.priority = state.own_priority;
    sched::waits_for(state, Wait::Serve(key));
    // Somebody has a handle to the object, so this is not the last reference.
    if let Some(remote) = Arc::into_inner(remote) {
        end(remote);
    }
    drop(guard);
    // SAFETY: the client is this core's running thread, its address space is loaded, and it left by
    // a system call: it waited in `do_io`.
    unsafe { go_on::with_value(context, value) }
}

/// Whether a server thread can give the answer to the thread that a token names, and then only has to
/// wait.
#[inline(always)]
fn can_answer(kernel: &Kernel, core: &Core, server: &Thread, service: u64, token: Token) -> bool {
    const NEEDED: Rights = Rights::WAIT.union(Rights::WRITE);
    let handles = &server.process.state.get(kernel).handles;
    let found = handles.get_raw(service, |object| match object {
        Object::Service(service) => Some(service),
        _ => None,
    });
    let Some((service, rights)) = found else {
        return false;
    };
    let state = service.state.get(kernel);
    let client = kernel.sched.peek(token.asker());
    let Some(client) = client.map(|client| client.state.get(kernel)) else {
        return false;
    };
    let Some(handed) = &client.handed else {
        return false;
    };
    let is_right = rights.contains(NEEDED)
        // Only the server answers.
        && Arc::ptr_eq(&service.owner, &server.process)
        && handed.token == token
        && Arc::ptr_eq(&handed.remote.service, service)
        && handed.remote.state.get(kernel).uses > 1;
    let only_waits = !has_news(state)
        && state.server.is_none()
        && state.queue.is_none()
        && !state.ended
        && !server.state.get(kernel).hasty;
    is_right && only_waits && sched::can_hand_over(kernel, core, client, client.priority)
}

#[cold]
fn end(remote: Remote) {
    drop(remote);
}

//! The fast path of `do_io` to a server that takes its requests from a queue: a request without data
//! goes into the queue's ring, and the answer, an entry of that ring, to the thread that asked.
//!
//! If a thread of the server waits for the queue on this core the core goes straight to it, and
//! straight back when that waits again; otherwise each is made ready. Whatever else is to be done goes
//! the long way ([`super::call`], [`super::batch`]), as in [`super::direct`].

use alloc::sync::Arc;
use spillway_abi::{
    Error, Rights,
    call::{NO_DEADLINE, Operation},
    queue::{Completion, MESSAGE},
    service::Token,
};

use super::{
    direct::{Handed, plain},
    has_news,
    relay::Due,
};
use crate::{
    arch::entry,
    kernel::{Guard, Kernel},
    object::{IoQueue, Remote, Service, Thread, queue::Front, thread::Wait},
    sched,
    syscall::Outcome,
};

/// Asks a server for a thread that is in `do_io`. The guard and the object come back if that cannot be
/// done here, and nothing has changed then.
pub fn ask(
    mut guard: Guard,
    thread: &Arc<Thread>,
    remote: Arc<Remote>,
    rights: Rights,
    operation: u64,
    [a, b, c, d]: [u64; 4],
) -> Result<Outcome, (Guard, Arc<Remote>)> {
    let kernel = &mut *guard;
    let state = remote.service.state.get(kernel);
    let (Some((queue, number)), false) = (&state.queue, state.ended || has_news(state)) else {
        return Err((guard, remote));
    };
    let (server, service) = (queue.clone(), *number);
    let Some(what) = plain(operation, rights, d) else {
        return Err((guard, remote));
    };
    if thread.state.get(kernel).hasty || !server.has_room(kernel) {
        return Err((guard, remote));
    }
    let token = Token::new(thread.slot, None, kernel.requests.next_sequence());
    let message = Completion {
        user_data: remote.number,
        status: MESSAGE,
        service,
        value: token.0,
        trace: 0,
        what: what.0,
        arguments: [a, b, c],
    };
    remote.state.get_mut(kernel).uses += 1;
    remote.service.state.get_mut(kernel).taken_count += 1;
    let handed = Handed {
        asker: thread.clone(),
        remote,
        token,
        what,
    };
    sched::put(&mut thread.state.get_mut(kernel).handed, handed);
    if server.put(kernel, &message) {
        let server_queue;
        (guard, server_queue, _) =
            server.switch_to_waiter(guard, thread, Wait::Answer, NO_DEADLINE);
        server_queue.wake(&mut guard);
    }
    entry::leave_by_call();
    sched::wait_listed(&mut guard, thread, Wait::Answer, NO_DEADLINE);
    Ok(Outcome::Switch(guard))
}

/// Gives the answer that is next in a queue of the server to the thread that asked, which runs next.
/// `None` if it is to be given otherwise, and nothing has changed then.
pub fn answer(
    kernel: &mut Kernel,
    queue: &IoQueue,
    service: &Arc<Service>,
    front: &Front,
    due: &mut Due,
) -> Option<u32> {
    let token = Token(front.a);
    let [status, value] = [front.b, front.c];
    let answer = match (status, Error::from_raw(status)) {
        (0, _) => Ok(value),
        (_, Some(error)) => Err((error, value)),
        _ => return None,
    };
    if front.first >> 32 != Operation::Reply as u64
        || front.deadline != 0
        || service.state.get(kernel).ended
    {
        return None;
    }
    let handed = kernel.sched.peek(token.asker())?.state.get(kernel);
    let handed = handed.handed.as_ref()?;
    let is_right = handed.token == token
        && Arc::ptr_eq(&handed.remote.service, service)
        && handed.remote.state.get(kernel).uses > 1;
    if !is_right {
        return None;
    }
    let Handed { asker, remote, .. } = sched::state_at(kernel, token.asker())?.handed.take()?;
    queue.state.get_mut(kernel).take_front();
    remote.state.get_mut(kernel).uses -= 1;
    service.state.get_mut(kernel).taken_count -= 1;
    sched::unblock(kernel, &asker);
    asker.set_answer(kernel, answer);
    due.add(kernel, Due::Thread(asker));
    Some(1)
}

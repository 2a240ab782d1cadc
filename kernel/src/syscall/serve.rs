//! `Serve`: a server answers, and waits for the next request, in one call.

use alloc::sync::Arc;
use spillway_abi::{
    Error, Rights,
    call::NO_DEADLINE,
    service::{Reply, Token},
};

use super::{Arguments, Outcome, SystemCall, handle, service::check_server};
use crate::{
    arch::entry,
    ipc,
    kernel::{self, Guard, Kernel},
    object::{Object, Service, Thread, thread::Wait},
    sched,
};

/// [`spillway_abi::Call::Serve`].
pub struct Serve;

impl SystemCall for Serve {
    fn call(
        thread: &Arc<Thread>,
        [service, token, status, value, extra, deadline]: Arguments,
    ) -> Outcome {
        let mut guard = kernel::lock();
        if status == 0 && deadline == NO_DEADLINE {
            guard = ipc::direct::answer(guard, thread, service, Token(token), value);
        }
        serve(
            guard,
            thread,
            [service, token, status, value, extra, deadline],
        )
    }
}

/// The long way.
#[inline(never)]
fn serve(
    mut guard: Guard,
    thread: &Arc<Thread>,
    [service, token, status, value, extra, deadline]: Arguments,
) -> Outcome {
    let service = match target(&guard, thread, service) {
        Ok(service) => service,
        Err(error) => return Outcome::Done(Err(error)),
    };
    let answered = Ok(service).and_then(|service| {
        if token == Token::NONE.0 {
            return Ok((service, None));
        }
        let answer = Reply::from_raw([status, value, extra])?;
        let client = ipc::reply::reply(&mut guard, &service, Token(token), answer)?;
        Ok((service, client))
    });
    match answered {
        Ok((service, client)) => next(guard, thread, service, client, deadline),
        Err(error) => Outcome::Done(Err(error)),
    }
}

fn target(kernel: &Kernel, thread: &Thread, raw: u64) -> Result<Arc<Service>, Error> {
    let needed = Rights::WAIT | Rights::WRITE;
    let process = &thread.process;
    let service = process.typed(kernel, handle(raw)?, needed, Object::service)?;
    check_server(thread, &service)?;
    Ok(service)
}

/// Takes the next message, or waits for one. `client` was answered, is on no list, and is to run.
#[inline]
fn next(
    mut guard: Guard,
    thread: &Arc<Thread>,
    service: Arc<Service>,
    client: Option<Arc<Thread>>,
    deadline: u64,
) -> Outcome {
    sched::restore_priority(&mut guard, thread);
    let state = service.state.get(&guard);
    let refused = if state.ended {
        Some(Error::ServerGone)
    } else if state.queue.is_some() {
        Some(Error::Busy)
    } else {
        None
    };
    if let Some(error) = refused {
        client.inspect(|client| sched::make_ready(&mut guard, client));
        return Outcome::Done(Err(error));
    }
    ipc::window::begin(&mut guard, &service);
    if let Some(message) = ipc::take(&mut guard, &service) {
        client.inspect(|client| sched::make_ready(&mut guard, client));
        entry::leave_by_call();
        thread.set_message(&mut guard, &message);
        ipc::lend_priority(&mut guard, thread, message.token);
        return Outcome::Resume(guard);
    }
    if sched::has_passed(deadline) {
        client.inspect(|client| sched::make_ready(&mut guard, client));
        return Outcome::Done(Err(Error::TimedOut));
    }
    if thread.state.get(&guard).stop {
        client.inspect(|client| sched::make_ready(&mut guard, client));
        return Outcome::Done(Err(Error::Interrupted));
    }
    entry::leave_by_call();
    ipc::add_server(&mut guard, &service, thread);
    sched::wait_listed(&mut guard, thread, Wait::Serve(service.key()), deadline);
    if thread.process.is_ending() {
        sched::interrupt_thread(&mut guard, thread.slot);
    }
    match client {
        Some(client) if sched::can_switch_to(&guard, &client) => Outcome::SwitchTo(guard, client),
        Some(client) => {
            sched::make_ready(&mut guard, &client);
            Outcome::Switch(guard)
        }
        None => Outcome::Switch(guard),
    }
}

//! Answers: from a server's token to whoever asked.

use alloc::sync::Arc;
use spillway_abi::{
    Error, Rights,
    call::Operation,
    service::{Reply, Token},
};
use spillway_kernel_core::handles::restrict;

use super::{
    Asked, CopyOut, Stage, delist, let_go, over, release,
    requests::{self, Entry, Request},
    window::{forget_token, release_slot},
    with_asked,
};
use crate::{
    kernel::Kernel,
    object::{Object, Process, Service, Thread},
    sched::{self, work::Work},
    syscall::insert,
};

/// What the asker gets: a value, or an error with a number beside it.
pub type Answer = Result<u64, (Error, u64)>;

/// Answers the request that a token names. If a thread asked it is returned: it is on no list, and
/// is to run. A request whose asker gave up is answered to nobody.
///
/// Errors are the server's mistakes, and leave the request as it is: [`Error::NotFound`] for a
/// token of no request, and those of a handle that is passed or an object that is minted.
pub fn reply(
    kernel: &mut Kernel,
    service: &Arc<Service>,
    token: Token,
    reply: Reply,
) -> Result<Option<Arc<Thread>>, Error> {
    if !is_taken(kernel, service, token) {
        return let_slot_go(kernel, service, token).map(|()| None);
    }
    let answer = match reply {
        Reply::Value(value) => Ok(value),
        Reply::Error(error, detail) => Err((error, detail)),
        Reply::Handle(handle, wanted) => {
            let server = &service.owner;
            let (object, have) = server.state.get(kernel).handles.get(handle)?;
            let rights = restrict(have, wanted)?;
            if !have.contains(Rights::TRANSFER) {
                return Err(Error::MissingRight);
            }
            let object = object.clone();
            check_yields(kernel, token)?;
            pass(kernel, token.asker(), object, rights)
        }
        Reply::Object(number, rights) => {
            check_yields(kernel, token)?;
            let remote = service.mint(kernel, number)?;
            remote.state.get_mut(kernel).uses += 1;
            let passed = pass(
                kernel,
                token.asker(),
                Object::Remote(remote.clone()),
                rights,
            );
            // The server has made it: it hears that the object is closed if it was not passed.
            release(kernel, &remote);
            passed
        }
    };
    answer_taken(kernel, service, token, answer)
}

/// Whether the server has the request that a token names.
fn is_taken(kernel: &mut Kernel, service: &Arc<Service>, token: Token) -> bool {
    let same = with_asked(kernel, token.asker(), |asked| {
        asked.message.token == token
            && asked.stage != Stage::Waiting
            && Arc::ptr_eq(&asked.remote.service, service)
    });
    token != Token::NONE && same == Some(true)
}

/// [`Error::BadArgument`] unless the value of the request's operation is a handle: the client of any
/// other would not know that it has one.
fn check_yields(kernel: &mut Kernel, token: Token) -> Result<(), Error> {
    let operation = with_asked(kernel, token.asker(), |asked| {
        asked.message.what.operation()
    });
    match operation.and_then(Operation::from_raw) {
        Some(Operation::Open | Operation::Create | Operation::Share) => Ok(()),
        _ => Err(Error::BadArgument),
    }
}

/// Nobody waits for the answer any more, but the slot of the window is free now.
fn let_slot_go(kernel: &mut Kernel, service: &Arc<Service>, token: Token) -> Result<(), Error> {
    let window = service.state.get(kernel).window.as_ref();
    match token.window_slot() {
        Some(slot) if window.is_some_and(|window| window.has(token)) => {
            release_slot(kernel, service, slot);
            Ok(())
        }
        _ => Err(Error::NotFound),
    }
}

/// Puts an object into the asker's table. That there is no room is for the asker to hear.
fn pass(kernel: &mut Kernel, asker: u16, object: Object, rights: Rights) -> Answer {
    let process = process_of(kernel, asker).ok_or((Error::Gone, 0))?;
    match insert(kernel, &process, object, rights) {
        Ok(handle) => Ok(handle.raw().into()),
        Err(error) => Err((error, 0)),
    }
}

fn process_of(kernel: &mut Kernel, asker: u16) -> Option<Arc<Process>> {
    if asker < requests::FIRST {
        return Some(kernel.sched.find(asker)?.process.clone());
    }
    match kernel.requests.find(asker)? {
        Request::Asked(entry, _) => Some(entry.queue.owner.clone()),
        _ => None,
    }
}

/// Gives the answer to a request that may be at any stage. [`Error::NotFound`].
pub fn answer(
    kernel: &mut Kernel,
    service: &Arc<Service>,
    token: Token,
    answer: Answer,
) -> Result<(), Error> {
    if let Some(thread) = answer_taken(kernel, service, token, answer)? {
        sched::make_ready(kernel, &thread);
    }
    Ok(())
}

fn answer_taken(
    kernel: &mut Kernel,
    service: &Arc<Service>,
    token: Token,
    answer: Answer,
) -> Result<Option<Arc<Thread>>, Error> {
    let asker = token.asker();
    if asker < requests::FIRST {
        let thread = kernel.sched.find(asker).ok_or(Error::NotFound)?;
        let asked = super::take_asked(kernel, &thread).ok_or(Error::NotFound)?;
        delist(kernel, service, asker, asked.stage);
        answer_thread(kernel, service, &thread, &asked, answer);
        let_go(kernel, asked);
        return Ok(Some(thread));
    }
    let request = kernel.requests.find(asker).ok_or(Error::NotFound)?;
    if let Request::Asked(entry, mut asked) = core::mem::take(request) {
        delist(kernel, service, asker, asked.stage);
        let remote = asked.remote.clone();
        let gift = asked.gift.take();
        answer_request(kernel, service, asker, entry, asked, answer);
        over(kernel, &remote, gift);
    }
    Ok(None)
}

/// The bytes to be copied out of a slot of the window, and which that is.
fn to_copy(asked: &Asked, answer: Answer) -> Option<(u16, u64)> {
    let slot = asked.message.token.window_slot()?;
    let (_, most) = asked.destination?;
    match answer {
        Ok(bytes) if bytes > 0 => Some((slot, bytes.min(most))),
        _ => None,
    }
}

#[inline]
fn answer_thread(
    kernel: &mut Kernel,
    service: &Arc<Service>,
    thread: &Thread,
    asked: &Asked,
    answer: Answer,
) {
    sched::unblock(kernel, thread);
    if let (Some((slot, bytes)), Some((address, _))) = (to_copy(asked, answer), asked.destination) {
        forget_token(kernel, service, slot);
        let copy = CopyOut::new(service.clone(), slot, (address, bytes));
        thread.state.get_mut(kernel).work = Some(Work::CopyOut(copy));
        return;
    }
    if let Some(slot) = asked.message.token.window_slot() {
        release_slot(kernel, service, slot);
    }
    thread.set_answer(kernel, answer);
}

fn answer_request(
    kernel: &mut Kernel,
    service: &Arc<Service>,
    slot: u16,
    entry: Entry,
    asked: Asked,
    answer: Answer,
) {
    let queue = entry.queue.clone();
    if let Some((window_slot, bytes)) = to_copy(&asked, answer) {
        forget_token(kernel, service, window_slot);
        requests::set(kernel, slot, Request::Answered(entry, asked, bytes));
        queue.to_copy(kernel, slot);
        return;
    }
    if let Some(window_slot) = asked.message.token.window_slot() {
        release_slot(kernel, service, window_slot);
    }
    queue.complete(kernel, slot, &entry, answer);
}

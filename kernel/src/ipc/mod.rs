//! From a client to the process that serves an object, and back.
//!
//! ```text
//!  do_io ──► call ──► prepare ──► (copy into the window) ──► send ─┬─► a waiting thread: switched to
//!  Enter ──► batch ──► prepare ──► (copy into the window) ──► send ┼─► the queue of the service
//!                └───► relay, if there is no data ─────────────────┤
//!                                                                  └─► waiting, until `take`
//!  Serve, Reply ──► reply ──► the thread that asked, or the queue that asked
//! ```
//!
//! Whoever asks is an *asker*: a thread, or a request of a queue ([`requests`]). Both have a slot
//! in the same space of numbers, so that they stand on the same lists. What is asked ([`Asked`])
//! lies in the thread or in the request until it is answered.

pub mod batch;
pub mod call;
mod copy;
pub mod direct;
pub mod end;
pub mod enter;
mod gift;
mod prepare;
pub mod relay;
pub mod reply;
pub mod requests;
pub mod streams;
pub mod thread_to_queue;
pub mod window;

use alloc::sync::Arc;
use spillway_abi::{
    Rights,
    queue::{Completion, MESSAGE},
    service::{Message, Notice, Token, What},
};

pub use call::Call;
pub use copy::CopyOut;
use direct::Handed;
use gift::Gift;
use requests::Request;
use window::release_slot;

use crate::{
    arch::core,
    kernel::Kernel,
    object::{Remote, Service, Thread, service::ServiceState},
    sched,
};

/// A request on a served object, from when it is sent until it is answered.
#[derive(Debug)]
pub struct Asked {
    /// On what.
    pub remote: Arc<Remote>,
    /// What the server gets.
    pub message: Message,
    /// Where in the asker's memory what is read goes, and how many bytes at most.
    pub destination: Option<(u64, u64)>,
    /// What the server is given when it takes the request.
    pub gift: Option<Gift>,
    /// How far it has come, which says on which list of the service the asker is.
    pub stage: Stage,
}

/// A request that the fast path brought to the server: what an answer needs.
#[derive(Debug)]
pub struct Direct {
    /// On what.
    pub remote: Arc<Remote>,
    /// Names it.
    pub token: Token,
    /// What it is.
    pub what: What,
}

impl Direct {
    /// As every other request, but for the arguments, which the server has.
    fn in_full(self) -> Asked {
        Asked {
            message: Message {
                token: self.token,
                object: self.remote.number,
                what: self.what,
                arguments: [0; 3],
                trace: 0,
            },
            remote: self.remote,
            destination: None,
            gift: None,
            stage: Stage::Taken,
        }
    }
}

/// What a thread asked, taken out of it.
pub fn take_asked(kernel: &mut Kernel, thread: &Thread) -> Option<Asked> {
    let state = thread.state.get_mut(kernel);
    let handed = state.handed.take().map(Handed::in_full);
    handed.or_else(|| state.asked.take())
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has taken it.
    Waiting,
    /// The server has it.
    Taken,
    /// The server has it, and is to be told that nobody wants it any more.
    Cancelled,
}

impl Asked {
    /// Whether nobody has taken it yet.
    pub fn is_waiting(&self) -> bool {
        self.stage == Stage::Waiting
    }

    /// Whether it names registered memory, which a device may reach until it is answered.
    pub fn is_registered(&self) -> bool {
        self.message.what.registration() != 0
    }
}

/// What became of a request that was sent.
pub enum Sent {
    /// A thread of the server has it, and is to run: it is on no list.
    To(Arc<Thread>),
    /// It is on its way.
    Queued,
}

/// Counts an asker at a stage, and puts it on the list of that stage if there is one.
#[inline]
fn enlist(kernel: &mut Kernel, service: &Service, asker: u16, stage: Stage) {
    let (state, links) = service.state.get_with_links(kernel);
    match stage {
        Stage::Waiting => {
            state.waiting.push_back(links, asker);
            state.waiting_count += 1;
            return;
        }
        Stage::Taken => {}
        Stage::Cancelled => state.cancelled.push_back(links, asker),
    }
    state.taken_count += 1;
}

/// Ends what [`enlist`] began.
#[inline]
fn delist(kernel: &mut Kernel, service: &Service, asker: u16, stage: Stage) {
    let (state, links) = service.state.get_with_links(kernel);
    match stage {
        Stage::Waiting => {
            state.waiting.remove(links, asker);
            state.waiting_count -= 1;
            return;
        }
        Stage::Taken => {}
        Stage::Cancelled => state.cancelled.remove(links, asker),
    }
    state.taken_count -= 1;
}

/// A thread waits for a request from here on.
pub fn add_server(kernel: &mut Kernel, service: &Service, thread: &Arc<Thread>) {
    let (state, links) = service.state.get_with_links(kernel);
    match state.server {
        None => state.server = Some(thread.clone()),
        Some(_) => state.servers.push_back(links, thread.slot),
    }
}

/// A thread no longer does.
pub fn remove_server(kernel: &mut Kernel, service: &Service, slot: u16) {
    let (state, links) = service.state.get_with_links(kernel);
    if state
        .server
        .as_ref()
        .is_some_and(|server| server.slot == slot)
    {
        state.server = None;
        promote_server(kernel, service);
    } else {
        state.servers.remove(links, slot);
    }
}

/// The first of a service's threads has got a request: the next one takes its place.
fn promote_server(kernel: &mut Kernel, service: &Service) {
    let (state, links) = service.state.get_with_links(kernel);
    let next = state.servers.pop_front(links);
    let next = next.and_then(|slot| kernel.sched.find(slot));
    service.state.get_mut(kernel).server = next;
}

/// Calls `f` with what an asker asked. `None` if it asked nothing.
fn with_asked<R>(kernel: &mut Kernel, asker: u16, f: impl FnOnce(&mut Asked) -> R) -> Option<R> {
    if asker < requests::FIRST {
        let thread = kernel.sched.find(asker)?;
        let state = thread.state.get_mut(kernel);
        if let Some(handed) = state.handed.take() {
            state.asked = Some(handed.in_full());
        }
        state.asked.as_mut().map(f)
    } else {
        streams::write_out(kernel, asker);
        match kernel.requests.find(asker)? {
            Request::Asked(_, asked) => Some(f(asked)),
            _ => None,
        }
    }
}

/// Sends a request. `asked` has been put into the asker already, or is put there by `store`.
/// The service has not ended.
pub fn send(
    kernel: &mut Kernel,
    asker: u16,
    mut asked: Asked,
    store: impl FnOnce(&mut Kernel, Asked),
) -> Sent {
    let service = asked.remote.service.clone();
    let remote = asked.remote.state.get_mut(kernel);
    remote.uses += 1;
    if let Some(gift) = &asked.gift {
        gift.hold(kernel);
    }
    if let Some(slot) = asked.message.token.window_slot()
        && let Some(window) = &mut service.state.get_mut(kernel).window
    {
        window.assign(slot, asked.message.token);
    }
    // The usual case first: a thread of the server waits, and nothing is to be handed over.
    if asked.gift.is_none()
        && let Some(server) = pick_server(kernel, &service)
    {
        asked.stage = Stage::Taken;
        enlist(kernel, &service, asker, Stage::Taken);
        hand_over(kernel, &server, &asked.message);
        store(kernel, asked);
        return Sent::To(server);
    }
    asked.stage = Stage::Waiting;
    enlist(kernel, &service, asker, Stage::Waiting);
    store(kernel, asked);
    pump(kernel, &service);
    Sent::Queued
}

/// Takes a thread that waits for requests, on this core if there is one, off the list.
fn pick_server(kernel: &mut Kernel, service: &Service) -> Option<Arc<Thread>> {
    let me = core().index.get();
    let first = service.state.get(kernel).server.as_ref()?.slot;
    let mut chosen = first;
    let mut next = Some(first);
    while let Some(slot) = next {
        let home = kernel.sched.find(slot).map(|t| t.state.get(kernel).home);
        if home == Some(me) {
            chosen = slot;
            break;
        }
        let servers = &service.state.get(kernel).servers;
        next = match slot == first {
            true => servers.front(),
            false => kernel.sched.next_in(servers, slot),
        };
    }
    remove_server(kernel, service, chosen);
    kernel.sched.find(chosen)
}

/// Gives a message to a thread that waited for one, which from here on is on no list. It runs at
/// the priority of the thread that asked.
fn hand_over(kernel: &mut Kernel, server: &Thread, message: &Message) {
    sched::unblock(kernel, server);
    server.set_message(kernel, message);
    lend_priority(kernel, server, message.token);
}

/// Lets a thread run at the priority of the thread that asked, until it answers or waits. Nobody
/// asked for a notice.
pub fn lend_priority(kernel: &mut Kernel, server: &Thread, token: Token) {
    if token != Token::NONE
        && token.asker() < requests::FIRST
        && let Some(client) = kernel.sched.find(token.asker())
    {
        let priority = client.state.get(kernel).priority;
        if server.state.get(kernel).priority != priority {
            sched::use_priority(kernel, server, priority);
        }
    }
}

/// The next message for a server, if there is one: first what was closed, then what was cancelled,
/// then the oldest request.
pub fn take(kernel: &mut Kernel, service: &Arc<Service>) -> Option<Message> {
    if let Some(remote) = service.state.get_mut(kernel).closed.take() {
        service.state.get_mut(kernel).closed = remote.state.get_mut(kernel).next.take();
        return Some(Message {
            token: Token::NONE,
            object: remote.number,
            what: What::new(Notice::Closed, 0, 0, Rights::empty()),
            arguments: [0; 3],
            trace: 0,
        });
    }
    if let Some(asker) = service.state.get(kernel).cancelled.front() {
        delist(kernel, service, asker, Stage::Cancelled);
        enlist(kernel, service, asker, Stage::Taken);
        return with_asked(kernel, asker, |asked| {
            asked.stage = Stage::Taken;
            let what = asked.message.what;
            let operation = what.operation() as u8;
            Message {
                what: What::new(
                    Notice::Cancelled,
                    operation,
                    what.registration(),
                    what.rights(),
                ),
                ..asked.message
            }
        });
    }
    loop {
        let asker = service.state.get(kernel).waiting.front()?;
        delist(kernel, service, asker, Stage::Waiting);
        enlist(kernel, service, asker, Stage::Taken);
        let (message, gift) = with_asked(kernel, asker, |asked| {
            asked.stage = Stage::Taken;
            (asked.message, asked.gift.take())
        })?;
        let Some(gift) = gift else {
            return Some(message);
        };
        match gift.give(kernel, service, message.object) {
            Ok(handle) => {
                let [_, b, c] = message.arguments;
                let arguments = [handle.raw().into(), b, c];
                return with_asked(kernel, asker, |asked| {
                    asked.message.arguments = arguments;
                    asked.message
                });
            }
            // The server's table is full: that is for the client to hear.
            Err(error) => {
                let _ = reply::answer(kernel, service, message.token, Err((error, 0)));
            }
        }
    }
}

/// Whether there is a message that nobody has taken.
#[inline]
pub fn has_news(state: &ServiceState) -> bool {
    !state.waiting.is_empty() || !state.cancelled.is_empty() || state.closed.is_some()
}

/// Hands out messages as long as there are any and somebody who takes them.
pub fn pump(kernel: &mut Kernel, service: &Arc<Service>) {
    let state = service.state.get_mut(kernel);
    // What is refused while messages are handed out can come back here. Whoever hands them out
    // already finds that, too; two at once would each count on the room of the other.
    if !has_news(state) || core::mem::replace(&mut state.pumps, true) {
        return;
    }
    hand_out(kernel, service);
    service.state.get_mut(kernel).pumps = false;
}

fn hand_out(kernel: &mut Kernel, service: &Arc<Service>) {
    if let Some((queue, number)) = service.state.get(kernel).queue.clone() {
        while queue.has_room(kernel) {
            let Some(message) = take(kernel, service) else {
                return;
            };
            queue.post(kernel, &completion_of(&message, number));
        }
        return;
    }
    while service.state.get(kernel).server.is_some() {
        let Some(message) = take(kernel, service) else {
            return;
        };
        if let Some(server) = pick_server(kernel, service) {
            hand_over(kernel, &server, &message);
            sched::make_ready(kernel, &server);
        }
    }
}

/// A message as it stands in a completion ring.
fn completion_of(message: &Message, service: u32) -> Completion {
    Completion {
        user_data: message.object,
        status: MESSAGE,
        service,
        value: message.token.0,
        trace: message.trace,
        what: message.what.0,
        arguments: message.arguments,
    }
}

/// Takes back a request whose asker no longer waits for it. If the server has it, it may answer
/// still: nobody hears that, and the slot of the window is free then.
pub fn withdraw(kernel: &mut Kernel, asker: u16, asked: Asked) {
    let service = asked.remote.service.clone();
    delist(kernel, &service, asker, asked.stage);
    if asked.stage == Stage::Waiting
        && let Some(slot) = asked.message.token.window_slot()
    {
        release_slot(kernel, &service, slot);
    }
    let_go(kernel, asked);
}

/// A request is over.
fn let_go(kernel: &mut Kernel, asked: Asked) {
    over(kernel, &asked.remote, asked.gift);
}

/// The same for what it held.
fn over(kernel: &mut Kernel, remote: &Arc<Remote>, gift: Option<Gift>) {
    if let Some(gift) = gift {
        gift.release(kernel);
    }
    release(kernel, remote);
    if remote.service.state.get(kernel).ended {
        end::retire(kernel, &remote.service);
    }
}

/// A handle to a served object, or a request on it, is no more. The last one tells the server.
pub fn release(kernel: &mut Kernel, remote: &Arc<Remote>) {
    let state = remote.state.get_mut(kernel);
    state.uses -= 1;
    if state.uses > 0 {
        return;
    }
    let service = &remote.service;
    let service_state = service.state.get_mut(kernel);
    service_state
        .events
        .retain(|(number, _)| *number != remote.number);
    if service_state.ended {
        return;
    }
    let before = service_state.closed.replace(remote.clone());
    remote.state.get_mut(kernel).next = before;
    pump(kernel, service);
}

//! The end of a service, and of a queue.
//!
//! A service ends with its server, or when the server says so. Whoever asked is told `ServerGone`,
//! once. A request that named registered memory is told only when the server's end has come to
//! its services, which is after its devices were taken back: until then a device may reach that
//! memory.

use alloc::sync::Arc;
use spillway_abi::Error;

use super::{
    Stage, delist, enlist, reply,
    requests::{self, Entry, Request, WAITERS},
    streams,
    window::{release_slot, wake_waiter},
    with_asked, withdraw,
};
use crate::{
    kernel::{Guard, Kernel},
    object::{IoQueue, Process, Service, queue::completion, thread::Wait},
    sched::{
        self,
        work::{Progress, Work},
    },
};

/// Requests answered per step.
const ANSWERS: usize = 16;
/// Askers looked at per step.
const SEEN: u16 = 256;

/// A service that is being ended.
#[derive(Debug)]
pub struct EndService {
    service: Arc<Service>,
    /// Its server is ending, too, and has no device any more.
    is_last: bool,
    /// Askers that were looked at for a request that was taken.
    seen: u16,
}

impl EndService {
    /// By the server's wish.
    pub fn by_wish(kernel: &mut Kernel, service: Arc<Service>) -> Self {
        begin(kernel, &service);
        Self {
            service,
            is_last: false,
            seen: 0,
        }
    }

    /// With the server.
    pub fn with_server(kernel: &mut Kernel, service: Arc<Service>) -> Self {
        begin(kernel, &service);
        Self {
            service,
            is_last: true,
            seen: 0,
        }
    }

    /// A part. Whether that was all.
    pub fn advance(&mut self, kernel: &mut Kernel) -> bool {
        for _ in 0..ANSWERS {
            if !self.answer_one(kernel) {
                return self.answer_taken(kernel) && self.finish(kernel);
            }
        }
        false
    }

    /// Looks at some askers for requests that were taken. Whether those were the last.
    fn answer_taken(&mut self, kernel: &mut Kernel) -> bool {
        let end = (self.seen + SEEN).min(WAITERS as u16);
        for asker in self.seen..end {
            if self.service.state.get(kernel).taken_count == 0 {
                return true;
            }
            let token = with_asked(kernel, asker, |asked| {
                let is_here = Arc::ptr_eq(&asked.remote.service, &self.service);
                (is_here && (self.is_last || !asked.is_registered())).then_some(asked.message.token)
            });
            if let Some(Some(token)) = token {
                let _ = reply::answer(kernel, &self.service, token, Err((Error::ServerGone, 0)));
            }
        }
        self.seen = end;
        usize::from(end) == WAITERS
    }

    /// Whose service it is.
    pub fn server(&self) -> &Arc<Process> {
        &self.service.owner
    }

    /// A part as an operation of its own.
    pub fn step(mut self, guard: &mut Guard) -> Progress {
        if self.advance(guard) {
            Progress::Done(Ok(0))
        } else {
            Progress::More(Work::EndService(self))
        }
    }

    /// Lets one who waits know. False if there is nobody.
    fn answer_one(&self, kernel: &mut Kernel) -> bool {
        let service = &self.service;
        let state = service.state.get_mut(kernel);
        if let Some(remote) = state.closed.take() {
            service.state.get_mut(kernel).closed = remote.state.get_mut(kernel).next.take();
            return true;
        }
        if wake_waiter(kernel, service, None) {
            return true;
        }
        if let Some(asker) = service.state.get(kernel).cancelled.front() {
            // It has been taken, and nobody is to be told any more.
            delist(kernel, service, asker, Stage::Cancelled);
            enlist(kernel, service, asker, Stage::Taken);
            with_asked(kernel, asker, |asked| asked.stage = Stage::Taken);
            return true;
        }
        let Some(asker) = service.state.get(kernel).waiting.front() else {
            return false;
        };
        let token = with_asked(kernel, asker, |asked| asked.message.token);
        let answered =
            token.map(|token| reply::answer(kernel, service, token, Err((Error::ServerGone, 0))));
        debug_assert_eq!(answered, Some(Ok(())), "an asker on a list has asked");
        true
    }

    /// Everybody knows who can know yet.
    fn finish(&self, kernel: &mut Kernel) -> bool {
        let service = &self.service;
        let state = service.state.get_mut(kernel);
        if let Some((queue, _)) = state.queue.take() {
            queue.unbind(kernel, service);
        }
        signal_events(kernel, service);
        retire(kernel, service);
        true
    }
}

/// Takes a service that has ended from its server once nobody waits for an answer any more: a
/// request that named registered memory can be answered long after.
pub fn retire(kernel: &mut Kernel, service: &Arc<Service>) {
    let state = service.state.get_mut(kernel);
    let is_over = state.taken_count == 0
        && state.waiting.is_empty()
        && state.window_waiters.is_empty()
        && state.closed.is_none()
        && state.queue.is_none();
    if !is_over {
        return;
    }
    if let Some(window) = state.window.take() {
        window.memory.let_go(kernel, &service.owner.account);
    }
    let services = &mut service.owner.state.get_mut(kernel).services;
    services.retain(|other| !Arc::ptr_eq(other, service));
}

/// Nothing new comes to a service, and its threads no longer wait for it.
fn begin(kernel: &mut Kernel, service: &Arc<Service>) {
    service.state.get_mut(kernel).ended = true;
    while let Some(thread) = service.state.get(kernel).server.clone() {
        super::remove_server(kernel, service, thread.slot);
        sched::unblock(kernel, &thread);
        thread.set_result(kernel, Err(Error::ServerGone));
        sched::make_ready(kernel, &thread);
    }
}

/// Wakes those who sleep beside the service, not before all that they can be told has been: they
/// look whether it was, and sleep again if not. With requests left that are still to be answered
/// they are woken once more, by the server's end.
fn signal_events(kernel: &mut Kernel, service: &Service) {
    for index in 0.. {
        let events = &service.state.get(kernel).events;
        let Some((_, event)) = events.get(index).cloned() else {
            break;
        };
        event.signal(kernel);
    }
    let state = service.state.get_mut(kernel);
    if state.taken_count == 0 {
        state.events.clear();
    }
}

/// Nobody has a handle to a queue any more: what is under way is nobody's, and what comes of it is
/// dropped.
pub fn end_queue(kernel: &mut Kernel, queue: &Arc<IoQueue>) {
    for index in 0.. {
        let Some(&slot) = queue.state.get(kernel).slots.get(index) else {
            break;
        };
        streams::write_out(kernel, slot);
        let request = core::mem::take(kernel.requests.get(slot));
        drop_request(kernel, slot, request);
    }
    queue.end(kernel);
}

fn drop_request(kernel: &mut Kernel, slot: u16, request: Request) {
    match request {
        Request::Free | Request::Timer(_) => {}
        Request::Wait(entry, wait) => stop_waiting(kernel, slot, &entry, &wait),
        Request::Asked(_, asked) => withdraw(kernel, slot, asked),
        Request::Answered(entry, asked, _) => {
            entry.queue.copied(kernel, slot);
            if let Some(window_slot) = asked.message.token.window_slot() {
                release_slot(kernel, &asked.remote.service, window_slot);
            }
        }
    }
}

/// Takes a request off the list of what it waits for.
pub fn stop_waiting(kernel: &mut Kernel, slot: u16, entry: &Entry, wait: &Wait) {
    sched::remove_deadline(kernel, entry.home, slot);
    sched::edit_waiters(kernel, wait, |list, links| list.remove(links, slot));
}

/// What a request waited for has happened, or its deadline has come: it is on no list any more.
pub fn complete_wait(kernel: &mut Kernel, slot: u16, result: Result<u64, Error>) {
    let Request::Wait(entry, _) = core::mem::take(kernel.requests.get(slot)) else {
        return;
    };
    sched::remove_deadline(kernel, entry.home, slot);
    let queue = entry.queue.clone();
    queue.complete(kernel, slot, &entry, result.map_err(|error| (error, 0)));
}

/// The deadline of a slot that is not a thread's has come.
pub fn expired(kernel: &mut Kernel, slot: u16) {
    match kernel.requests.find(slot) {
        Some(Request::Timer(timer)) => {
            let timer = timer.clone();
            timer.fire(kernel);
        }
        Some(Request::Wait(_, wait)) => {
            let wait = wait.clone();
            sched::edit_waiters(kernel, &wait, |list, links| list.remove(links, slot));
            complete_wait(kernel, slot, Err(Error::TimedOut));
        }
        _ => {}
    }
}

/// Asks for a request of a queue to be given back soon, by its user data. 0 if its completion is
/// there, 1 if it is still to come, because the server may let a device reach its memory.
/// [`Error::NotFound`] if there is none.
pub fn cancel(kernel: &mut Kernel, queue: &Arc<IoQueue>, user_data: u64) -> Result<u64, Error> {
    if let Some(entry) = queue.unstall(kernel, user_data) {
        let answer = Err((Error::Cancelled, 0));
        queue.post(kernel, &completion(user_data, entry.trace, answer));
        return Ok(0);
    }
    let slot = find(kernel, queue, user_data).ok_or(Error::NotFound)?;
    streams::write_out(kernel, slot);
    match core::mem::take(kernel.requests.get(slot)) {
        Request::Wait(entry, wait) => {
            stop_waiting(kernel, slot, &entry, &wait);
            queue.complete(kernel, slot, &entry, Err((Error::Cancelled, 0)));
        }
        Request::Asked(entry, asked) if asked.stage == Stage::Waiting || !asked.is_registered() => {
            withdraw(kernel, slot, asked);
            queue.complete(kernel, slot, &entry, Err((Error::Cancelled, 0)));
        }
        Request::Asked(entry, mut asked) => {
            let service = asked.remote.service.clone();
            let before = core::mem::replace(&mut asked.stage, Stage::Cancelled);
            requests::set(kernel, slot, Request::Asked(entry, asked));
            delist(kernel, &service, slot, before);
            enlist(kernel, &service, slot, Stage::Cancelled);
            if !service.state.get(kernel).ended {
                super::pump(kernel, &service);
            }
            return Ok(1);
        }
        // It was answered: its data is copied when the queue is entered.
        other => {
            requests::set(kernel, slot, other);
            return Ok(1);
        }
    }
    Ok(0)
}

fn find(kernel: &mut Kernel, queue: &IoQueue, user_data: u64) -> Option<u16> {
    for index in 0.. {
        let slot = *queue.state.get(kernel).slots.get(index)?;
        let found = match kernel.requests.get(slot) {
            Request::Wait(entry, _) | Request::Asked(entry, _) | Request::Answered(entry, ..) => {
                entry.user_data == user_data
            }
            Request::Free | Request::Timer(_) => false,
        } || streams::is_passed(kernel, slot, user_data);
        if found {
            return Some(slot);
        }
    }
    None
}

//! From queue to queue: requests without data go from the ring of the client into that of the server,
//! and answers back, as many at a time as have the same way.
//!
//! What a batch needs is looked up and checked once. For each entry there is left: its few words,
//! which are each read once, as the program can change them at any time; a place, which keeps what
//! comes back with the completion; and the words that go into the other ring. The kernel lock is held
//! from the first entry to the last, so what was checked stays true, and the other side is shown all
//! of it at once.
//!
//! Whatever is not for this way is left in the ring, for [`super::batch`].

use alloc::sync::Arc;
use core::mem;

use spillway_abi::{
    Error, Handle, Rights,
    call::Operation,
    queue::{MESSAGE, completion_word, submission_word},
    service::{Token, What},
};
use spillway_ring::pass;

use super::{
    direct::plain,
    has_news,
    requests::{FIRST, Requests},
    streams::{self, Passed, Stream},
    thread_to_queue,
};
use crate::{
    arch::entry,
    kernel::{Guard, Kernel},
    object::{
        Event, IoQueue, Object, Remote, Service, Thread,
        queue::{Front, QueueState, completion},
        thread::Wait,
    },
    sched,
    syscall::Outcome,
};

/// Who has what it waits for since a moment ago, and was not told yet. It is before the lock is let go
/// of.
#[derive(Default)]
pub enum Due {
    /// Nobody.
    #[default]
    Nobody,
    /// The one who waits in this queue.
    Waiter(Arc<IoQueue>),
    /// This thread, which is on no list, and has its result.
    Thread(Arc<Thread>),
}

impl Due {
    /// One more. Whoever was due before is woken.
    pub fn add(&mut self, kernel: &mut Kernel, next: Self) {
        self.wake(kernel);
        *self = next;
    }

    /// Wakes whoever is due.
    pub fn wake(&mut self, kernel: &mut Kernel) {
        match mem::take(self) {
            Self::Nobody => {}
            Self::Waiter(queue) => queue.wake(kernel),
            Self::Thread(thread) => sched::make_ready(kernel, &thread),
        }
    }

    /// Lets the running thread wait for a queue with which it is registered. The one that is due goes
    /// on in its place if it can: then this does not return.
    #[inline]
    pub fn wait(
        self,
        guard: Guard,
        thread: &Thread,
        queue: Arc<IoQueue>,
        deadline: u64,
    ) -> Outcome {
        let (mut guard, mut waits) = (guard, Wait::Queue(queue));
        let mut next = None;
        match self {
            Self::Nobody => {}
            Self::Waiter(due) => {
                let other;
                (guard, other, waits) = due.switch_to_waiter(guard, thread, waits, deadline);
                other.wake(&mut guard);
            }
            Self::Thread(due) => next = Some(due),
        }
        entry::leave_by_call();
        sched::wait_listed(&mut guard, thread, waits, deadline);
        match next {
            Some(next) if sched::can_switch_to(&guard, &next) => Outcome::SwitchTo(guard, next),
            Some(next) => {
                sched::make_ready(&mut guard, &next);
                Outcome::Switch(guard)
            }
            None => Outcome::Switch(guard),
        }
    }
}

/// Passes on the entries at the front of a queue's ring that have the same way, at most so many.
/// How many there were.
pub fn run(
    kernel: &mut Kernel,
    thread: &Thread,
    queue: &Arc<IoQueue>,
    most: u32,
    due: &mut Due,
) -> u32 {
    let Some(front) = queue.state.get_mut(kernel).front() else {
        return 0;
    };
    let handles = &thread.process.state.get(kernel).handles;
    match handles.get(Handle::from_raw(front.first as u32)) {
        Ok((Object::Remote(remote), rights)) => match plain(front.first >> 32, rights, front.d) {
            Some(what) => {
                let handle = (front.first as u32, rights, what.registration() != 0);
                let remote = remote.clone();
                pass_on(kernel, queue, remote, handle, most, due)
            }
            None => None,
        },
        // Only the server answers.
        Ok((Object::Service(service), rights))
            if Arc::ptr_eq(&service.owner, &thread.process) && rights.contains(Rights::WRITE) =>
        {
            let service = service.clone();
            match Token(front.a).asker() < FIRST {
                true => thread_to_queue::answer(kernel, queue, &service, &front, due),
                false => answer(kernel, queue, &service, (front.first, front.a), most, due),
            }
        }
        Ok((Object::Event(event), rights)) if rights.contains(Rights::WRITE) => {
            let event = event.clone();
            signal(kernel, queue, &event, &front, due)
        }
        _ => None,
    }
    .unwrap_or(0)
}

/// Signals an event; whoever waited for it is due. `None` if it is another operation.
fn signal(
    kernel: &mut Kernel,
    queue: &Arc<IoQueue>,
    event: &Arc<Event>,
    front: &Front,
    due: &mut Due,
) -> Option<u32> {
    let state = queue.state.get_mut(kernel);
    let is_signal = front.first >> 32 == Operation::Write as u64 && front.deadline == 0;
    if !is_signal || state.request_room() == 0 {
        return None;
    }
    state.take_front();
    let done = completion(front.user_data, front.trace, Ok(0));
    queue.post(kernel, &done);
    if let Some(thread) = event.signal_for_switch(kernel) {
        due.add(kernel, Due::Thread(thread));
    }
    Some(1)
}

/// Passes on requests on an object. `None` if it is not to be had this way.
fn pass_on(
    kernel: &mut Kernel,
    queue: &Arc<IoQueue>,
    remote: Arc<Remote>,
    (handle, rights, is_registered): (u32, Rights, bool),
    most: u32,
    due: &mut Due,
) -> Option<u32> {
    let state = remote.service.state.get(kernel);
    if state.ended || has_news(state) {
        return None;
    }
    let (server, number) = state.queue.clone()?;
    let service = remote.service.clone();
    let object = remote.number;
    let stream = Stream {
        queue: queue.clone(),
        remote,
    };
    let stream = streams::open(kernel, stream)?;
    let target = Target {
        handle,
        rights,
        object,
        status: u64::from(MESSAGE) | u64::from(number) << 32,
        stream,
    };
    // In one queue a message must not take the room of the completion.
    let passed = match queue.state.get_both(&server.state, kernel) {
        Some((client, server, requests)) => {
            let room = client.request_room().min(server.message_room());
            let most = most.min(room);
            match is_registered {
                true => requests_to::<true>(client, server, requests, &target, most),
                false => requests_to::<false>(client, server, requests, &target, most),
            }
        }
        None => 0,
    };
    kernel.requests.places.hold(stream, passed);
    service.state.get_mut(kernel).taken_count += passed;
    streams::leave(kernel, stream, 1);
    if passed > 0 && server.publish(kernel, passed) {
        due.add(kernel, Due::Waiter(server));
    }
    Some(passed)
}

/// Where requests go.
struct Target {
    /// The handle that led there, and what it allows.
    handle: u32,
    rights: Rights,
    /// The server's number.
    object: u64,
    /// The word that says that it is a message to the service.
    status: u64,
    stream: u16,
}

/// What the server is told of the entries with this word, but for the registration: whether they
/// have one is the same for all. `None` if they are on another object, or not for this way.
#[inline]
fn base_of<const REGISTERED: bool>(first: u64, target: &Target) -> Option<u64> {
    let operation = first >> 32;
    let is_data = operation == Operation::Read as u64 || operation == Operation::Write as u64;
    if first as u32 != target.handle || is_data != REGISTERED {
        return None;
    }
    // The registration is another one for each entry.
    let what = plain(operation, target.rights, REGISTERED.into())?;
    Some(what.0 & !(0xffff << 16))
}

/// Moves requests that have a registration, or that have none; how many.
#[inline(never)]
fn requests_to<const REGISTERED: bool>(
    client: &mut QueueState,
    server: &mut QueueState,
    requests: &mut Requests,
    target: &Target,
    most: u32,
) -> u32 {
    use {completion_word as to, submission_word as from};
    let (ring, messages, free) = (
        &mut client.submitted,
        &mut server.completed,
        &mut client.free,
    );
    // The word of the entry before, and what it means. No entry for this way has this one.
    let (mut same, mut base) = (u64::MAX, 0);
    let mut sequences = requests.sequences();
    let passed = pass(ring, messages, most, |entry, message| {
        let first = entry.load(from::OBJECT);
        if first != same {
            match base_of::<REGISTERED>(first, target) {
                Some(other) => (same, base) = (first, other),
                None => return false,
            }
        }
        let mut what = base;
        if REGISTERED {
            let registration = entry.load(from::D);
            if registration.wrapping_sub(1) >= 0xffff {
                return false;
            }
            what |= registration << 16;
        }
        if entry.load(from::DEADLINE) != 0 {
            return false;
        }
        let Some((number, place)) = requests.places.take(free) else {
            return false;
        };
        let token = Token::new(FIRST + number, None, sequences.next());
        let passed = Passed {
            token,
            user_data: entry.load(from::USER_DATA),
            trace: entry.load(from::TRACE),
            what: What(what),
        };
        message.store(to::USER_DATA, target.object);
        message.store(to::STATUS, target.status);
        message.store(to::VALUE, token.0);
        message.store(to::TRACE, passed.trace);
        message.store(to::WHAT, what);
        message.store(to::A, entry.load(from::A));
        message.store(to::B, entry.load(from::B));
        message.store(to::C, entry.load(from::C));
        place.fill(target.stream, passed);
        true
    });
    requests.set_sequences(sequences);
    client.under_way_count += passed;
    client.submitted.release();
    passed
}

/// Gives the answers to requests that came this way. `None` if the first one did not, or is to be
/// answered otherwise.
fn answer(
    kernel: &mut Kernel,
    queue: &Arc<IoQueue>,
    service: &Arc<Service>,
    (first, token): (u64, u64),
    most: u32,
    due: &mut Due,
) -> Option<u32> {
    let place = Token(token).asker().wrapping_sub(FIRST);
    let number = kernel.requests.places.get(place)?.group()?;
    let stream = kernel.requests.places.group(number)?;
    if first >> 32 != Operation::Reply as u64
        || !Arc::ptr_eq(&stream.remote.service, service)
        || service.state.get(kernel).ended
    {
        return None;
    }
    let client = stream.queue.clone();
    let (from, to, requests) = queue.state.get_both(&client.state, kernel)?;
    let answered = answers_to(from, to, requests, (first, number), most);
    if answered > 0 {
        service.state.get_mut(kernel).taken_count -= answered;
        if client.publish(kernel, answered) {
            due.add(kernel, Due::Waiter(client));
        }
        streams::leave(kernel, number, answered);
    }
    Some(answered)
}

/// Moves answers to requests of a stream; how many.
#[inline(never)]
fn answers_to(
    server: &mut QueueState,
    client: &mut QueueState,
    requests: &mut Requests,
    (first, stream): (u64, u16),
    most: u32,
) -> u32 {
    use {completion_word as to, submission_word as from};
    let (completions, free) = (&mut client.completed, &mut client.free);
    let answered = pass(
        &mut server.submitted,
        completions,
        most,
        |entry, completion| {
            if entry.load(from::OBJECT) != first || entry.load(from::DEADLINE) != 0 {
                return false;
            }
            let token = Token(entry.load(from::A));
            let number = token.asker().wrapping_sub(FIRST);
            let Some(place) = requests.places.get(number) else {
                return false;
            };
            let Passed {
                user_data, trace, ..
            } = place.payload;
            if !place.is_of(stream) || place.payload.token != token {
                return false;
            }
            let status = entry.load(from::B);
            if status != 0 && Error::from_raw(status).is_none() {
                return false;
            }
            place.clear();
            place.give(free, number);
            completion.store(to::USER_DATA, user_data);
            completion.store(to::STATUS, status);
            completion.store(to::VALUE, entry.load(from::C));
            completion.store(to::TRACE, trace);
            true
        },
    );
    client.under_way_count -= answered;
    server.submitted.release();
    answered
}

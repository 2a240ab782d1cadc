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
    arch::core,
    kernel::Kernel,
    object::{
        Event, IoQueue, Object, Remote, Service, Thread,
        queue::{Front, QueueState, completion},
    },
    sched,
};

/// The thread that was woken last, which is on no list and is to run.
#[derive(Default)]
pub struct Woken(Option<Arc<Thread>>);

impl Woken {
    /// One more was woken. Those before it are made ready.
    pub fn add(&mut self, kernel: &mut Kernel, thread: Option<Arc<Thread>>) {
        if thread.is_some() {
            self.make_ready(kernel);
            self.0 = thread;
        }
    }

    /// It is made ready.
    pub fn make_ready(&mut self, kernel: &mut Kernel) {
        if let Some(thread) = self.0.take() {
            sched::make_ready(kernel, &thread);
        }
    }

    /// The running thread waits: if this core can go straight to the one that was woken it is
    /// returned.
    pub fn take_over(&mut self, kernel: &mut Kernel) -> Option<Arc<Thread>> {
        let thread = self.0.as_ref()?;
        let is_here = thread.state.get(kernel).home == core().index.get();
        if is_here && sched::can_switch_to(kernel, thread) {
            return self.0.take();
        }
        self.make_ready(kernel);
        None
    }
}

/// Passes on the entries at the front of a queue's ring that have the same way, at most so many.
/// How many there were.
pub fn run(
    kernel: &mut Kernel,
    thread: &Thread,
    queue: &Arc<IoQueue>,
    most: u32,
    woken: &mut Woken,
) -> u32 {
    let Some(front) = queue.state.get_mut(kernel).front() else {
        return 0;
    };
    let handles = &thread.process.state.get(kernel).handles;
    match handles.get(Handle::from_raw(front.first as u32)) {
        Ok((Object::Remote(remote), rights)) if can_pass(front.first, front.d, rights) => {
            let remote = remote.clone();
            let handle = (front.first as u32, rights);
            pass_on(kernel, queue, remote, handle, most, woken)
        }
        // Only the server answers.
        Ok((Object::Service(service), rights))
            if Arc::ptr_eq(&service.owner, &thread.process) && rights.contains(Rights::WRITE) =>
        {
            let service = service.clone();
            match Token(front.a).asker() < FIRST {
                true => thread_to_queue::answer(kernel, queue, &service, &front, woken),
                false => answer(kernel, queue, &service, (front.first, front.a), most, woken),
            }
        }
        Ok((Object::Event(event), rights)) if rights.contains(Rights::WRITE) => {
            let event = event.clone();
            signal(kernel, queue, &event, &front, woken)
        }
        _ => None,
    }
    .unwrap_or(0)
}

/// Signals an event; whoever waited for it runs next. `None` if it is another operation.
fn signal(
    kernel: &mut Kernel,
    queue: &Arc<IoQueue>,
    event: &Arc<Event>,
    front: &Front,
    woken: &mut Woken,
) -> Option<u32> {
    let state = queue.state.get_mut(kernel);
    let is_signal = front.first >> 32 == Operation::Write as u64 && front.deadline == 0;
    if !is_signal || state.request_room() == 0 {
        return None;
    }
    state.take_front();
    let done = completion(front.user_data, front.trace, Ok(0));
    queue.post(kernel, &done);
    let next = event.signal_for_switch(kernel);
    woken.add(kernel, next);
    Some(1)
}

fn can_pass(first: u64, d: u64, rights: Rights) -> bool {
    plain(first >> 32, rights, d).is_some()
}

/// Passes on requests on an object. `None` if it is not to be had this way.
fn pass_on(
    kernel: &mut Kernel,
    queue: &Arc<IoQueue>,
    remote: Arc<Remote>,
    (handle, rights): (u32, Rights),
    most: u32,
    woken: &mut Woken,
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
            requests_to(client, server, requests, &target, most.min(room))
        }
        None => 0,
    };
    kernel.requests.places.hold(stream, passed);
    service.state.get_mut(kernel).taken_count += passed;
    streams::leave(kernel, stream, 1);
    if passed > 0 {
        let next = server.publish(kernel, passed);
        woken.add(kernel, next);
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

/// An operation on the object of a batch.
struct Kind {
    /// The word of the entries.
    first: u64,
    /// What the server is told, but for the registration.
    what: u64,
    is_registered: bool,
}

impl Kind {
    /// That of no entry that can be passed on.
    const NONE: Self = Self {
        first: u64::MAX,
        what: 0,
        is_registered: false,
    };

    /// The kind of an entry. `None` if it is on another object, or not for this way.
    #[inline]
    fn of(first: u64, target: &Target) -> Option<Self> {
        if first as u32 != target.handle {
            return None;
        }
        let operation = first >> 32;
        let is_registered =
            operation == Operation::Read as u64 || operation == Operation::Write as u64;
        // The registration is another one for each entry.
        let registration = u64::from(is_registered);
        let what = plain(operation, target.rights, registration)?;
        Some(Self {
            first,
            what: what.0 & !(0xffff << 16),
            is_registered,
        })
    }
}

/// Moves requests; how many.
#[inline(never)]
fn requests_to(
    client: &mut QueueState,
    server: &mut QueueState,
    requests: &mut Requests,
    target: &Target,
    most: u32,
) -> u32 {
    use {completion_word as to, submission_word as from};
    let mut kind = Kind::NONE;
    let (ring, messages, free) = (
        &mut client.submitted,
        &mut server.completed,
        &mut client.free,
    );
    let passed = pass(ring, messages, most, |entry, message| {
        let first = entry.load(from::OBJECT);
        if first != kind.first {
            match Kind::of(first, target) {
                Some(other) => kind = other,
                None => return false,
            }
        }
        let mut what = kind.what;
        if kind.is_registered {
            let registration = entry.load(from::D);
            if registration.wrapping_sub(1) >= 0xffff {
                return false;
            }
            what |= registration << 16;
        }
        if entry.load(from::DEADLINE) != 0 {
            return false;
        }
        let sequence = requests.next_sequence();
        let Some((number, place)) = requests.places.take(free) else {
            return false;
        };
        let passed = Passed {
            token: Token::new(FIRST + number, None, sequence),
            user_data: entry.load(from::USER_DATA),
            trace: entry.load(from::TRACE),
            what: What(what),
        };
        message.store(to::USER_DATA, target.object);
        message.store(to::STATUS, target.status);
        message.store(to::VALUE, passed.token.0);
        message.store(to::TRACE, passed.trace);
        message.store(to::WHAT, what);
        message.store(to::A, entry.load(from::A));
        message.store(to::B, entry.load(from::B));
        message.store(to::C, entry.load(from::C));
        place.fill(target.stream, passed);
        true
    });
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
    woken: &mut Woken,
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
        let next = client.publish(kernel, answered);
        woken.add(kernel, next);
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

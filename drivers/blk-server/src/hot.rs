//! The path of a request through the server: from a message or a ring to the driver, and back.
//!
//! Everything that a client wrote is copied once and then checked: in one comparison if it is like the
//! client's last ones (`usual.rs`), else in full (`Client::check`). What the driver gives back says in its
//! tag where it came from (`flights.rs`). Nothing here allocates, but for requests that wait because the
//! driver's queue is full (`pending.rs`).

use alloc::{boxed::Box, vec::Vec};

use driver_sdk::{
    abi::{
        Error,
        queue::Completion,
        service::{Message, Notice, Token},
    },
    hal::{
        DriverError, IoAddress,
        block::{BlockBatch, BlockDriverQueue, Completed},
    },
    io::protocol::{Answer, CALL_WORDS, Call, Done, LIFELINE, Place, TAG_MASK},
    rt::object::message,
};

use crate::{
    backend::Backend,
    client::{Client, Link, MAX_PENDING, QueueOf},
    flights::{BY_MESSAGE, Flight, Flights, from_rings, origin},
    out::{Out, Slots, failure, is_fatal, refused},
    usual::Usual,
};

/// Requests that one ring gets started before it is another's turn.
const QUANTUM: usize = 32;

/// What the path of a request touches.
pub struct Hot<B: Backend> {
    pub(crate) queue: QueueOf<B>,
    pub(crate) out: Out,
    pub(crate) flights: Flights,
    pub(crate) clients: Vec<Option<Client<B>>>,
    pub(crate) links: Vec<Option<Box<Link>>>,
    /// Where the device finds the data of requests that is copied; `None` if it cannot.
    pub(crate) window: Option<Slots>,
    /// Requests that the driver has of one client at most.
    pub(crate) share: u32,
    /// Requests that wait for room, of all clients.
    pub(crate) pending: usize,
    /// Whose turn it is.
    pub(crate) turn: usize,
    /// Something ends, or waited until nothing was in flight.
    pub(crate) attention: bool,
    /// The driver's queue takes nothing any more.
    pub(crate) lost: bool,
    /// There are completions in rings that clients have not been woken for.
    pub(crate) dirty: bool,
    /// A request of the queue waits for the device's interrupt.
    pub(crate) waits_for_interrupt: bool,
}

/// The call in a message, if it is one for the driver, and the index of its client.
#[inline(always)]
fn call_of(message: &Message) -> Option<(Call, usize)> {
    if message.what.notice() != Notice::Request {
        return None;
    }
    let call = Call::from_message(message)?;
    (call.flags() & LIFELINE == 0).then_some((call, message.object as u32 as usize))
}

impl<B: Backend> Hot<B> {
    /// Requests that the driver has room for.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.queue.capacity().saturating_sub(self.queue.in_flight())
    }

    /// Starts what has come by messages, and notices which of the server's own waits are over. Stops at
    /// a message that is something else, which is returned.
    #[inline(never)]
    pub(crate) fn take_messages(&mut self) -> Result<(usize, Option<Completion>), Error> {
        let mut count = 0;
        while let Some(mut other) = self.out.io.pop()? {
            if !other.is_message() {
                self.happened(other.user_data);
                continue;
            }
            // A run of usual ones.
            let mut batch = self.queue.batch();
            let (clients, flights) = (&mut self.clients, &mut self.flights);
            while place_message::<B>(&mut batch, clients, flights, self.share, &other) {
                count += 1;
                let Some(completion) = self.out.io.pop()? else {
                    return Ok((count, None));
                };
                other = completion;
            }
            drop(batch);
            if !other.is_message() {
                self.happened(other.user_data);
                continue;
            }
            count += 1;
            let found = message(&other).and_then(|(_, message)| {
                let (call, index) = call_of(&message)?;
                let client = self.clients.get(index)?.as_ref()?;
                (client.object == message.object).then_some((message, call, index))
            });
            let Some((message, call, index)) = found else {
                return Ok((count, Some(other)));
            };
            self.take_message(index, &call, message.token);
        }
        Ok((count, None))
    }

    /// Starts a call of a client's that came by a message, or lets it wait.
    fn take_message(&mut self, index: usize, call: &Call, token: Token) {
        let room = self.room();
        let Some(Some(client)) = self.clients.get_mut(index) else {
            return;
        };
        if client.in_flight < self.share && room > 0 && client.pending.is_empty() {
            self.start_message(index, call, token);
        } else if client.pending.len() < MAX_PENDING {
            client.pending.push_back((*call, token));
            self.pending += 1;
        } else {
            self.out.reply(token, refused(Error::LimitReached));
        }
    }

    /// Gives a call that came by a message to the driver, which has room for it.
    pub(crate) fn start_message(&mut self, index: usize, call: &Call, token: Token) {
        let Some(Some(client)) = self.clients.get_mut(index) else {
            return;
        };
        let flight = Flight {
            client: index as u32,
            bytes: call.length,
            token,
        };
        let Some(tag) = self.flights.begin(flight) else {
            return self.out.reply(token, refused(Error::LimitReached));
        };
        let window = Slots::of(self.window, token);
        match start(client, &mut self.queue, call, window, tag, &mut self.lost) {
            Ok(()) => client.in_flight += 1,
            Err(answer) => {
                self.flights.end(tag);
                self.out.reply(token, answer);
            }
        }
    }

    /// Starts what has come by the rings, a quantum of each, the first being another each time.
    #[inline]
    pub(crate) fn take_calls(&mut self) -> usize {
        let mut count = 0;
        for step in 0..self.links.len() {
            let mut index = self.turn + step;
            while index >= self.links.len() {
                index -= self.links.len();
            }
            count += self.take_calls_of(index);
        }
        count
    }

    /// Starts what has come by the rings of one queue.
    #[inline(never)]
    fn take_calls_of(&mut self, index: usize) -> usize {
        let driver_room = self.room();
        let Some(Some(link)) = self.links.get_mut(index) else {
            return 0;
        };
        let Some(Some(client)) = self.clients.get_mut(link.client as usize) else {
            return 0;
        };
        if !link.is_open() {
            return 0;
        }
        let calls = &mut link.rings.calls;
        let Ok(ready) = calls.available() else {
            (link.closing, self.attention) = (true, true);
            return 0;
        };
        if ready == 0 {
            return 0;
        }
        let Ok(free) = link.rings.dones.free() else {
            (link.closing, self.attention) = (true, true);
            return 0;
        };
        // Each call that is taken has an entry for its answer, so a client that takes no answers is
        // not heard any more. What the driver has is bounded by the client's share.
        let room = self.share.saturating_sub(client.in_flight);
        let room = room.min(free.saturating_sub(link.in_flight));
        let room = QUANTUM.min(room as usize).min(driver_room);
        let count = room.min(ready as usize);
        if count == 0 {
            return 0;
        }
        let mut left = count;
        let rings = from_rings(index);
        let mut refusals = 0;
        let mut kind = 0;
        loop {
            // A run of those that are like the last one.
            let mut batch = self.queue.batch();
            let usual = client.usual(kind);
            let mut other = None;
            while left > 0
                && let Ok(Some(words)) = calls.pop()
            {
                left -= 1;
                if !usual.is_some_and(|usual| place(&mut batch, usual, &words, rings)) {
                    other = Some(words);
                    break;
                }
            }
            drop(batch);
            let Some(words) = other else { break };
            kind = words[0];
            if let Some(usual) = client.usual(kind)
                && place(&mut self.queue.batch(), usual, &words, rings)
            {
                continue;
            }
            let (call, tag) = Call::from_words(words);
            let (queue, lost) = (&mut self.queue, &mut self.lost);
            if let Err(answer) = start(client, queue, &call, None, tag | rings, lost) {
                refusals += 1;
                let done = Done { tag, answer };
                if link.rings.dones.push(done.to_words()).is_err() {
                    (link.closing, self.attention) = (true, true);
                    break;
                }
            }
        }
        link.rings.calls.release();
        if refusals > 0 {
            (link.dirty, self.dirty) = (true, true);
        }
        let started = (count - left) as u32 - refusals;
        link.in_flight += started;
        client.in_flight += started;
        count - left
    }

    /// Tells those who asked what the device has done.
    #[inline(never)]
    pub(crate) fn reap(&mut self) -> usize {
        let mut finisher = Finisher {
            rings: None,
            number: from_rings(BY_MESSAGE - 1),
            count: 0,
            out: &mut self.out,
            flights: &mut self.flights,
            clients: &mut self.clients,
            links: &mut self.links,
            attention: &mut self.attention,
            lost: &mut self.lost,
            dirty: &mut self.dirty,
        };
        let count = self.queue.reap_into(&mut finisher);
        finisher.settle();
        count
    }
}

/// Gives a call to the driver, if it is a usual one and the driver takes it: the short way.
#[inline(always)]
fn place<T: BlockBatch>(
    batch: &mut T,
    usual: &Usual<T::Prepared>,
    &[first, place, memory, tag, _]: &[u64; CALL_WORDS],
    origin: u64,
) -> bool {
    let found = usual.find(first, place, memory);
    found.is_some_and(|(lba, address)| {
        let tag = tag & TAG_MASK | origin;
        batch.submit_prepared(&usual.prepared, lba, address, tag)
    })
}

/// Gives a call that came by a message to the driver, if it is a usual one of a client that nothing holds
/// up, and the driver takes it: the short way.
#[inline(always)]
fn place_message<B: Backend>(
    batch: &mut <QueueOf<B> as BlockDriverQueue>::Batch<'_>,
    clients: &mut [Option<Client<B>>],
    flights: &mut Flights,
    share: u32,
    message: &Completion,
) -> bool {
    let [place, at, length] = message.arguments;
    let (what, object) = (message.what(), message.user_data);
    let client = match clients.get_mut(object as u32 as usize) {
        Some(Some(client)) if client.object == object => client,
        _ => return false,
    };
    let is_call = message.is_message() && what.notice() == Notice::Request;
    let is_short = length <= u32::MAX.into() && at >> Place::BITS == 0;
    if !is_call || !is_short || client.in_flight >= share || !client.pending.is_empty() {
        return false;
    }
    let first = what.operation() | length << 32;
    let memory = Place::new(what.registration(), at);
    let Some(usual) = client.usual(first) else {
        return false;
    };
    let Some((lba, address)) = usual.find(first, place, memory.0) else {
        return false;
    };
    let Some(tag) = flights.begin(Flight {
        client: object as u32,
        bytes: length as u32,
        token: message.token(),
    }) else {
        return false;
    };
    if !batch.submit_prepared(&usual.prepared, lba, address, tag) {
        flights.end(tag);
        return false;
    }
    client.in_flight += 1;
    true
}

/// Gives a call to the driver, if it is right: the long way, after which the usual one is known.
#[inline(never)]
fn start<B: Backend>(
    client: &mut Client<B>,
    queue: &mut QueueOf<B>,
    call: &Call,
    window: Option<IoAddress>,
    tag: u64,
    lost: &mut bool,
) -> Result<(), Answer> {
    let ready = client.check(call, window).map_err(refused)?;
    if let Err(error) = queue.submit(&ready.request(tag)) {
        *lost |= is_fatal(&error);
        return Err(failure(error));
    }
    client.learn(call, queue);
    Ok(())
}

/// Takes what the driver gives back. Completions come in runs for the same rings, which are at hand
/// for as long as the run is.
struct Finisher<'a, B: Backend> {
    /// The rings of this run, taken out of `links`, what they add to a tag, and how many completions
    /// they have had.
    rings: Option<Box<Link>>,
    number: u64,
    count: u32,
    out: &'a mut Out,
    flights: &'a mut Flights,
    clients: &'a mut [Option<Client<B>>],
    links: &'a mut [Option<Box<Link>>],
    attention: &'a mut bool,
    lost: &'a mut bool,
    dirty: &'a mut bool,
}

impl<B: Backend> Finisher<'_, B> {
    /// Tells whoever it was, but for successes by the rings that are at hand.
    #[inline(never)]
    fn finish(&mut self, tag: u64, error: Option<DriverError>) {
        if origin(tag) == BY_MESSAGE {
            return self.answer(tag, error);
        }
        if tag ^ self.number > TAG_MASK {
            self.settle();
            let link = self.links.get_mut(origin(tag)).and_then(Option::take);
            (self.rings, self.number) = (link, tag & !TAG_MASK);
        }
        self.count += 1;
        let Some(link) = &mut self.rings else {
            return;
        };
        let done = Done {
            tag,
            answer: error.map_or(Answer::done(0), failure),
        };
        // There is room, unless the client has broken the ring.
        link.closing |= link.rings.dones.push(done.to_words()).is_err();
    }

    /// Answers a message.
    #[inline(always)]
    fn answer(&mut self, tag: u64, error: Option<DriverError>) {
        if let Some(flight) = self.flights.end(tag) {
            self.forget(flight.client, 1);
            let answer = error.map_or(Answer::done(flight.bytes.into()), failure);
            self.out.reply(flight.token, answer);
        }
    }

    /// Puts the rings of the run back.
    fn settle(&mut self) {
        let count = core::mem::take(&mut self.count);
        let Some(mut link) = self.rings.take() else {
            return;
        };
        self.forget(link.client, count);
        link.in_flight -= count;
        *self.attention |= link.closing;
        (link.dirty, *self.dirty) = (true, true);
        if let Some(place) = self.links.get_mut(origin(self.number)) {
            *place = Some(link);
        }
    }

    /// The driver has so many less of a client.
    #[inline(always)]
    fn forget(&mut self, client: u32, count: u32) {
        if let Some(Some(client)) = self.clients.get_mut(client as usize) {
            client.in_flight -= count;
            *self.attention |= client.waits_for_quiet;
        }
    }
}

impl<B: Backend> Completed for Finisher<'_, B> {
    #[inline(always)]
    fn done(&mut self, tag: u64) {
        let own = tag ^ self.number;
        if own <= TAG_MASK
            && let Some(link) = &mut self.rings
            && link.rings.dones.push(Done::success(own)).is_ok()
        {
            self.count += 1;
        } else if origin(tag) == BY_MESSAGE {
            self.answer(tag, None);
        } else {
            self.finish(tag, None);
        }
    }

    #[cold]
    #[inline(never)]
    fn failed(&mut self, tag: u64, error: DriverError) {
        *self.lost |= is_fatal(&error);
        self.finish(tag, Some(error));
    }
}

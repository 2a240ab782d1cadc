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
    io::protocol::{Answer, CALL_WORDS, Call, Done, LIFELINE, TAG_MASK},
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
        while let Some(completion) = self.out.io.pop()? {
            if !completion.is_message() {
                self.happened(completion.user_data);
                continue;
            }
            count += 1;
            let found = message(&completion).and_then(|(_, message)| {
                let (call, index) = call_of(&message)?;
                let client = self.clients.get(index)?.as_ref()?;
                (client.object == message.object).then_some((message, call, index))
            });
            let Some((message, call, index)) = found else {
                return Ok((count, Some(completion)));
            };
            self.take_message(index, &call, message.token);
        }
        Ok((count, None))
    }

    /// Starts a call of a client's that came by a message, or lets it wait.
    #[inline]
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
    #[inline(always)]
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
        let words = call.to_words(tag, 0);
        if let Some(usual) = client.usual(words[0])
            && place(
                &mut self.queue.batch(),
                usual,
                &words,
                from_rings(BY_MESSAGE),
            )
        {
            client.in_flight += 1;
            return;
        }
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
        // What the rings hold is bounded by the ring, what the driver has by the client's share.
        let entries = link.rings.calls.capacity();
        let room = self.share.saturating_sub(client.in_flight);
        let room = room.min(entries.saturating_sub(link.in_flight));
        let room = QUANTUM.min(room as usize).min(driver_room);
        if room == 0 || !link.is_open() {
            return 0;
        }
        let Ok(ready) = link.rings.calls.ready() else {
            (link.closing, self.attention) = (true, true);
            return 0;
        };
        let count = room.min(ready.len());
        if count == 0 {
            return 0;
        }
        let mut ready = ready.take(count);
        let rings = from_rings(index);
        let mut refusals = 0;
        let mut kind = 0;
        loop {
            // A run of those that are like the last one.
            let other = match client.usual(kind) {
                Some(usual) => {
                    let mut batch = self.queue.batch();
                    ready.find(|words| !place(&mut batch, usual, words, rings))
                }
                None => ready.next(),
            };
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
        let left = ready.len();
        drop(ready);
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
            let Some(flight) = self.flights.end(tag) else {
                return;
            };
            self.forget(flight.client, 1);
            let answer = error.map_or(Answer::done(flight.bytes.into()), failure);
            return self.out.reply(flight.token, answer);
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
        // A client that takes no completions asked for more than its ring has.
        link.closing |= link.rings.dones.push(done.to_words()).is_err();
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

//! The path of a request through the server: from a message or a ring to the driver, and back.
//!
//! Everything that a client wrote is copied once and then checked (`Client::check`); what the driver
//! gives back is found by its index in a table of the server's own. Nothing here allocates, but for
//! requests that wait because the driver's queue is full.

use alloc::vec::Vec;

use driver_sdk::{
    abi::{
        Error,
        queue::Completion,
        service::{Message, Notice, Reply, Token},
    },
    hal::{
        DriverError, DriverErrorKind, IoAddress,
        block::{BlockBatch, BlockDriverQueue, Completed, Request},
    },
    io::protocol::{Answer, Call, Done, LIFELINE, block},
    prelude::*,
    rt::{
        object::message,
        serve::{LATE, Server},
    },
};

use crate::{
    backend::Backend,
    client::{Client, Link, MAX_PENDING, QueueOf},
    flights::{BY_MESSAGE, Flight, Flights},
};

/// Requests that one ring gets started before it is another's turn.
const QUANTUM: usize = 32;
/// The user data of signals, whose completions say nothing.
pub(crate) const SIGNAL: u64 = LATE - 1;

/// What the path of a request touches.
pub struct Hot<B: Backend> {
    pub(crate) queue: QueueOf<B>,
    pub(crate) out: Out,
    pub(crate) flights: Flights,
    pub(crate) clients: Vec<Option<Client<B::Pinned>>>,
    pub(crate) links: Vec<Option<Link>>,
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
}

/// The slots of the receive window, as the device finds them.
#[derive(Clone, Copy)]
pub(crate) struct Slots {
    pub(crate) address: IoAddress,
    /// Of each.
    pub(crate) bytes: u64,
}

impl Slots {
    /// The slot of a request.
    #[inline]
    fn of(window: Option<Self>, token: Token) -> Option<IoAddress> {
        let slot = token.window_slot()?;
        let Self { address, bytes } = window?;
        Some(address + u64::from(slot) * bytes)
    }
}

/// The way of answers to those who asked by messages.
pub(crate) struct Out {
    pub(crate) server: &'static Server,
    pub(crate) io: IoQueue,
    /// There are answers that the kernel has not been told of.
    pub(crate) owes: bool,
}

impl Out {
    /// Answers with the next entry to the kernel.
    #[inline(always)]
    pub(crate) fn reply(&mut self, token: Token, answer: Answer) {
        let reply = match answer.status {
            0 => Reply::Value(answer.detail),
            _ => refusal(answer),
        };
        self.owes = true;
        let service = self.server.service();
        if self.io.submit_reply(service, token, reply, LATE).is_err() {
            // A client that has given up misses nothing.
            let _ = service.reply(token, reply);
        }
    }
}

#[cold]
fn refusal(answer: Answer) -> Reply {
    Reply::Error(answer.error().unwrap_or(Error::Failed), answer.detail)
}

/// What a client hears when the driver refuses or fails.
#[cold]
fn failure(error: DriverError) -> Answer {
    Answer::failed(Error::Failed, block::detail(error.into()))
}

#[cold]
fn refused(error: Error) -> Answer {
    Answer::failed(error, 0)
}

/// Whether the driver's queue is dead.
fn is_fatal(error: &DriverError) -> bool {
    use DriverErrorKind::{Aborted, Gone, Protocol, TimedOut};
    matches!(error.kind, Aborted | Gone | Protocol | TimedOut)
}

/// Gives a call to the driver, if it is right.
#[inline(always)]
fn start<P>(
    client: &mut Client<P>,
    flights: &mut Flights,
    submit: impl FnOnce(&Request<'_>) -> Result<(), DriverError>,
    lost: &mut bool,
    call: &Call,
    window: Option<IoAddress>,
    flight: Flight,
) -> Result<(), Answer> {
    let ready = client.check(call, window).map_err(refused)?;
    let tag = flights.next().ok_or(Error::LimitReached).map_err(refused)?;
    if let Err(error) = submit(&ready.request(tag.into())) {
        *lost |= is_fatal(&error);
        return Err(failure(error));
    }
    flights.begin(flight);
    client.in_flight += 1;
    Ok(())
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
    /// Starts what has come by messages. Stops at one that is something else, which is returned.
    #[inline]
    pub(crate) fn take_messages(&mut self) -> Result<(usize, Option<Completion>), Error> {
        let Self {
            queue,
            out,
            flights,
            clients,
            lost,
            ..
        } = self;
        let mut batch = queue.batch();
        let mut count = 0;
        while let Some(completion) = out.io.pop()? {
            count += 1;
            let found = message(&completion).and_then(|(_, message)| {
                let (call, index) = call_of(&message)?;
                let client = clients.get_mut(index)?.as_mut()?;
                (client.object == message.object).then_some((message, call, client, index))
            });
            let Some((message, call, client, index)) = found else {
                return Ok((count, Some(completion)));
            };
            let must_wait = client.in_flight >= self.share || flights.room() == 0;
            if must_wait || !client.pending.is_empty() {
                if client.pending.len() < MAX_PENDING {
                    client.pending.push_back((call, message.token));
                    self.pending += 1;
                } else {
                    out.reply(message.token, refused(Error::LimitReached));
                }
                continue;
            }
            let started = start(
                client,
                flights,
                |request| batch.submit(request),
                lost,
                &call,
                Slots::of(self.window, message.token),
                Flight {
                    client: index as u32,
                    link: BY_MESSAGE,
                    tag: message.token.0,
                    bytes: call.length,
                },
            );
            if let Err(answer) = started {
                out.reply(message.token, answer);
            }
        }
        Ok((count, None))
    }

    /// Starts what has waited for room, one of each client in turn.
    #[cold]
    pub(crate) fn take_pending(&mut self) {
        let mut is_stuck = false;
        while !is_stuck && self.pending > 0 && self.flights.room() > 0 {
            is_stuck = true;
            for step in 0..self.clients.len() {
                let index = (self.turn + step) % self.clients.len();
                is_stuck &= !self.take_pending_of(index);
            }
        }
    }

    /// Starts the oldest of a client's that wait; false if it cannot.
    fn take_pending_of(&mut self, index: usize) -> bool {
        let Some(client) = &mut self.clients[index] else {
            return false;
        };
        if client.in_flight >= self.share || self.flights.room() == 0 {
            return false;
        }
        let Some((call, token)) = client.pending.pop_front() else {
            return false;
        };
        self.pending -= 1;
        let queue = &mut self.queue;
        let started = start(
            client,
            &mut self.flights,
            |request| queue.submit(request),
            &mut self.lost,
            &call,
            Slots::of(self.window, token),
            Flight {
                client: index as u32,
                link: BY_MESSAGE,
                tag: token.0,
                bytes: call.length,
            },
        );
        if let Err(answer) = started {
            self.out.reply(token, answer);
        }
        true
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
    #[inline]
    fn take_calls_of(&mut self, index: usize) -> usize {
        let Self {
            queue,
            flights,
            clients,
            links,
            lost,
            ..
        } = self;
        let Some(Some(link)) = links.get_mut(index) else {
            return 0;
        };
        let Some(Some(client)) = clients.get_mut(link.client as usize) else {
            return 0;
        };
        // What the rings hold is bounded by the ring, what the driver has by the client's share.
        let entries = link.rings.calls.capacity();
        let room = self
            .share
            .saturating_sub(client.in_flight)
            .min(entries.saturating_sub(link.in_flight));
        let room = QUANTUM.min(room as usize).min(flights.room());
        if room == 0 || !link.is_open() {
            return 0;
        }
        let Ok(ready) = link.rings.calls.ready() else {
            (link.closing, self.attention) = (true, true);
            return 0;
        };
        if ready.len() == 0 {
            return 0;
        }
        let mut batch = queue.batch();
        let mut count = 0;
        for words in ready.take(room) {
            count += 1;
            let (call, tag) = Call::from_words(words);
            let started = start(
                client,
                flights,
                |request| batch.submit(request),
                lost,
                &call,
                None,
                Flight {
                    client: link.client,
                    link: index as u32,
                    tag,
                    bytes: call.length,
                },
            );
            match started {
                Ok(()) => link.in_flight += 1,
                Err(answer) => {
                    (link.dirty, self.dirty) = (true, true);
                    let done = Done { tag, answer };
                    if link.rings.dones.push(done.to_words()).is_err() {
                        (link.closing, self.attention) = (true, true);
                        break;
                    }
                }
            }
        }
        drop(batch);
        link.rings.calls.release();
        count
    }

    /// Tells those who asked what the device has done.
    #[inline]
    pub(crate) fn reap(&mut self) -> usize {
        if self.flights.len() == 0 {
            return 0;
        }
        let Self {
            queue,
            out,
            flights,
            clients,
            links,
            attention,
            lost,
            dirty,
            ..
        } = self;
        queue.reap_into(&mut Finisher {
            dirty,
            out,
            flights,
            clients,
            links,
            attention,
            lost,
        })
    }

    /// Shows clients of rings what is there for them.
    #[inline]
    pub(crate) fn publish(&mut self) {
        if !self.dirty {
            return;
        }
        for link in self.links.iter_mut().flatten() {
            if link.dirty {
                link.rings.dones.publish();
            }
        }
    }

    /// Whether somebody may sleep who has been answered.
    #[inline]
    pub(crate) fn owes(&self) -> bool {
        self.out.owes || self.dirty
    }

    /// Puts in signals for those who sleep, and says how many: all that is owed goes with the next
    /// entry to the kernel.
    #[inline]
    pub(crate) fn wake(&mut self) -> u32 {
        let mut signals = 0;
        for link in self.links.iter_mut().flatten() {
            if !core::mem::take(&mut link.dirty) {
                continue;
            }
            link.rings.dones.publish();
            if link.rings.dones.must_wake()
                && let Some(event) = &link.theirs
            {
                match self.out.io.submit_signal(event, SIGNAL) {
                    Ok(()) => signals += 1,
                    // The ring is full: by a call of its own.
                    Err(_) => drop(event.signal()),
                }
            }
        }
        self.out.owes = false;
        self.dirty = false;
        signals
    }
}

/// Takes what the driver gives back.
struct Finisher<'a, P> {
    out: &'a mut Out,
    flights: &'a mut Flights,
    clients: &'a mut [Option<Client<P>>],
    links: &'a mut [Option<Link>],
    attention: &'a mut bool,
    lost: &'a mut bool,
    dirty: &'a mut bool,
}

impl<P> Finisher<'_, P> {
    #[inline(always)]
    fn finish(&mut self, tag: u64, answer: impl FnOnce(u32) -> Answer) {
        let Some(flight) = self.flights.end(tag) else {
            return;
        };
        if let Some(Some(client)) = self.clients.get_mut(flight.client as usize) {
            client.in_flight -= 1;
            *self.attention |= client.waits_for_quiet;
        }
        let answer = answer(flight.bytes);
        match self.links.get_mut(flight.link as usize) {
            Some(Some(link)) => {
                link.in_flight -= 1;
                let done = Done {
                    tag: flight.tag,
                    answer,
                };
                // A client that takes no completions asked for more than its ring has.
                if link.closing || link.rings.dones.push(done.to_words()).is_err() {
                    (link.closing, *self.attention) = (true, true);
                }
                (link.dirty, *self.dirty) = (true, true);
            }
            _ => self.out.reply(Token(flight.tag), answer),
        }
    }
}

impl<P> Completed for Finisher<'_, P> {
    #[inline(always)]
    fn done(&mut self, tag: u64) {
        self.finish(tag, |bytes| Answer::done(bytes.into()));
    }

    #[cold]
    #[inline(never)]
    fn failed(&mut self, tag: u64, error: DriverError) {
        *self.lost |= is_fatal(&error);
        self.finish(tag, |_| failure(error));
    }
}

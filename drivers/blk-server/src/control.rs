//! What clients ask for besides blocks: to connect, what their range is like, to share memory and
//! rings; and what becomes of those who go.

use alloc::boxed::Box;

use driver_sdk::{
    abi::{
        Error,
        queue::Completion,
        service::{Notice, Token},
    },
    io::{
        ServerRings,
        protocol::{
            Answer, Block, LIFELINE, NO_MEMORY, Protocol,
            block::{BlockFacts, BlockKey},
            key, share,
        },
    },
    prelude::*,
    rt::{object::message, serve::Registered},
};

use crate::{
    backend::{Backend, capacity},
    client::{Client, Link, MAX_LINKS},
    server::BlkServer,
};

/// Clients that can be connected at once.
pub const MAX_CLIENTS: usize = 256;
/// Rings that there can be at once: each keeps an entry of the server's queue.
pub const MAX_ALL_LINKS: usize = 64;
/// The numbers of the objects of those who are connected have the number of the connection above
/// these bits, from one, and the client's index below. The numbers of ranges are smaller.
const CONNECTION_SHIFT: u32 = 32;

impl<B: Backend> BlkServer<B> {
    /// Does what a message says that is no request for blocks.
    #[cold]
    #[inline(never)]
    pub(crate) fn control(&mut self, completion: &Completion) {
        let Some((_, message)) = message(completion) else {
            return;
        };
        if message.what.notice() == Notice::Cancelled {
            return self.cancelled(message.object, message.token);
        }
        let request = self.hot.out.server.accept(message);
        if request.object() < 1 << CONNECTION_SHIFT {
            return self.ask_range(request);
        }
        let index = request.object() as u32 as usize;
        match self.hot.clients.get(index) {
            Some(Some(client)) if client.object == request.object() => self.ask(index, request),
            _ => request.refuse(Error::Gone).send(),
        }
    }

    /// Something is asked of a range: only to connect.
    fn ask_range(&mut self, request: Request<'static>) {
        let answer = match request.ask {
            Ask::Open { .. } => match self.connect(request.object(), request.rights()) {
                Ok((object, rights)) => request.reply_object(object, rights),
                Err(error) => request.refuse(error),
            },
            Ask::Closed => return,
            _ => request.refuse(Error::BadOperation),
        };
        answer.send();
    }

    fn connect(&mut self, object: u64, rights: Rights) -> Result<(u64, Rights), Error> {
        let range = self.ranges.iter().find(|range| range.object == object);
        let range = *range.ok_or(Error::NotFound)?;
        let clients = &mut self.hot.clients;
        let index = match clients.iter().position(Option::is_none) {
            Some(free) => free,
            None if clients.len() < MAX_CLIENTS => {
                clients.push(None);
                clients.len() - 1
            }
            None => return Err(Error::LimitReached),
        };
        self.connections += 1;
        let object = self.connections << CONNECTION_SHIFT | index as u64;
        let client = Client::new(object, range, rights);
        let rights = client.rights();
        clients[index] = Some(client);
        self.share_out();
        Ok((object, rights))
    }

    /// Divides the driver's queue: with several clients, none gets more than half.
    fn share_out(&mut self) {
        let clients = self.hot.clients.iter().flatten().count();
        let all = capacity(&self.hot.queue) as u32;
        self.hot.share = if clients > 1 { (all / 2).max(1) } else { all };
    }

    /// Something is asked of a connection.
    fn ask(&mut self, index: usize, mut request: Request<'static>) {
        let answered = match request.ask {
            Ask::GetMeta { key } => self.tell(index, key),
            Ask::Share { key, .. } => self.share(index, key, &mut request),
            Ask::Open { .. } => Err(Error::BadOperation),
            Ask::ReadRegistered(registered) if is_lifeline(&registered) => {
                return self.keep_lifeline(index, registered.at, request);
            }
            Ask::Closed => return self.close(index),
            _ => Err(Error::BadOperation),
        };
        match answered {
            Ok(value) => request.value(value).send(),
            Err(error) => request.refuse(error).send(),
        }
    }

    /// What a key says about a client's range.
    fn tell(&self, index: usize, key: u64) -> Result<u64, Error> {
        let client = self.hot.clients[index].as_ref().ok_or(Error::Gone)?;
        match key {
            key::PROTOCOL => return Ok(Block::ID),
            key::IDLE_TICKS => return Ok(self.idle.ticks),
            key::LOOKS => return Ok(self.idle.looks),
            key::WINDOW => {
                let window = self.hot.window.ok_or(Error::BadOperation)?;
                return Ok(window.bytes);
            }
            _ => {}
        }
        let facts = BlockFacts {
            limits: client.range.limits,
            contiguous_pools: self.backend.needs_contiguous(),
        };
        let key = BlockKey::from_raw(key).ok_or(Error::BadOperation)?;
        Ok(facts.get(key))
    }

    fn share(
        &mut self,
        index: usize,
        key: u64,
        request: &mut Request<'static>,
    ) -> Result<u64, Error> {
        let (key, number) = (key & 0xff, key >> 8);
        match key {
            share::POOL => {
                let memory = request.take_gift::<Memory>().ok_or(Error::BadArgument)?;
                self.register(index, &memory)
            }
            share::FORGET => {
                let client = self.hot.clients[index].as_mut().ok_or(Error::Gone)?;
                client.forget(number).map(|()| 0)
            }
            share::RINGS => {
                let memory = request.take_gift::<Memory>().ok_or(Error::BadArgument)?;
                self.link(index, &memory, number)
            }
            share::SERVER_EVENT | share::CLIENT_EVENT => {
                let event = request.take_gift::<Event>().ok_or(Error::BadArgument)?;
                let link = self.link_of(index, number).ok_or(Error::NotFound)?;
                let place = match key {
                    share::SERVER_EVENT => &mut link.own,
                    _ if link.own.is_none() => return Err(Error::BadArgument),
                    _ => &mut link.theirs,
                };
                if place.is_some() {
                    return Err(Error::Busy);
                }
                *place = Some(event);
                Ok(0)
            }
            _ => Err(Error::BadOperation),
        }
    }

    /// Makes a client's memory one that the device reaches.
    fn register(&mut self, index: usize, memory: &Memory) -> Result<u64, Error> {
        let client = self.hot.clients[index].as_mut().ok_or(Error::Gone)?;
        if !client.can_register() {
            return Err(Error::LimitReached);
        }
        let bytes = memory.size()?;
        let (pinned, address) = self.backend.pin(memory, bytes)?;
        client.register(pinned, address, bytes)
    }

    /// Takes the memory of rings; the number by which the client goes on.
    fn link(&mut self, index: usize, memory: &Memory, entries: u64) -> Result<u64, Error> {
        let client = self.hot.clients[index].as_mut().ok_or(Error::Gone)?;
        let links = &mut self.hot.links;
        let free = links.iter().position(Option::is_none);
        if client.links == MAX_LINKS || (free.is_none() && links.len() == MAX_ALL_LINKS) {
            return Err(Error::LimitReached);
        }
        let entries = u32::try_from(entries).map_err(|_| Error::BadArgument)?;
        let link = Link {
            client: index as u32,
            rings: ServerRings::new(memory, entries)?,
            own: None,
            theirs: None,
            is_waited_for: false,
            in_flight: 0,
            dirty: false,
            closing: false,
            lifeline: None,
        };
        client.links += 1;
        let place = free.unwrap_or(links.len());
        match links.get_mut(place) {
            Some(free) => *free = Some(Box::new(link)),
            None => links.push(Some(Box::new(link))),
        }
        Ok(place as u64)
    }

    /// The rings of this number, if they are the client's.
    fn link_of(&mut self, index: usize, number: u64) -> Option<&mut Link> {
        let link = self.hot.links.get_mut(usize::try_from(number).ok()?)?;
        link.as_deref_mut()
            .filter(|link| link.client as usize == index)
    }

    /// Keeps the request that is answered when the rings are forgotten.
    fn keep_lifeline(&mut self, index: usize, number: u64, request: Request<'static>) {
        let token = request.token();
        match self.link_of(index, number) {
            Some(link) if link.lifeline.is_none() => {
                link.lifeline = Some(token);
                // It is answered by its token.
                core::mem::forget(request);
            }
            _ => request.refuse(Error::NotFound).send(),
        }
    }

    /// A client no longer wants a request: the device goes on with what it has, the rest is given
    /// back at once.
    fn cancelled(&mut self, object: u64, token: Token) {
        let index = object as u32 as usize;
        for link in self.hot.links.iter_mut().flatten() {
            if link.lifeline == Some(token) {
                link.closing = true;
                self.hot.attention = true;
                return;
            }
        }
        let Some(Some(client)) = self.hot.clients.get_mut(index) else {
            return;
        };
        let place = client.pending.iter().position(|(_, other)| *other == token);
        if place
            .and_then(|place| client.pending.remove(place))
            .is_some()
        {
            self.hot.pending -= 1;
            self.hot
                .out
                .reply(token, Answer::failed(Error::Cancelled, 0));
        }
    }

    /// Nobody has a handle to a connection any more.
    fn close(&mut self, index: usize) {
        if let Some(client) = self.hot.clients[index].as_mut() {
            client.closed = true;
            client.waits_for_quiet = true;
        }
        for link in self.hot.links.iter_mut().flatten() {
            link.closing |= link.client as usize == index;
        }
        self.hot.attention = true;
    }

    /// Lets go of what was waiting until nothing is in flight.
    #[cold]
    pub(crate) fn tidy(&mut self) {
        self.hot.attention = false;
        for place in &mut self.hot.links {
            let Some(link) = place.take_if(|link| link.closing && link.in_flight == 0) else {
                continue;
            };
            if let Some(token) = link.lifeline {
                self.hot
                    .out
                    .reply(token, Answer::failed(Error::Cancelled, 0));
            }
            if let Some(Some(client)) = self.hot.clients.get_mut(link.client as usize) {
                client.links -= 1;
            }
        }
        let mut gone = false;
        for place in &mut self.hot.clients {
            let Some(client) = place else { continue };
            if client.in_flight == 0 {
                client.is_quiet();
                if client.closed && client.links == 0 {
                    self.hot.pending -= client.pending.len();
                    *place = None;
                    gone = true;
                }
            }
        }
        if gone {
            self.share_out();
        }
    }
}

fn is_lifeline(registered: &Registered) -> bool {
    registered.registration == NO_MEMORY
        && (registered.offset >> driver_sdk::io::protocol::FLAG_SHIFT) as u8 == LIFELINE
}

//! What an application and a server in another process say to each other, at levels 1 to 3.
//!
//! A [`Protocol`] says what a request and a completion are, and how they become a [`Call`] and an
//! [`Answer`]. The levels move these, whatever the protocol: a level is one file, a protocol is
//! another. [`block`] is the first protocol.
//!
//! | | level 1 and 2: `Read` or `Write` on the connection | level 3: an entry of the ring |
//! |---|---|---|
//! | direction | the operation | word 0, bits 0 to 7 |
//! | bytes | `c` | word 0, bits 32 to 63 |
//! | place and flags | `a` | word 1 |
//! | registration, 0 for the server's window | `d` | word 2, bits 48 to 63 |
//! | where in the registered memory | `b` | word 2, bits 0 to 47 |
//! | the client's number of the request | the queue's user data | word 3, bits 0 to 47 |
//! | trace id | the trace id | word 4 |
//!
//! A completion of level 3 has two words: the client's number with the status above it, and the detail of
//! an error ([`Done`]).

pub mod block;

pub use block::Block;

use spillway_abi::{
    Error as Code,
    call::Operation,
    service::{Message, What},
};
use spillway_hal::IoAddress;

use crate::{Buffers, Error, RequestId, TraceId, pool::IoSpace};

/// What travels with each request besides its memory.
pub trait Protocol: 'static {
    /// What the server answers to the key [`key::PROTOCOL`]: who speaks another protocol, or another
    /// version of it, is refused.
    const ID: u64;
    /// What a client knows of its server: read once, when it connects.
    type Facts: Copy + Send + Sync;
    /// The facts in the form in which a request is checked.
    type Checks;
    /// A request, with its memory.
    type Request;
    /// The same without its memory.
    type Rest;
    /// What the application gets back.
    type Completion;
    /// The request comes back with this.
    type Rejected;

    /// Asks the server for the facts, key by key, and checks them.
    ///
    /// # Errors
    ///
    /// Those of `ask`; `Protocol` for what cannot be.
    fn facts(ask: &mut dyn FnMut(u64) -> Result<u64, Error>) -> Result<Self::Facts, Error>;

    /// Whether pools must be contiguous in memory.
    fn needs_contiguous_pools(facts: &Self::Facts) -> bool;

    /// What a queue checks requests by.
    fn checks(facts: &Self::Facts) -> Self::Checks;

    /// Takes a request apart.
    fn apart(request: Self::Request) -> (Buffers, Self::Rest);

    /// The opposite of [`apart`](Self::apart).
    fn together(rest: Self::Rest, buffers: Buffers) -> Self::Request;

    /// The request as the server hears of it.
    ///
    /// # Errors
    ///
    /// What is wrong with it, from the client's view.
    fn call(
        checks: &mut Self::Checks,
        rest: &Self::Rest,
        buffers: &Buffers,
        memory: Registered,
    ) -> Result<Call, Error>;

    /// What the queue remembers beside the memory: the application's number and the trace.
    fn names(rest: &Self::Rest) -> (u64, TraceId);

    /// A request that is done, for the application; the answer if it failed.
    fn completion(kept: Finished, failure: Option<Answer>) -> Self::Completion;

    /// A request that was not accepted.
    fn rejected(request: Self::Request, error: Error) -> Self::Rejected;
}

/// Memory that is registered with one connection.
#[derive(Clone, Copy, Debug)]
pub struct Registered(pub(crate) IoSpace);

impl Registered {
    /// Where the one buffer of a request is, and its bytes; `NotRegistered` for a buffer of another
    /// connection, `InvalidRequest` for several.
    ///
    /// # Errors
    ///
    /// These two.
    #[inline(always)]
    pub fn place(self, buffers: &Buffers) -> Result<(Place, u32), Error> {
        let (address, length) = match buffers {
            Buffers::One(buffer) => (buffer.address(self.0), buffer.length()),
            Buffers::Shared(buffer) => (buffer.address(self.0), buffer.length()),
            list => self.only(list)?,
        };
        Ok((Place(address.ok_or(FOREIGN)?.0), length))
    }

    /// The only buffer of a list.
    #[cold]
    fn only(self, list: &Buffers) -> Result<(Option<IoAddress>, u32), Error> {
        let mut all = (0..list.count()).filter_map(|index| list.get(index));
        if all.any(|buffer| buffer.address(self.0).is_none()) {
            return Err(FOREIGN);
        }
        match (list.count(), list.get(0)) {
            (1, Some(part)) => Ok((part.address(self.0), part.bytes().len() as u32)),
            _ => Err(CROWDED),
        }
    }
}

/// A place in registered memory: the registration in the upper 16 bits, 0 for the server's window,
/// and the offset below. It is also the address that a pool of levels 1 to 3 gives its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Place(pub u64);

impl Place {
    /// The registration is above these bits.
    pub const BITS: u32 = 48;
    const MASK: u64 = (1 << Self::BITS) - 1;
    /// An offset beyond every memory, as aligned as anybody may want it.
    const BEYOND: u64 = Self::MASK & !0xffff;

    /// A place.
    pub const fn new(registration: u16, at: u64) -> Self {
        Self((registration as u64) << Self::BITS | at & Self::MASK)
    }

    /// The number of the memory.
    #[inline(always)]
    pub const fn registration(self) -> u16 {
        (self.0 >> Self::BITS) as u16
    }

    /// The offset in it.
    #[inline(always)]
    pub const fn at(self) -> u64 {
        self.0 & Self::MASK
    }
}

/// A client's number of a request has 48 bits, as the names of requests do.
pub const TAG_MASK: u64 = (1 << 48) - 1;

/// What a request was, when its answer has come.
#[derive(Debug)]
pub struct Finished {
    /// The name of the request.
    pub id: RequestId,
    /// The application's number.
    pub user_data: u64,
    /// The trace.
    pub trace: TraceId,
    /// The memory.
    pub buffers: Buffers,
    /// Whether it was to change something at the server.
    pub writes: bool,
}

/// Keys of `GetMeta` that every protocol has.
pub mod key {
    /// [`super::Protocol::ID`].
    pub const PROTOCOL: u64 = 0;
    /// Bytes of the server's window that a request can have, whole blocks.
    pub const WINDOW: u64 = 1;
    /// Ticks of the time-stamp counter during which the server looked at its device in vain: what a
    /// measurement of work leaves out.
    pub const IDLE_TICKS: u64 = 2;
    /// Looks of the server that found something to do.
    pub const LOOKS: u64 = 3;
    /// The first key that is a protocol's own.
    pub const FIRST_OWN: u64 = 16;
}

/// Keys of `Share` on a connection.
pub mod share {
    /// A Memory becomes a pool; the value is its registration.
    pub const POOL: u64 = 1;
    /// The Memory of the rings of level 3. The entries of either ring are in the bits from 8 on.
    pub const RINGS: u64 = 2;
    /// The Event that the server waits for.
    pub const SERVER_EVENT: u64 = 3;
    /// The Event that the client waits for. With it the rings are in use; the value is what the
    /// client gives with each message on them, for the server's eyes: nothing yet.
    pub const CLIENT_EVENT: u64 = 4;
    /// No handle: the registration in the bits from 8 on is given back.
    pub const FORGET: u64 = 5;
}

/// A registration that is no memory: for requests that move no data. Zero is the server's window,
/// so this makes a request one that the kernel copies nothing for.
pub const NO_MEMORY: u16 = u16::MAX;
/// In the place of a [`Call`]: the flags are above these bits.
pub const FLAG_SHIFT: u32 = 56;
/// A flag of every protocol: the request is not to be answered before the server's end. With
/// [`NO_MEMORY`]; see `shared.rs`.
pub const LIFELINE: u8 = 0x80;

/// A request as the server hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Whether data goes to the server.
    pub write: bool,
    /// Bytes.
    pub length: u32,
    /// Where, in the protocol's own meaning, with the flags in the upper byte.
    pub place: u64,
    /// Which memory of the client, and where in it.
    pub memory: Place,
}

/// Words of a request on a ring.
pub const CALL_WORDS: usize = 5;
/// Words of a completion on a ring.
pub const DONE_WORDS: usize = 2;

/// The first word of a request on a ring: direction and bytes.
#[inline(always)]
pub const fn first_word(write: bool, length: u32) -> u64 {
    let operation = match write {
        true => Operation::Write,
        false => Operation::Read,
    };
    operation as u64 | (length as u64) << 32
}

impl Call {
    /// The flags.
    #[inline(always)]
    pub const fn flags(&self) -> u8 {
        (self.place >> FLAG_SHIFT) as u8
    }

    /// The place without the flags.
    #[inline(always)]
    pub const fn offset(&self) -> u64 {
        self.place & ((1 << FLAG_SHIFT) - 1)
    }

    /// The operation of levels 1 and 2.
    #[inline(always)]
    pub const fn operation(&self) -> Operation {
        match self.write {
            true => Operation::Write,
            false => Operation::Read,
        }
    }

    /// Its arguments.
    #[inline(always)]
    pub const fn arguments(&self) -> [u64; 4] {
        [
            self.place,
            self.memory.at(),
            self.length as u64,
            self.memory.registration() as u64,
        ]
    }

    /// The entry of a ring.
    #[inline(always)]
    pub const fn to_words(&self, tag: u64, trace: u64) -> [u64; CALL_WORDS] {
        let first = first_word(self.write, self.length);
        [first, self.place, self.memory.0, tag & TAG_MASK, trace]
    }

    /// The request in an entry of a ring, with its number. What is not known as a write is a read;
    /// everything else is for the server to check.
    #[inline(always)]
    pub const fn from_words(words: [u64; CALL_WORDS]) -> (Self, u64) {
        let [first, place, memory, tag, _] = words;
        let call = Self {
            write: first as u8 == Operation::Write as u8,
            length: (first >> 32) as u32,
            place,
            memory: Place(memory),
        };
        (call, tag & TAG_MASK)
    }

    /// The request in a message to the server; `None` if it is no read or write, or longer than any
    /// can be.
    #[inline(always)]
    pub fn from_message(message: &Message) -> Option<Self> {
        let What(what) = message.what;
        let write = what as u8 == Operation::Write as u8;
        if !write && what as u8 != Operation::Read as u8 {
            return None;
        }
        let [place, at, length] = message.arguments;
        Some(Self {
            write,
            length: u32::try_from(length).ok()?,
            place,
            memory: Place::new(message.what.registration(), at.min(Place::BEYOND)),
        })
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Zero, or the number of an error.
    pub status: u32,
    /// The value of a success; what the server adds to an error.
    pub detail: u64,
}

impl Answer {
    /// It was done.
    pub const fn done(value: u64) -> Self {
        Self {
            status: 0,
            detail: value,
        }
    }

    /// It was not.
    pub const fn failed(code: Code, detail: u64) -> Self {
        Self {
            status: code as u32,
            detail,
        }
    }

    /// The same, if it is a failure.
    #[inline(always)]
    pub const fn failure(self) -> Option<Self> {
        match self.status {
            0 => None,
            _ => Some(self),
        }
    }

    /// The error, if it is one.
    pub const fn error(self) -> Option<Code> {
        match self.status {
            0 => None,
            status => match Code::from_raw(status as u64) {
                Some(code) => Some(code),
                None => Some(Code::Failed),
            },
        }
    }
}

/// A completion on a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The number that the request had, of 48 bits.
    pub tag: u64,
    /// What came of it. The status has 16 bits, and the detail of a success is 0: as many bytes were
    /// moved as were asked for.
    pub answer: Answer,
}

impl Done {
    /// The entry for a success.
    #[inline(always)]
    pub const fn success(tag: u64) -> [u64; DONE_WORDS] {
        [tag & TAG_MASK, 0]
    }

    /// The entry of a ring.
    #[inline(always)]
    pub const fn to_words(self) -> [u64; DONE_WORDS] {
        let Answer { status, detail } = self.answer;
        [self.tag & TAG_MASK | (status as u64) << 48, detail]
    }

    /// The number in an entry of a ring, and the answer if it is a failure.
    #[inline(always)]
    pub const fn outcome(words: [u64; DONE_WORDS]) -> (u64, Option<Answer>) {
        if words[0] <= TAG_MASK {
            return (words[0], None);
        }
        let done = Self::from_words(words);
        (done.tag, Some(done.answer))
    }

    /// The completion in an entry of a ring.
    #[inline(always)]
    pub const fn from_words([first, detail]: [u64; DONE_WORDS]) -> Self {
        let status = (first >> 48) as u32;
        Self {
            tag: first & TAG_MASK,
            answer: Answer { status, detail },
        }
    }
}

/// Where the rings of level 3 lie in their Memory.
pub mod rings {
    use super::{CALL_WORDS, DONE_WORDS};

    /// The most entries of a ring.
    pub const MAX_ENTRIES: u32 = 1024;
    /// The header of the requests' ring: the client produces.
    pub const CALLS: usize = 0;
    /// The header of the completions' ring: the server produces.
    pub const DONES: usize = 256;
    /// The entries of the requests' ring; those of the other follow.
    pub const ENTRIES: usize = 512;

    /// Where the entries of the completions' ring begin.
    pub const fn done_entries(entries: u32) -> usize {
        ENTRIES + entries as usize * CALL_WORDS * 8
    }

    /// Bytes of both rings.
    pub const fn bytes(entries: u32) -> usize {
        done_entries(entries) + entries as usize * DONE_WORDS * 8
    }
}

const CROWDED: Error = Error::new(
    crate::ErrorKind::InvalidRequest,
    "a request has at most as many buffers as the device's limits say",
);
const FOREIGN: Error = Error::new(
    crate::ErrorKind::NotRegistered,
    "a buffer is of another device's pool: use a pool of this one",
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spillway_abi::{
        Rights,
        service::{Notice, Token},
    };

    use super::*;

    proptest! {
        #[test]
        fn calls_survive_both_ways(
            write: bool, memory: u64, length: u32, place: u64, tag in 0..=TAG_MASK, trace: u64,
        ) {
            let memory = Place(memory);
            let memory = Place::new(memory.registration(), memory.at().min(Place::BEYOND));
            let call = Call { write, length, place, memory };
            prop_assert_eq!(Call::from_words(call.to_words(tag, trace)), (call, tag));
            let [a, b, c, d] = call.arguments();
            let what = What::new(Notice::Request, call.operation() as u8, d as u16, Rights::READ);
            let message = Message {
                token: Token::NONE, object: 0, what, arguments: [a, b, c], trace,
            };
            prop_assert_eq!(Call::from_message(&message), Some(call));
        }

        #[test]
        fn any_words_are_an_entry(call: [u64; CALL_WORDS], done: [u64; DONE_WORDS]) {
            let _ = Call::from_words(call);
            let done = Done::from_words(done);
            prop_assert_eq!(Done::from_words(done.to_words()), done);
        }
    }

    #[test]
    fn other_operations_and_longer_ones_are_no_calls() {
        let message = |operation, at, length| Message {
            token: Token::NONE,
            object: 0,
            what: What::new(Notice::Request, operation as u8, 1, Rights::READ),
            arguments: [0, at, length],
            trace: 0,
        };
        assert_eq!(Call::from_message(&message(Operation::GetMeta, 0, 0)), None);
        assert!(Call::from_message(&message(Operation::Read, 0, u32::MAX.into())).is_some());
        assert_eq!(
            Call::from_message(&message(Operation::Read, 0, 1 << 32)),
            None
        );
        for (at, heard) in [(1 << 48, Place::BEYOND), (u64::MAX, Place::BEYOND), (5, 5)] {
            let call = Call::from_message(&message(Operation::Read, at, 0)).unwrap();
            assert_eq!(call.memory, Place::new(1, heard));
        }
    }

    #[test]
    fn unknown_errors_are_failures() {
        let answer = Answer {
            status: 0xffff_0000,
            detail: 0,
        };
        assert_eq!(answer.error(), Some(Code::Failed));
        assert_eq!(Answer::done(7).error(), None);
    }
}

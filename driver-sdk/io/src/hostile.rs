//! Level 3 against another side that writes anything anywhere at any time: into headers, entries of
//! both rings, between calls and during them. The rings, the table of requests, and the checks of calls
//! are those of the client and the server; what needs the kernel is left out.

use alloc::{boxed::Box, vec, vec::Vec};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicBool, Ordering},
};
use std::thread;

use proptest::prelude::*;
use spillway_hal::block::{BlockCount, BlockLimits, BlockSize, Lba};
use spillway_ring::{Consumer, Producer, RingHeader, Word};

use crate::{
    Buffers, Completion, Error, ErrorKind, TraceId,
    protocol::{
        Answer, CALL_WORDS, Call, DONE_WORDS, Done, NO_MEMORY, Place,
        block::{Checked, Extent},
        rings,
    },
    slots::Slots,
};

type CallWords = [u64; CALL_WORDS];
type DoneWords = [u64; DONE_WORDS];

/// Entries of each ring, and slots of the client.
const ENTRIES: u32 = 8;
/// Words of both rings.
const WORDS: usize = rings::bytes(ENTRIES).div_ceil(8);
/// Words before and behind the rings, which nobody may touch. Headers are aligned to 16 words.
const GUARD: usize = 16;
const UNTOUCHED: u64 = 0x5afe_5afe_5afe_5afe;
const LOST: Error = Error::new(ErrorKind::Protocol, "the connection is over");

/// The part of a disk that the client may reach.
const FIRST: u64 = 1000;
const LIMITS: BlockLimits = BlockLimits {
    block_size: BlockSize::B512,
    capacity: BlockCount(64),
    max_transfer: BlockCount(8),
    max_segments: 1,
    segment_alignment: 4,
    atomic_write: BlockCount(1),
    volatile_cache: false,
};

/// The memory of a connection, between guards.
#[repr(align(128))]
struct Memory([Word; GUARD + WORDS + GUARD]);

impl Memory {
    fn new() -> Box<Self> {
        let memory = Box::new(Self([const { Word::new(UNTOUCHED) }; _]));
        for word in &memory.0[GUARD..GUARD + WORDS] {
            word.store(0, Ordering::Relaxed);
        }
        // SAFETY: the headers are alive, aligned, and atomic.
        let header = |at| unsafe { memory.at(at).cast::<RingHeader>().as_ref() };
        header(rings::CALLS).initialise::<CallWords>(ENTRIES, 0);
        header(rings::DONES).initialise::<DoneWords>(ENTRIES, 0);
        memory
    }

    /// The place of so many bytes into the rings.
    fn at(&self, bytes: usize) -> NonNull<Word> {
        NonNull::from_ref(&self.0[GUARD + bytes / 8])
    }

    fn client(&self) -> Client<'_> {
        let dones = rings::done_entries(ENTRIES);
        // SAFETY: borrowed from `self`, all of which is atomic.
        let halves = unsafe {
            let calls = (self.at(rings::CALLS).cast(), self.at(rings::ENTRIES));
            let dones = (self.at(rings::DONES).cast(), self.at(dones));
            let calls = Producer::new(calls.0, calls.1, ENTRIES);
            (calls, Consumer::new(dones.0, dones.1, ENTRIES))
        };
        Client {
            calls: halves.0.unwrap(),
            dones: halves.1.unwrap(),
            slots: Slots::new(ENTRIES),
            kept: vec![],
            given_back: vec![],
            ended: false,
        }
    }

    fn server(&self) -> Server<'_> {
        let dones = rings::done_entries(ENTRIES);
        // SAFETY: as for the client.
        let halves = unsafe {
            let calls = (self.at(rings::CALLS).cast(), self.at(rings::ENTRIES));
            let dones = (self.at(rings::DONES).cast(), self.at(dones));
            let calls = Consumer::new(calls.0, calls.1, ENTRIES);
            (calls, Producer::new(dones.0, dones.1, ENTRIES))
        };
        Server {
            calls: halves.0.unwrap(),
            dones: halves.1.unwrap(),
            extent: Extent::new(Lba(FIRST), &LIMITS),
            ended: false,
        }
    }

    fn write(&self, place: usize, value: u64) {
        self.0[GUARD + place % WORDS].store(value, Ordering::Relaxed);
    }

    fn assert_untouched(&self) {
        let guards = self.0[..GUARD].iter().chain(&self.0[GUARD + WORDS..]);
        for word in guards {
            assert_eq!(word.load(Ordering::Relaxed), UNTOUCHED, "out of the rings");
        }
    }
}

/// The client's side of a connection.
struct Client<'m> {
    calls: Producer<'m, CallWords>,
    dones: Consumer<'m, DoneWords>,
    slots: Slots,
    /// The user data of every request that was taken.
    kept: Vec<u64>,
    given_back: Vec<u64>,
    ended: bool,
}

impl Client<'_> {
    /// Sends what there is room for, up to so many.
    fn send(&mut self, most: usize) {
        for _ in 0..most {
            let Ok(filled) = self.slots.fill(Buffers::None) else {
                break;
            };
            let call = Call {
                write: false,
                length: 512,
                place: 0,
                memory: Place::new(NO_MEMORY, 0),
            };
            if self.calls.push(call.to_words(filled.id().0, 0)).is_err() {
                filled.empty();
                break;
            }
            let number = self.kept.len() as u64;
            filled.keep(number, TraceId(0));
            self.kept.push(number);
        }
        self.calls.publish();
    }

    /// Takes the answers; what is no answer to a request is dropped.
    fn take(&mut self) {
        let Ok(ready) = self.dones.ready() else {
            self.ended = true;
            return;
        };
        assert!(!self.ended, "an error that went away");
        for words in ready {
            let (tag, failure) = Done::outcome(words);
            let result = match failure.and_then(Answer::error) {
                None => Ok(()),
                Some(_) => Err(LOST),
            };
            if let Some(kept) = self.slots.find(crate::RequestId(tag)) {
                self.given_back.push(user_data(kept.complete(result)));
            }
        }
        self.dones.release();
    }

    /// The end: what was not answered comes back.
    fn end(mut self) {
        let names: Vec<_> = self.slots.names().collect();
        for name in names {
            let kept = self.slots.find(name).unwrap();
            self.given_back.push(user_data(kept.complete(Err(LOST))));
        }
        self.given_back.sort_unstable();
        assert_eq!(self.given_back, self.kept, "each request once");
    }
}

fn user_data(completion: Completion) -> u64 {
    completion.user_data
}

/// The server's side of a connection.
struct Server<'m> {
    calls: Consumer<'m, CallWords>,
    dones: Producer<'m, DoneWords>,
    extent: Extent,
    ended: bool,
}

impl Server<'_> {
    /// Takes what was asked, and answers it.
    fn serve(&mut self) {
        let Ok(ready) = self.calls.ready() else {
            self.ended = true;
            return;
        };
        assert!(!self.ended, "an error that went away");
        assert!(ready.len() <= ENTRIES as usize);
        for words in ready {
            let (call, tag) = Call::from_words(words);
            let answer = match self.extent.check(&call) {
                Ok(checked) => inside(checked),
                Err(code) => Answer::failed(code, 0),
            };
            // A client that does not take its answers loses them.
            let _ = self.dones.push(Done { tag, answer }.to_words());
        }
        self.calls.release();
        self.dones.publish();
    }
}

/// What was let through is in the client's part of the disk.
fn inside(Checked { lba, blocks, .. }: Checked) -> Answer {
    assert!(lba.0 >= FIRST && lba.0 + blocks.0 <= FIRST + LIMITS.capacity.0);
    assert!(blocks.0 <= LIMITS.max_transfer.0);
    Answer::done(0)
}

/// What somebody hostile writes: anything, an index that could be, or the name of a request.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..20u64,
        (0..30u64, 0..8u64).prop_map(|(count, slot)| count << 16 | slot),
    ]
}

/// Where: anywhere, or at one of the indices.
fn place() -> impl Strategy<Value = usize> {
    let side = |header: usize, line: usize| Just((header + line) / 8);
    prop_oneof![
        4 => any::<usize>(),
        1 => side(rings::CALLS, 64),
        1 => side(rings::CALLS, 128),
        1 => side(rings::DONES, 64),
        1 => side(rings::DONES, 128),
    ]
}

type Step = (Vec<(usize, u64)>, usize);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let writes = prop::collection::vec((place(), value()), 0..5);
    prop::collection::vec((writes, 0..5usize), 1..60)
}

proptest! {
    #[test]
    fn a_client_survives_a_hostile_server(steps in steps()) {
        let memory = Memory::new();
        let mut client = memory.client();
        for (writes, most) in steps {
            client.send(most);
            writes.iter().for_each(|&(place, value)| memory.write(place, value));
            client.take();
        }
        client.end();
        memory.assert_untouched();
    }

    #[test]
    fn a_server_survives_a_hostile_client(steps in steps()) {
        let memory = Memory::new();
        let mut server = memory.server();
        for (writes, _) in steps {
            writes.iter().for_each(|&(place, value)| memory.write(place, value));
            server.serve();
        }
        memory.assert_untouched();
    }
}

/// Stops the thread, also when an assertion has failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Both at once, while a thread writes. What they come to depends on the host; what is asserted does
/// not.
#[test]
fn both_survive_what_is_written_meanwhile() {
    let mut random = 1u64;
    let mut next = move || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) as usize
    };
    for _ in 0..20 {
        let memory = Memory::new();
        let (mut client, mut server) = (memory.client(), memory.server());
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                // Rarely an index, so that both get somewhere first.
                while !stop.load(Ordering::Relaxed) {
                    let (place, value) = (next(), next() as u64 % 4096);
                    let entries = rings::ENTRIES / 8;
                    match value % 512 {
                        0 => memory.write(place, value / 512),
                        _ => memory.write(entries + place % (WORDS - entries), value << 16),
                    }
                }
            });
            let stopped = Stop(&stop);
            for round in 0..2000 {
                client.send(round % 9);
                server.serve();
                client.take();
            }
            drop(stopped);
            client.end();
        });
        memory.assert_untouched();
    }
}

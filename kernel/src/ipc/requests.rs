//! The requests of queues that are under way, and timers: whatever waits without a thread.
//!
//! Each has a slot, a number behind those of the threads, so that it is on lists of waiters and has a
//! deadline as a thread has. Places are taken when a queue or a timer is made, so a request always
//! finds one.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use spillway_abi::{
    Error,
    limits::{MAX_REQUESTS, MAX_THREADS},
};
use spillway_kernel_core::{places::Places, slots::Slots};

use super::{
    Asked,
    streams::{Passed, Stream},
};
use crate::{
    kernel::Kernel,
    memory::account::Account,
    object::{IoQueue, Timer, thread::Wait},
};

/// The first slot that is not a thread's.
pub const FIRST: u16 = MAX_THREADS as u16;
/// Slots of waiters of either kind.
pub const WAITERS: usize = MAX_THREADS + MAX_REQUESTS;
/// Requests for which memory is allocated at a time.
const CHUNK: usize = 64;

/// What is under way in a slot.
#[derive(Debug, Default)]
pub enum Request {
    /// Nothing.
    #[default]
    Free,
    /// A timer's deadline.
    Timer(Arc<Timer>),
    /// An entry of a queue that waits for an object.
    Wait(Entry, Wait),
    /// An entry of a queue that asked a server.
    Asked(Entry, Asked),
    /// One that was answered, and whose data is to be copied out of the window: so many bytes.
    Answered(Entry, Asked, u64),
}

/// The entry of a queue that a request came from.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where the completion goes.
    pub queue: Arc<IoQueue>,
    /// Comes back with it.
    pub user_data: u64,
    /// Comes back with it.
    pub trace: u64,
    /// The core in whose list of deadlines it is, if it has one.
    pub home: usize,
}

/// The numbers of tokens, none of which is 0: the last one that was given out.
#[derive(Clone, Copy, Debug)]
pub struct Sequences(u32);

impl Sequences {
    /// The next one.
    #[inline]
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.checked_add(1).unwrap_or(1);
        self.0
    }
}

/// All of them.
#[derive(Debug)]
pub struct Requests {
    slots: Slots,
    table: Vec<Box<[Request]>>,
    /// The places once more, for requests that go from queue to queue.
    pub places: Places<Passed, Stream>,
    sequence: Sequences,
}

impl Requests {
    /// Without room, for the static.
    pub const fn empty() -> Self {
        Self {
            slots: Slots::empty(),
            table: Vec::new(),
            places: Places::empty(),
            sequence: Sequences(0),
        }
    }

    /// Makes room for the numbers. Once, at boot.
    pub fn init(&mut self) -> Result<(), Error> {
        self.slots = Slots::new(MAX_REQUESTS as u16)?;
        self.places = Places::new(MAX_REQUESTS)?;
        self.table
            .try_reserve_exact(MAX_REQUESTS / CHUNK)
            .map_err(|_| Error::OutOfMemory)
    }

    /// A number for a token.
    #[inline]
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence.next()
    }

    /// The numbers for a batch of tokens, to be given back by [`Self::set_sequences`].
    #[inline]
    pub const fn sequences(&self) -> Sequences {
        self.sequence
    }

    /// Goes on behind the numbers that a batch took.
    #[inline]
    pub const fn set_sequences(&mut self, sequences: Sequences) {
        self.sequence = sequences;
    }

    /// What is under way in a slot.
    #[inline]
    pub fn get(&mut self, slot: u16) -> &mut Request {
        let index = usize::from(slot - FIRST);
        &mut self.table[index / CHUNK][index % CHUNK]
    }

    /// What is under way in a slot, from a number that may be anything.
    #[inline]
    pub fn find(&mut self, slot: u16) -> Option<&mut Request> {
        let index = usize::from(slot.checked_sub(FIRST)?);
        self.table.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }
}

/// Takes places. [`Error::LimitReached`] if the account or the system has too few,
/// [`Error::OutOfMemory`].
pub fn reserve(kernel: &mut Kernel, account: &Account, count: u32) -> Result<Vec<u16>, Error> {
    let requests = &mut kernel.requests;
    let reserved = usize::from(requests.slots.used()) + count as usize;
    if reserved > MAX_REQUESTS {
        return Err(Error::LimitReached);
    }
    let mut slots = Vec::new();
    slots
        .try_reserve_exact(count as usize)
        .map_err(|_| Error::OutOfMemory)?;
    // The lowest numbers are given out, so the table reaches as far as there are places taken.
    while requests.table.len() * CHUNK < reserved {
        let mut chunk = Vec::new();
        chunk
            .try_reserve_exact(CHUNK)
            .map_err(|_| Error::OutOfMemory)?;
        chunk.resize_with(CHUNK, Request::default);
        requests.table.push(chunk.into_boxed_slice());
    }
    account.add_requests(count)?;
    let free = core::iter::from_fn(|| requests.slots.allocate());
    slots.extend(free.take(count as usize).map(|number| FIRST + number));
    Ok(slots)
}

/// Gives places back, in none of which anything is under way.
pub fn release(kernel: &mut Kernel, account: &Account, slots: &[u16]) {
    for slot in slots {
        kernel.requests.slots.free(slot - FIRST);
    }
    account.remove_requests(slots.len() as u32);
}

/// Puts something into a place.
#[inline]
pub fn set(kernel: &mut Kernel, slot: u16, request: Request) {
    *kernel.requests.get(slot) = request;
}

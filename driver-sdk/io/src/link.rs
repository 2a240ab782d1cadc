//! The two rings of level 3, as each side has them. The unsafe code of that level is here.
//!
//! The client makes the memory and lays the rings out in it; the server maps what it was given, whatever that
//! is. Both expect the other to write anything anywhere at any time: all accesses are atomic, and the
//! ring's halves believe nothing.

use core::ptr::NonNull;

use spillway_abi::{Error, Rights};
use spillway_ring::{Consumer, Producer, Refused, RingHeader, Word};
use spillway_rt::object::{Mapping, Memory};

use crate::protocol::{CALL_WORDS, DONE_WORDS, rings};

type CallWords = [u64; CALL_WORDS];
type DoneWords = [u64; DONE_WORDS];

/// The client's halves. They lie before the mapping, so that they are gone when it is unmapped.
pub(crate) struct ClientRings {
    pub(crate) calls: Producer<'static, CallWords>,
    pub(crate) dones: Consumer<'static, DoneWords>,
    _mapping: Mapping,
}

/// The server's halves, likewise.
pub struct ServerRings {
    /// What the client asks.
    pub calls: Consumer<'static, CallWords>,
    /// What it is told.
    pub dones: Producer<'static, DoneWords>,
    _mapping: Mapping,
}

/// Headers and entries of both rings.
struct Places {
    calls: (NonNull<RingHeader>, NonNull<Word>),
    dones: (NonNull<RingHeader>, NonNull<Word>),
}

/// Where the rings are in a mapping that is long enough.
fn places(mapping: &Mapping, entries: u32) -> Result<Places, Error> {
    if entries > rings::MAX_ENTRIES || mapping.len() < rings::bytes(entries) {
        return Err(Error::BadArgument);
    }
    let at = |offset: usize| {
        // SAFETY: every offset that is asked for here is inside the mapping, as was checked.
        NonNull::new(unsafe { mapping.as_ptr().add(offset) }).ok_or(Error::BadPointer)
    };
    Ok(Places {
        calls: (at(rings::CALLS)?.cast(), at(rings::ENTRIES)?.cast()),
        dones: (
            at(rings::DONES)?.cast(),
            at(rings::done_entries(entries))?.cast(),
        ),
    })
}

fn refused(_: Refused) -> Error {
    Error::Corrupt
}

impl ClientRings {
    /// New rings of so many entries, a power of two, and the memory to be given to the server.
    pub(crate) fn new(entries: u32) -> Result<(Self, Memory), Error> {
        let memory = Memory::new(rings::bytes(entries) as u64)?;
        let mapping = memory.map(Rights::READ | Rights::WRITE)?;
        let Places { calls, dones } = places(&mapping, entries)?;
        // SAFETY: zeroed memory of the mapping, which outlives the halves; a header is aligned, as
        // the mapping begins with a page, and all of it is atomic. There is one half of each kind in
        // this process, and nothing else here uses the mapping.
        let halves = unsafe {
            calls.0.as_ref().initialise::<CallWords>(entries, 0);
            dones.0.as_ref().initialise::<DoneWords>(entries, 0);
            let calls = Producer::new(calls.0, calls.1, entries);
            (calls, Consumer::new(dones.0, dones.1, entries))
        };
        let rings = Self {
            calls: halves.0.map_err(refused)?,
            dones: halves.1.map_err(refused)?,
            _mapping: mapping,
        };
        Ok((rings, memory))
    }
}

impl ServerRings {
    /// The rings in memory that a client gave, of as many entries as it says.
    ///
    /// # Errors
    ///
    /// `BadArgument` for memory that is too short, or too many entries; `Corrupt` for headers that
    /// are not those of such rings; those of the mapping.
    pub fn new(memory: &Memory, entries: u32) -> Result<Self, Error> {
        let length = (rings::bytes(entries.min(rings::MAX_ENTRIES)) as u64).next_multiple_of(4096);
        let mapping = memory.map_range(0, length, Rights::READ | Rights::WRITE)?;
        let Places { calls, dones } = places(&mapping, entries)?;
        // SAFETY: as for the client, but what the memory holds is the client's doing.
        let halves = unsafe {
            let calls = Consumer::new(calls.0, calls.1, entries);
            (calls, Producer::new(dones.0, dones.1, entries))
        };
        Ok(Self {
            calls: halves.0.map_err(refused)?,
            dones: halves.1.map_err(refused)?,
            _mapping: mapping,
        })
    }
}

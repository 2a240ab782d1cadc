//! Requests by messages that the driver has: a table of fixed size, of which the driver's tag has the
//! index. Requests by rings need none: their tag says it all.

use alloc::boxed::Box;

use driver_sdk::{abi::service::Token, io::protocol::TAG_MASK};

/// A request by a message that the driver has.
#[derive(Clone, Copy)]
pub struct Flight {
    /// Whose, as an index.
    pub client: u32,
    /// Bytes that it moves.
    pub bytes: u32,
    /// What it is answered by.
    pub token: Token,
}

/// Where a request came from, in the upper bits of the driver's tag: the number of the rings, or
/// [`BY_MESSAGE`]. Below it is the client's own number, or the index of the flight.
pub const fn origin(tag: u64) -> usize {
    (tag >> ORIGIN_SHIFT) as usize
}

/// The tag, without the client's number, of what came by these rings.
pub const fn from_rings(index: usize) -> u64 {
    (index as u64) << ORIGIN_SHIFT
}

const ORIGIN_SHIFT: u32 = TAG_MASK.count_ones();
/// It came by a message.
pub const BY_MESSAGE: usize = 0xffff;

/// All of them.
pub struct Flights {
    /// The token of an idle one is the index of the next.
    table: Box<[Flight]>,
    /// The first idle one; past the end if there is none.
    idle: u64,
}

impl Flights {
    /// Room for so many.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.min(usize::from(u16::MAX)) as u64;
        let idle = |next| Flight {
            client: 0,
            bytes: 0,
            token: Token(next),
        };
        Self {
            table: (1..=capacity).map(idle).collect(),
            idle: 0,
        }
    }

    /// The driver is to have it, by the tag that is returned; `None` if there is no room.
    #[inline(always)]
    pub fn begin(&mut self, flight: Flight) -> Option<u64> {
        let place = self.table.get_mut(self.idle as usize)?;
        let tag = from_rings(BY_MESSAGE) | self.idle;
        self.idle = core::mem::replace(place, flight).token.0;
        Some(tag)
    }

    /// The driver has given it back, or did not take it. `None` for a tag that it cannot have.
    #[inline(always)]
    pub fn end(&mut self, tag: u64) -> Option<Flight> {
        let index = tag & TAG_MASK;
        let place = self.table.get_mut(index as usize)?;
        let flight = *place;
        place.token = Token(core::mem::replace(&mut self.idle, index));
        Some(flight)
    }
}

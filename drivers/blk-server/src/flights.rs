//! What the driver has: a table of fixed size, whose index is the driver's tag.

use alloc::{boxed::Box, vec::Vec};

/// A request that the driver has.
#[derive(Clone, Copy, Default)]
pub struct Flight {
    /// Whose, as an index.
    pub client: u32,
    /// By which rings it came, as an index; [`BY_MESSAGE`] if by none.
    pub link: u32,
    /// The client's number, or the token of the message.
    pub tag: u64,
    /// Bytes that it moves.
    pub bytes: u32,
}

/// In [`Flight::link`]: it came as a message.
pub const BY_MESSAGE: u32 = u32::MAX;

/// All of them.
pub struct Flights {
    table: Box<[Flight]>,
    free: Vec<u32>,
}

impl Flights {
    /// Room for so many.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.min(usize::from(u16::MAX));
        Self {
            table: (0..capacity).map(|_| Flight::default()).collect(),
            free: (0..capacity as u32).rev().collect(),
        }
    }

    /// How many can be.
    pub fn capacity(&self) -> usize {
        self.table.len()
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.table.len() - self.free.len()
    }

    /// How many more can be.
    #[inline]
    pub fn room(&self) -> usize {
        self.free.len()
    }

    /// The tag that the next one will have.
    #[inline(always)]
    pub fn next(&self) -> Option<u32> {
        self.free.last().copied()
    }

    /// The driver has it, by the tag that [`next`](Self::next) said.
    #[inline(always)]
    pub fn begin(&mut self, flight: Flight) {
        if let Some(tag) = self.free.pop()
            && let Some(place) = self.table.get_mut(tag as usize)
        {
            *place = flight;
        }
    }

    /// The driver has given it back. `None` for a tag that it cannot have.
    #[inline(always)]
    pub fn end(&mut self, tag: u64) -> Option<Flight> {
        let flight = *self.table.get(tag as usize)?;
        // Never longer than the table: there was room when it began.
        self.free.push(tag as u32);
        Some(flight)
    }
}

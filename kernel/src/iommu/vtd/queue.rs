//! The invalidation queue (section 6.5.2): how a unit is told to forget, and says that it has.

use spillway_kernel_core::iommu::vtd::invalidation::{Descriptor, wait as wait_descriptor};

use super::{
    registers::{FAULT_STATUS, QUEUE, QUEUE_ADDRESS, QUEUE_TAIL, Registers, Stuck, wait},
    shared::{FRAME_WORDS, Shared},
};

/// Descriptors in a queue of one frame.
const LENGTH: usize = FRAME_WORDS / 2;
/// The word behind the queue's frame, where the unit writes what it has done.
const STATUS_WORD: usize = FRAME_WORDS;
/// Fault status: the queue stopped at a bad descriptor, or something did not answer (section
/// 11.4.7.1: IQE, ICE, ITE).
const QUEUE_ERRORS: u32 = 1 << 4 | 1 << 5 | 1 << 6;

/// The queue of one unit. One request at a time: it is empty between two calls.
#[derive(Debug)]
pub struct Queue {
    memory: Shared,
    tail: usize,
    /// The number of the last request.
    ticket: u32,
    /// A request was not answered: what the unit remembers is unknown from then on.
    pub hang: Option<Hang>,
}

/// How a unit hangs.
#[derive(Clone, Copy, Debug)]
pub struct Hang {
    /// It reported an error; else it gave no answer.
    pub is_error: bool,
    /// Its fault status.
    pub status: u32,
    /// The log was told.
    pub is_told: bool,
}

impl Queue {
    /// A queue, not yet in use. `None` without memory.
    pub fn new(is_coherent: bool) -> Option<Self> {
        Some(Self {
            memory: Shared::allocate(2, is_coherent)?,
            tail: 0,
            ticket: 0,
            hang: None,
        })
    }

    /// Makes the unit use it. Only while it uses none.
    pub fn start(&self, registers: &Registers) -> Result<(), Stuck> {
        registers.write64(QUEUE_TAIL, 0);
        // What stopped the firmware's queue may still be told; ones clear it.
        registers.write32(FAULT_STATUS, QUEUE_ERRORS);
        // A frame of descriptors of 16 bytes: size 0, width 0.
        registers.write64(QUEUE_ADDRESS, self.memory.physical());
        registers.command(QUEUE, true)
    }

    /// [`Stuck`] if the unit hangs.
    pub fn check(&self) -> Result<(), Stuck> {
        match self.hang {
            Some(_) => Err(Stuck),
            None => Ok(()),
        }
    }

    /// From here on the unit counts as one that hangs. Nothing is told yet: whoever is here may
    /// have locks.
    pub fn give_up(&mut self, registers: &Registers) {
        let status = registers.read32(FAULT_STATUS);
        self.hang.get_or_insert(Hang {
            is_error: status & QUEUE_ERRORS != 0,
            status,
            is_told: false,
        });
    }

    /// Has one descriptor done and waits for it.
    pub fn submit(&mut self, registers: &Registers, descriptor: Descriptor) -> Result<(), Stuck> {
        self.ticket = self.ticket.wrapping_add(1);
        let status = self.memory.physical() + STATUS_WORD as u64 * 8;
        self.push(descriptor);
        self.push(wait_descriptor(status, self.ticket));
        self.memory.fence();
        registers.write64(QUEUE_TAIL, self.tail as u64 * 16);
        let is_answered = || self.memory.read(STATUS_WORD) as u32 == self.ticket;
        // How the wait ends does not matter, only whether there is an answer.
        let _ = wait(|| is_answered() || registers.read32(FAULT_STATUS) & QUEUE_ERRORS != 0);
        if is_answered() { Ok(()) } else { Err(Stuck) }
    }

    fn push(&mut self, [first, second]: Descriptor) {
        self.memory.write(2 * self.tail, first);
        self.memory.write(2 * self.tail + 1, second);
        self.tail = (self.tail + 1) % LENGTH;
    }
}

//! The rings of a queue pair, a submission queue and a completion queue, and their memory.

use alloc::sync::Arc;

use spillway_hal::{Device, DmaBuffer, DriverError, FromDevice, Registers, ToDevice};

use crate::command::{COMPLETION_BYTES, Entry, SUBMISSION_BYTES};
use crate::completion::{Difference, Expected};
use crate::queue::IDLE;
use crate::registers::{Doorbell, doorbells};
use crate::shared::{CONSTRAINTS, Core};

/// Entries of the admin queues: there is one command at a time.
pub(crate) const ADMIN_ENTRIES: u32 = 16;

/// The memory of a queue pair, which the controller holds on to until the device has let go.
pub(crate) struct Memory<D: Device> {
    pub(crate) submissions: DmaBuffer<D::Dma, ToDevice>,
    pub(crate) completions: DmaBuffer<D::Dma, FromDevice>,
    /// One list for each command slot; for the admin queue a page that nobody uses.
    pub(crate) lists: DmaBuffer<D::Dma, ToDevice>,
}

impl<D: Device> Memory<D> {
    /// Allocates zeroed memory for queues of `entries`, a power of two, and `lists` bytes of PRP
    /// lists.
    pub(crate) fn allocate(device: &D, entries: u32, lists: usize) -> Result<Self, DriverError> {
        let entries = entries as usize;
        let mut submissions: DmaBuffer<_, ToDevice> =
            device.allocate(entries * SUBMISSION_BYTES, CONSTRAINTS)?;
        submissions.set_ring(entries * SUBMISSION_BYTES);
        Ok(Self {
            submissions,
            completions: device.allocate(entries * COMPLETION_BYTES, CONSTRAINTS)?,
            lists: device.allocate(lists.max(1), CONSTRAINTS)?,
        })
    }

    /// Stores a command in the submission queue, where the `place`th one comes: all words but those
    /// that are zero in every command, as they are in the ring from the start.
    #[inline(always)]
    pub(crate) fn place(&self, place: u32, [word0, _, _, prp1, prp2, word5, word6, _]: Entry) {
        let (prp1, prp2, word5, word6) = (Some(prp1), Some(prp2), Some(word5), Some(word6));
        let words = [Some(word0), None, None, prp1, prp2, word5, word6, None];
        self.submissions.store_entry(place as usize, words);
    }
}

/// The two rings of a queue pair, from the driver's side.
pub(crate) struct Ring<D: Device> {
    pub(crate) memory: Arc<Memory<D>>,
    pub(crate) registers: D::Registers,
    pub(crate) tail_doorbell: Doorbell,
    head_doorbell: Doorbell,
    /// Entries of either ring, a power of two, less one.
    pub(crate) mask: u32,
    /// What makes the state of an idle slot that of its next command. The ring is longer than
    /// there are slots, so the identifier FFFFh, which the specification reserves (3.3.3.1), never
    /// comes up.
    pub(crate) next_use: u64,
    /// Commands placed, and commands that the device was told of, counted without end.
    pub(crate) placed: u32,
    pub(crate) rung: u32,
    /// Where the next completion is expected: an entry, or the end of the ring.
    pub(crate) head: usize,
    pub(crate) expected: Expected,
    /// How far the device was told that completions were taken.
    acknowledged: u32,
}

impl<D: Device> Ring<D> {
    pub(crate) fn new(core: &Core<D>, queue: u16, entries: u32, memory: Arc<Memory<D>>) -> Self {
        let (tail_doorbell, head_doorbell) = doorbells(core.capabilities, queue);
        Self {
            memory,
            registers: core.registers.clone(),
            tail_doorbell,
            head_doorbell,
            mask: entries - 1,
            next_use: (u64::from(entries) << 48).wrapping_sub(IDLE),
            placed: 0,
            rung: 0,
            head: 0,
            expected: Expected::new(queue),
            acknowledged: 0,
        }
    }

    /// Places a command. There are fewer slots than entries, so there is room.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.memory.place(self.placed, entry);
        self.placed = self.placed.wrapping_add(1);
    }

    /// Takes the next completion.
    pub(crate) fn next(&mut self) -> Option<Difference> {
        self.turn();
        let next = self.peek()?;
        self.head += 1;
        Some(next)
    }

    /// Whether there is a completion.
    pub(crate) fn has_next(&mut self) -> bool {
        self.turn();
        self.peek().is_some()
    }

    fn peek(&self) -> Option<Difference> {
        let offset = self.head * COMPLETION_BYTES + 8;
        let entry = self.memory.completions.load_acquire(offset);
        self.expected.look(entry)
    }

    /// At the end of the ring, goes on at its start, in the other phase.
    pub(crate) fn turn(&mut self) {
        if self.head > self.mask as usize {
            self.head = 0;
            self.expected = self.expected.next_lap();
        }
    }

    /// Where the next completion is expected.
    pub(crate) fn head(&self) -> u32 {
        self.head as u32 & self.mask
    }

    /// Tells the device which completions may be overwritten.
    #[inline(always)]
    pub(crate) fn acknowledge(&mut self) {
        let head = self.head();
        if head != self.acknowledged {
            self.acknowledged = head;
            self.registers.write(self.head_doorbell, head);
        }
    }
}

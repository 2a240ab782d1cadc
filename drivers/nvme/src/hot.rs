//! The hot path, all of it: a command is built and published, the device is told of the whole batch
//! by one doorbell, and completions are reaped by phase.
//!
//! What the device can rewrite is read once, into a register, and compared with what the driver
//! itself wrote down. Whatever does not fit, and whatever is not a short read or write like the last
//! ones, leaves for [`crate::split`] or [`crate::recover`].

use core::mem;

use spillway_hal::block::{Completed, Lba};
use spillway_hal::{Device, IoAddress, Registers};

use crate::command::{COMPLETION_BYTES, Entry};
use crate::completion::Difference;
use crate::prepared::Prepared;
use crate::queue::{Batch, IDLE, Queue};
use crate::ring::Ring;

impl Prepared {
    /// Whether a request with this place and memory is of the kind.
    #[inline(always)]
    pub(crate) fn covers(&self, lba: Lba, address: IoAddress) -> bool {
        address.0 & self.page_bits == 0 && lba <= self.last
    }

    /// The command, whose identifier comes as a slot has it.
    #[inline(always)]
    pub(crate) fn entry(&self, identity: u64, lba: Lba, address: IoAddress) -> Entry {
        let word0 = self.word0 | identity >> 32;
        [word0, 0, 0, address.0, 0, lba.0, self.word6, 0]
    }
}

impl<D: Device> Batch<'_, D> {
    /// Places the command that is made for an identity, if there is room.
    #[inline(always)]
    pub(crate) fn place(&mut self, tag: u64, entry: impl FnOnce(u64) -> Entry) -> bool {
        let Some(slot) = self.queue.slots.get_mut(self.idle) else {
            return false;
        };
        self.idle = slot.tag as usize;
        slot.state = slot.state.wrapping_add(self.next_use);
        slot.tag = tag;
        let entry = entry(slot.state);
        self.queue.ring.memory.place(self.placed, entry);
        self.placed = self.placed.wrapping_add(1);
        true
    }
}

impl<D: Device> Ring<D> {
    /// Tells the device of all commands since the last time, and before that which completions may
    /// be overwritten. That can wait until then, and so is one register write for a batch however
    /// many times it takes to reap it: the ring has more entries than there are slots, so it has
    /// room for every command that the device knows of.
    #[inline(always)]
    pub(crate) fn ring(&mut self) {
        if self.placed != self.rung {
            self.acknowledge();
            self.rung = self.placed;
            let tail = self.placed & self.mask;
            self.registers.write(self.tail_doorbell, tail);
        }
    }
}

/// Why a walk over the completion queue stops.
enum Stop {
    /// There is no completion.
    Empty,
    /// The end of the ring.
    Lap,
    /// A completion that is not the success of a whole request.
    Other(Difference),
}

impl<D: Device> Queue<D> {
    /// Takes completions until there is none. Returns how many requests are done.
    #[inline(always)]
    pub(crate) fn reap_usual(&mut self, completed: &mut impl Completed) -> u32 {
        let mut count = 0;
        loop {
            // Kept in registers, as the compiler must assume that the device writes anywhere.
            let (mut idle, mask, expected) = (self.idle, self.ring.mask, self.ring.expected);
            let slots = &mut self.slots[..=mask as usize];
            let entries = self.ring.head..mask as usize + 1;
            let completions = &self.ring.memory.completions;
            let mut entries = completions.load_entries::<u64, COMPLETION_BYTES>(entries, 8);
            let stop = loop {
                let Some(entry) = entries.next() else {
                    break Stop::Lap;
                };
                let Some(difference) = expected.look(entry) else {
                    break Stop::Empty;
                };
                let index = usize::from(difference.identifier()) & mask as usize;
                let slot = &mut slots[index];
                let state = difference.without_head(mask);
                if slot.state != state {
                    break Stop::Other(difference);
                }
                slot.state = state | IDLE;
                let tag = mem::replace(&mut slot.tag, idle as u64);
                idle = index;
                completed.done(tag);
            };
            self.idle = idle;
            let left = entries.len() + usize::from(matches!(stop, Stop::Empty));
            drop(entries);
            let head = mask as usize + 1 - left;
            count += (head - self.ring.head - usize::from(matches!(stop, Stop::Other(_)))) as u32;
            self.ring.head = head;
            match stop {
                Stop::Lap => self.ring.turn(),
                Stop::Other(entry) if self.reap_other(entry, &mut count, completed) => {}
                Stop::Other(_) | Stop::Empty => return count,
            }
        }
    }
}

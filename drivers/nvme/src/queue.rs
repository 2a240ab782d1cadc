//! The hot path: a command is built, published and rung for; completions are reaped by phase.
//!
//! A queue pair is owned by who uses it. What the device can rewrite is read once, into a register,
//! and compared with what the driver itself wrote down: the command that is in the slot, the ring's
//! phase, the range of the submission queue's head. Whatever does not fit, and whatever is not a
//! short read or write, leaves for [`crate::split`] or [`crate::recover`].

use alloc::{boxed::Box, sync::Arc};

use spillway_hal::block::{BlockDriverQueue, Operation, Request, Segment};
use spillway_hal::{Device, DriverError, Registers};

use crate::command::{COMPLETION_BYTES, Entry, SUBMISSION_BYTES, opcode, transfer};
use crate::identify::Namespace;
use crate::recover::Watch;
use crate::registers::{Doorbell, doorbells};
use crate::ring::Memory;
use crate::shared::{Core, Epoch};
use crate::split::Group;

/// The end of a list of slots.
pub(crate) const NONE: u16 = u16::MAX;

/// In the low half of [`Slot::identity`]: no command is in flight.
pub(crate) const IDLE: u32 = 1;
/// In flight as a part of a request that takes several commands.
pub(crate) const PART: u32 = 1 | 2;
/// Completed, but the request that the slot stands for has further parts in flight.
pub(crate) const DONE: u32 = 1 | 4;

/// One command, as the driver remembers it.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    /// The tag of the request.
    pub(crate) tag: u64,
    /// The command's identifier in the upper half. Its low bits are the slot's index, the rest counts
    /// the uses of the slot, so that a completion that comes twice is found out even when the slot
    /// is in use again. In the lower half zero for a whole request in flight, else one of the
    /// constants above. All of them are odd, and where bit 0 is, a completion has its phase.
    pub(crate) identity: u32,
    /// Idle: the next idle slot. A part: the slot that stands for the request.
    pub(crate) link: u16,
    /// In flight: when it was submitted, in ticks of the watch.
    pub(crate) tick: u16,
}

/// The two rings of a queue pair, from the driver's side.
pub(crate) struct Ring<D: Device> {
    pub(crate) memory: Arc<Memory<D>>,
    registers: D::Registers,
    tail_doorbell: Doorbell,
    head_doorbell: Doorbell,
    /// Entries of either ring, a power of two, less one.
    pub(crate) mask: u32,
    /// What makes the identity of an idle slot that of its next command. The ring is longer than
    /// there are slots, so the identifier FFFFh, which the specification reserves (3.3.3.1), never
    /// comes up.
    pub(crate) next_use: u32,
    /// Commands placed, and commands that the device was told of, counted without end.
    pub(crate) placed: u32,
    rung: u32,
    pub(crate) cursor: Cursor,
    /// How far the device was told that completions were taken.
    acknowledged: u32,
}

/// Where the next completion is expected, and what it has, where it has it: the phase tag of this
/// lap in [`PHASE`], and the queue's identifier.
#[derive(Clone, Copy)]
pub(crate) struct Cursor {
    pub(crate) head: u32,
    expected: u64,
}

/// The phase tag in the upper half of a completion.
const PHASE: u64 = 1 << 48;

/// Why a walk over the completion queue stops.
pub(crate) enum Stop {
    /// There is no completion.
    Empty,
    /// The end of the ring.
    Lap,
    /// A completion that is not the success of a whole request.
    Other(u64),
}

impl Cursor {
    /// The upper half of the next completion: submission queue head and identifier, command
    /// identifier, phase and status (Base 2.0, 3.3.3.2). One load, so that it is of one piece. It
    /// comes as the difference from what is expected.
    #[inline(always)]
    fn look<D: Device>(&mut self, memory: &Memory<D>, mask: u32) -> Result<u64, Stop> {
        if self.head > mask {
            return Err(Stop::Lap);
        }
        let offset = self.head as usize * COMPLETION_BYTES + 8;
        let entry = memory.completions.load_acquire::<u64>(offset);
        let difference = entry ^ self.expected;
        if difference & PHASE != 0 {
            return Err(Stop::Empty);
        }
        self.head += 1;
        Ok(difference)
    }

    /// Goes on at the start of the ring, in the other phase.
    fn next_lap(&mut self) {
        self.head = 0;
        self.expected ^= PHASE;
    }
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
            next_use: (entries << 16).wrapping_sub(IDLE),
            placed: 0,
            rung: 0,
            cursor: Cursor {
                head: 0,
                expected: PHASE | u64::from(queue) << 16,
            },
            acknowledged: 0,
        }
    }

    /// Places a command. There are fewer slots than entries, so there is room.
    #[inline(always)]
    pub(crate) fn push(&mut self, entry: Entry) {
        let offset = (self.placed & self.mask) as usize * SUBMISSION_BYTES;
        self.memory.submissions.store_words(offset, entry);
        self.placed = self.placed.wrapping_add(1);
    }

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

    /// Takes the next completion, see [`Cursor::look`].
    pub(crate) fn next(&mut self) -> Option<u64> {
        match self.cursor.look(&self.memory, self.mask) {
            Err(Stop::Lap) => {
                self.cursor.next_lap();
                self.next()
            }
            difference => difference.ok(),
        }
    }

    /// Where the next completion is expected.
    pub(crate) fn head(&self) -> u32 {
        self.cursor.head & self.mask
    }

    /// Whether there is a completion.
    pub(crate) fn has_next(&mut self) -> bool {
        let cursor = self.cursor;
        let has_next = self.next().is_some();
        self.cursor = cursor;
        has_next
    }

    /// Whether a completion is of this queue, with a submission queue head inside the ring.
    #[inline(always)]
    pub(crate) fn owns(&self, difference: u64) -> bool {
        difference as u32 <= self.mask
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

/// An I/O queue pair.
pub struct Queue<D: Device> {
    pub(crate) ring: Ring<D>,
    /// As many as the rings have entries, so that every masked identifier has one; those past
    /// `usable` are never used.
    pub(crate) slots: Box<[Slot]>,
    /// The first idle slot.
    pub(crate) idle: u16,
    pub(crate) tick: u16,
    /// Requests given back, and commands beyond one for each request: what is missing from those
    /// that were placed is in flight.
    pub(crate) done: u32,
    /// The namespace of the last request.
    pub(crate) namespace: Namespace,
    pub(crate) core: Arc<Core<D>>,
    pub(crate) epoch: Epoch,
    // What follows is not touched on the hot path.
    pub(crate) watch: Watch,
    pub(crate) groups: Box<[Group]>,
    /// The first idle slot of those that are kept for requests of several commands.
    pub(crate) spare: u16,
    /// Slots in use beyond one for each request.
    pub(crate) extra: u32,
    pub(crate) depth: u16,
    /// Slots, spare ones included.
    pub(crate) usable: u16,
    /// Bytes of a PRP list, and of the longest command.
    pub(crate) list_bytes: usize,
    pub(crate) command_bytes: u32,
    pub(crate) max_segments: u32,
    pub(crate) max_transfer: u32,
    pub(crate) namespaces: Arc<[Namespace]>,
    pub(crate) interrupt: Option<D::Interrupt>,
}

impl<D: Device> BlockDriverQueue for Queue<D> {
    #[inline(always)]
    fn submit(&mut self, request: &Request<'_>) -> Result<(), DriverError> {
        let namespace = &self.namespace;
        // One segment inside of one page: PRP entry 1 is all.
        if let &[Segment { address, bytes }] = request.segments
            && let offset = address.0 & 0xfff
            && offset + u64::from(bytes) <= 4096
            && offset & 3 == 0
            && bytes != 0
            && request.operation != Operation::Flush
            && request.namespace == namespace.id
            && let Some(end) = request.lba.checked_add(request.blocks)
            && end.0 <= namespace.capacity.0
            && request.blocks.0 << namespace.block_size.shift() == u64::from(bytes)
            && let Some(slot) = self.slots.get_mut(usize::from(self.idle))
        {
            let opcode = match request.operation {
                Operation::Read => opcode::READ,
                _ => opcode::WRITE,
            };
            self.idle = slot.link;
            slot.identity = slot.identity.wrapping_add(self.ring.next_use);
            slot.tag = request.tag;
            slot.tick = self.tick;
            let (id, lba, blocks) = (request.namespace.0, request.lba.0, request.blocks.0);
            let (prps, fua) = ((address.0, 0), request.flags.fua);
            let entry = transfer(opcode, slot.identity, id, prps, lba, blocks, fua);
            self.ring.push(entry);
            return Ok(());
        }
        // A copy, so that the compiler keeps the original in registers.
        self.submit_other(&{ *request })
    }

    #[inline]
    fn kick(&mut self) {
        // After a reset the doorbell belongs to another queue.
        if self.core.is_running(self.epoch) {
            self.ring.ring();
        }
    }

    #[inline]
    fn reap(&mut self, mut completed: impl FnMut(u64, Result<(), DriverError>)) -> usize {
        let mut count = 0;
        loop {
            // Kept in registers, as the compiler must assume that the device writes anywhere.
            let (mut cursor, mut idle) = (self.ring.cursor, self.idle);
            let (mask, memory) = (self.ring.mask, &*self.ring.memory);
            let slots = &mut self.slots[..=mask as usize];
            let stop = loop {
                let difference = match cursor.look(memory, mask) {
                    Ok(difference) => difference,
                    Err(stop) => break stop,
                };
                // Status and phase, of which a success leaves nothing, go below the identifier.
                let identity = ((difference >> 32) as u32).rotate_left(16);
                let index = (difference >> 32) as u32 & mask;
                let slot = &mut slots[index as usize];
                if slot.identity != identity || difference as u32 > mask {
                    break Stop::Other(difference);
                }
                slot.identity = identity | IDLE;
                slot.link = idle;
                idle = index as u16;
                count += 1;
                completed(slot.tag, Ok(()));
            };
            (self.ring.cursor, self.idle) = (cursor, idle);
            match stop {
                Stop::Lap => self.ring.cursor.next_lap(),
                Stop::Other(entry) if self.reap_other(entry, &mut count, &mut completed) => {}
                Stop::Other(_) | Stop::Empty => break,
            }
        }
        self.watch.count += 1;
        if self.watch.count.is_multiple_of(Watch::INTERVAL) {
            self.look();
        }
        if !self.core.is_running(self.epoch) {
            self.give_back(&mut count, &mut completed);
        }
        self.done = self.done.wrapping_add(count);
        count as usize
    }

    fn wait(&mut self, deadline: u64) -> Result<(), DriverError> {
        self.wait_until(deadline)
    }

    fn capacity(&self) -> usize {
        self.depth.into()
    }

    #[inline]
    fn in_flight(&self) -> usize {
        self.ring.placed.wrapping_sub(self.done) as usize
    }
}

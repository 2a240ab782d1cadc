//! The hot path: a command is built, published and rung for; completions are reaped by phase.
//!
//! A queue pair is owned by who uses it. What the device can rewrite is read once, into a register,
//! and compared with what the driver itself wrote down. Whatever does not fit, and whatever is not a
//! short read or write like the last ones, leaves for [`crate::split`] or [`crate::recover`].

use alloc::{boxed::Box, sync::Arc};
use core::mem;

use spillway_hal::block::{BlockBatch, BlockDriverQueue, Completed, Lba, Request, Shape};
use spillway_hal::{Device, DriverError, IoAddress, Registers};

use crate::command::{COMPLETION_BYTES, Entry};
use crate::completion::{Difference, Expected};
use crate::identify::Namespace;
use crate::prepared::{Prepared, Usual};
use crate::recover::Watch;
use crate::registers::{Doorbell, doorbells};
use crate::ring::Memory;
use crate::shared::{Core, Epoch};
use crate::split::Group;

/// The end of a list of slots.
pub(crate) const NONE: usize = usize::MAX;

/// In the lower bits of [`Slot::state`]: no command is in flight.
pub(crate) const IDLE: u64 = 1;
/// In flight as a part of a request that takes several commands.
pub(crate) const PART: u64 = 1 | 2;
/// In flight since an earlier tick of the watch, with or without [`PART`].
pub(crate) const OLD: u64 = 1 | 4;
/// Completed, but the request that the slot stands for has further parts in flight.
pub(crate) const DONE: u64 = 1 | 8;
/// The bits that these constants are in.
pub(crate) const FLAGS: u64 = 0xffff;

/// One command, as the driver remembers it.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    /// The command's identifier in the upper 16 bits. Its low bits are the slot's index, the rest
    /// counts the uses of the slot, so that a completion that comes twice is found out even when the
    /// slot is in use again. Below it zeroes for a whole request in flight, else the constants above.
    /// All of them are odd, and no completion is, so that only the former ever equals one.
    pub(crate) state: u64,
    /// In flight: the tag of the request. Idle: the next idle slot.
    pub(crate) tag: u64,
}

/// The two rings of a queue pair, from the driver's side.
pub(crate) struct Ring<D: Device> {
    pub(crate) memory: Arc<Memory<D>>,
    registers: D::Registers,
    tail_doorbell: Doorbell,
    head_doorbell: Doorbell,
    /// Entries of either ring, a power of two, less one.
    pub(crate) mask: u32,
    /// What makes the state of an idle slot that of its next command. The ring is longer than
    /// there are slots, so the identifier FFFFh, which the specification reserves (3.3.3.1), never
    /// comes up.
    pub(crate) next_use: u64,
    /// Commands placed, and commands that the device was told of, counted without end.
    pub(crate) placed: u32,
    rung: u32,
    /// Where the next completion is expected: an entry, or the end of the ring.
    head: usize,
    expected: Expected,
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
    fn turn(&mut self) {
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

/// Why a walk over the completion queue stops.
enum Stop {
    /// There is no completion.
    Empty,
    /// The end of the ring.
    Lap,
    /// A completion that is not the success of a whole request.
    Other(Difference),
}

/// An I/O queue pair.
pub struct Queue<D: Device> {
    pub(crate) ring: Ring<D>,
    /// As many as the rings have entries, so that every masked identifier has one; those past
    /// `usable` are never used.
    pub(crate) slots: Box<[Slot]>,
    /// The first idle slot.
    pub(crate) idle: usize,
    /// Requests given back, and commands beyond one for each request: what is missing from those
    /// that were placed is in flight.
    pub(crate) done: u32,
    pub(crate) usual: Usual,
    pub(crate) core: Arc<Core<D>>,
    pub(crate) epoch: Epoch,
    // What follows is not touched on the hot path.
    /// The namespace of the last request that was not usual.
    pub(crate) namespace: Namespace,
    pub(crate) watch: Watch,
    pub(crate) groups: Box<[Group]>,
    /// The first idle slot of those that are kept for requests of several commands.
    pub(crate) spare: usize,
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

/// A queue in which requests are being placed. It has by value what each of them changes.
pub struct Batch<'a, D: Device> {
    queue: &'a mut Queue<D>,
    idle: usize,
    placed: u32,
    next_use: u64,
    usual: Usual,
}

impl<D: Device> BlockBatch for Batch<'_, D> {
    type Prepared = Prepared;

    #[inline(always)]
    fn submit(&mut self, request: &Request<'_>) -> Result<(), DriverError> {
        if let &[segment] = request.segments
            && let Some(prepared) = self.usual.covers(request, segment)
            && self.place(&prepared, request.lba, segment.address, request.tag)
        {
            return Ok(());
        }
        // Copies, so that the compiler keeps the originals in registers.
        if let &[segment] = request.segments {
            let segments = &[segment];
            return self.submit_other(&Request {
                segments,
                ..*request
            });
        }
        self.submit_other(&{ *request })
    }

    #[inline(always)]
    fn submit_prepared(
        &mut self,
        prepared: &Prepared,
        lba: Lba,
        address: IoAddress,
        tag: u64,
    ) -> bool {
        prepared.covers(lba, address) && self.place(prepared, lba, address, tag)
    }
}

impl<D: Device> Batch<'_, D> {
    /// Places a command of one PRP entry, if there is room.
    #[inline(always)]
    fn place(&mut self, prepared: &Prepared, lba: Lba, address: IoAddress, tag: u64) -> bool {
        let Some(slot) = self.queue.slots.get_mut(self.idle) else {
            return false;
        };
        self.idle = slot.tag as usize;
        slot.state = slot.state.wrapping_add(self.next_use);
        slot.tag = tag;
        let entry = prepared.entry(slot.state, lba, address);
        self.queue.ring.memory.place(self.placed, entry);
        self.placed = self.placed.wrapping_add(1);
        true
    }

    #[inline(always)]
    fn submit_other(&mut self, request: &Request<'_>) -> Result<(), DriverError> {
        self.write_back();
        let result = self.queue.submit_other(request);
        self.placed = self.queue.ring.placed;
        self.idle = mem::replace(&mut self.queue.idle, NONE);
        result
    }

    #[inline(always)]
    fn write_back(&mut self) {
        (self.queue.idle, self.queue.ring.placed) = (self.idle, self.placed);
    }
}

impl<D: Device> Queue<D> {
    #[inline(always)]
    fn begin(&mut self) -> Batch<'_, D> {
        Batch {
            idle: self.idle,
            placed: self.ring.placed,
            next_use: self.ring.next_use,
            usual: self.usual,
            queue: self,
        }
    }
}

impl<D: Device> Drop for Batch<'_, D> {
    #[inline(always)]
    fn drop(&mut self) {
        self.write_back();
    }
}

impl<D: Device> BlockDriverQueue for Queue<D> {
    type Batch<'a>
        = Batch<'a, D>
    where
        Self: 'a;
    type Prepared = Prepared;

    #[inline(always)]
    fn submit(&mut self, request: &Request<'_>) -> Result<(), DriverError> {
        self.begin().submit(request)
    }

    #[inline(always)]
    fn batch(&mut self) -> Batch<'_, D> {
        let batch = self.begin();
        // In case that it is forgotten: what it hands out must not be handed out again.
        batch.queue.idle = NONE;
        batch
    }

    fn prepare(&self, shape: &Shape) -> Option<Prepared> {
        let mut known = self.namespaces.iter();
        let namespace = known.find(|namespace| namespace.id == shape.namespace)?;
        Prepared::new(namespace, shape)
    }

    #[inline]
    fn kick(&mut self) {
        // After a reset the doorbell belongs to another queue.
        if self.core.is_running(self.epoch) {
            self.ring.ring();
        }
    }

    #[inline]
    fn reap_into(&mut self, completed: &mut impl Completed) -> usize {
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
                Stop::Other(_) | Stop::Empty => break,
            }
        }
        self.watch.count += 1;
        if self.watch.count.is_multiple_of(Watch::INTERVAL) {
            self.look();
        }
        if !self.core.is_running(self.epoch) {
            self.give_back(&mut count, completed);
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

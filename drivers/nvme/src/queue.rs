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

/// The end of a list of slots, and of [`Slot::link`]'s other meaning: not a part of anything.
pub(crate) const NONE: u16 = u16::MAX;
/// Added to the identifier of a slot that has no command in flight.
pub(crate) const IDLE: u32 = 0x1_0000;

/// One command, as the driver remembers it.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    /// The tag of the request.
    pub(crate) tag: u64,
    /// The identifier under which the command is in flight; with [`IDLE`], that of the next one. Its
    /// low bits are the slot's index, the rest counts its uses, so a completion that comes twice
    /// is found out even when the slot has been used again.
    pub(crate) identifier: u32,
    /// In flight: the slot that stands for the request of which this command is a part, or
    /// [`NONE`]. Idle: the next idle slot.
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
    /// Where the next command goes, and how far the device was told.
    pub(crate) tail: u32,
    rung: u32,
    /// Where the next completion is expected, how far the device was told, and in which phase.
    head: u32,
    acknowledged: u32,
    phase: u16,
    /// The queue's identifier in the upper half, as completions carry it.
    queue: u32,
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
            tail: 0,
            rung: 0,
            head: 0,
            acknowledged: 0,
            phase: 1,
            queue: u32::from(queue) << 16,
        }
    }

    /// Places a command. There are fewer slots than entries, so there is room.
    #[inline(always)]
    pub(crate) fn push(&mut self, entry: Entry) {
        let offset = self.tail as usize * SUBMISSION_BYTES;
        self.memory.submissions.store_words(offset, entry);
        self.tail = (self.tail + 1) & self.mask;
    }

    /// Tells the device of all commands since the last time.
    #[inline(always)]
    pub(crate) fn ring(&mut self) {
        if self.tail != self.rung {
            self.rung = self.tail;
            self.registers.write(self.tail_doorbell, self.tail);
        }
    }

    /// The upper half of the next completion: submission queue head and identifier, command
    /// identifier, phase and status (Base 2.0, 3.3.3.2). One load, so that it is of one piece.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<u64> {
        let offset = self.head as usize * COMPLETION_BYTES + 8;
        let entry = self.memory.completions.load_acquire::<u64>(offset);
        if ((entry >> 48) as u16 ^ self.phase) & 1 != 0 {
            return None;
        }
        self.head = (self.head + 1) & self.mask;
        if self.head == 0 {
            self.phase ^= 1;
        }
        Some(entry)
    }

    /// Where the next completion is expected.
    pub(crate) fn head(&self) -> u32 {
        self.head
    }

    /// Whether there is a completion.
    pub(crate) fn has_next(&self) -> bool {
        let offset = self.head as usize * COMPLETION_BYTES + 8;
        let entry = self.memory.completions.load_acquire::<u64>(offset);
        ((entry >> 48) as u16 ^ self.phase) & 1 == 0
    }

    /// Whether a completion is of this queue and its submission queue head inside the ring.
    #[inline(always)]
    pub(crate) fn owns(&self, entry: u64) -> bool {
        entry as u32 ^ self.queue <= self.mask
    }

    /// Tells the device which completions may be overwritten.
    #[inline(always)]
    pub(crate) fn acknowledge(&mut self) {
        if self.head != self.acknowledged {
            self.acknowledged = self.head;
            self.registers.write(self.head_doorbell, self.head);
        }
    }
}

/// An I/O queue pair.
pub struct Queue<D: Device> {
    pub(crate) ring: Ring<D>,
    pub(crate) slots: Box<[Slot]>,
    /// The first idle slot.
    pub(crate) idle: u16,
    pub(crate) tick: u16,
    pub(crate) in_flight: u32,
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
    /// Bytes of a PRP list, and of the longest command.
    pub(crate) list_bytes: usize,
    pub(crate) command_bytes: u32,
    pub(crate) max_segments: u32,
    pub(crate) max_transfer: u32,
    pub(crate) namespaces: Arc<[Namespace]>,
    pub(crate) interrupt: Option<D::Interrupt>,
}

impl<D: Device> BlockDriverQueue for Queue<D> {
    #[inline]
    fn submit(&mut self, request: &Request<'_>) -> Result<(), DriverError> {
        let namespace = &self.namespace;
        // One segment on one page or two: PRP entries 1 and 2 suffice, no list is needed.
        if let &[Segment { address, bytes }] = request.segments
            && let (first, last) = (
                address.0,
                address.0.wrapping_add(bytes.into()).wrapping_sub(1),
            )
            && (last >> 12).wrapping_sub(first >> 12) <= 1
            && first & 3 == 0
            && bytes != 0
            && request.operation != Operation::Flush
            && request.namespace == namespace.id
            && let Some(end) = request.lba.checked_add(request.blocks)
            && end.0 <= namespace.capacity.0
            && request.blocks.0 << namespace.block_size.shift() == u64::from(bytes)
            && self.core.is_running(self.epoch)
            && let Some(slot) = self.slots.get_mut(usize::from(self.idle))
        {
            let identifier = slot.identifier as u16;
            self.idle = slot.link;
            slot.tag = request.tag;
            slot.identifier = identifier.into();
            slot.link = NONE;
            slot.tick = self.tick;
            let second = last & !0xfff;
            let prps = (first, if second > first { second } else { 0 });
            let opcode = match request.operation {
                Operation::Read => opcode::READ,
                _ => opcode::WRITE,
            };
            let (id, lba, blocks) = (request.namespace.0, request.lba.0, request.blocks.0);
            let fua = request.flags.fua;
            self.ring
                .push(transfer(opcode, identifier, id, prps, lba, blocks, fua));
            self.in_flight += 1;
            return Ok(());
        }
        self.submit_other(request)
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
        while let Some(entry) = self.ring.next() {
            let identifier = (entry >> 32) as u16;
            let index = identifier & self.ring.mask as u16;
            if let Some(slot) = self.slots.get_mut(usize::from(index))
                && slot.identifier == u32::from(identifier)
                && slot.link == NONE
                && (entry >> 49) == 0
                && self.ring.owns(entry)
            {
                slot.identifier = next_use(identifier, self.ring.mask);
                slot.link = self.idle;
                self.idle = index;
                count += 1;
                completed(slot.tag, Ok(()));
            } else if !self.reap_other(entry, &mut count, &mut completed) {
                break;
            }
        }
        if self.core.is_running(self.epoch) {
            self.ring.acknowledge();
            self.watch.count += 1;
            if self.watch.count.is_multiple_of(Watch::INTERVAL) {
                self.look();
            }
        }
        if !self.core.is_running(self.epoch) {
            self.give_back(&mut count, &mut completed);
        }
        self.in_flight -= count;
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
        self.in_flight as usize
    }
}

/// The identifier of a slot's next command, idle. The mask is that of the ring, which is longer
/// than there are slots, so FFFFh, which the specification reserves (3.3.3.1), never comes up.
#[inline(always)]
pub(crate) fn next_use(identifier: u16, mask: u32) -> u32 {
    u32::from(identifier.wrapping_add(mask as u16 + 1)) | IDLE
}

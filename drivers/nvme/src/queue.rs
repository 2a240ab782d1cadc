//! A queue pair as its owner sees it: what it remembers of each command, and the batches in which
//! requests are placed. What happens to a usual one is in [`crate::hot`].

use alloc::{boxed::Box, sync::Arc};
use core::mem;

use spillway_hal::block::{BlockBatch, BlockDriverQueue, Completed, Lba, Request, Shape};
use spillway_hal::{Device, DriverError, IoAddress};

use crate::identify::Namespace;
use crate::prepared::{Prepared, Usual, usual_entry};
use crate::recover::Watch;
use crate::ring::Ring;
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
    pub(crate) queue: &'a mut Queue<D>,
    pub(crate) idle: usize,
    pub(crate) placed: u32,
    pub(crate) next_use: u64,
    usual: Usual,
}

impl<D: Device> BlockBatch for Batch<'_, D> {
    type Prepared = Prepared;

    #[inline(always)]
    fn submit(&mut self, request: &Request<'_>) -> Result<(), DriverError> {
        if let &[segment] = request.segments
            && self.usual.covers(request, segment)
            && self.place(request.tag, |identity| {
                usual_entry(request, segment, identity)
            })
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
        prepared.covers(lba, address)
            && self.place(tag, |identity| prepared.entry(identity, lba, address))
    }
}

impl<D: Device> Batch<'_, D> {
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
    fn submit_prepared(
        &mut self,
        prepared: &Prepared,
        lba: Lba,
        address: IoAddress,
        tag: u64,
    ) -> bool {
        self.begin().submit_prepared(prepared, lba, address, tag)
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
        let mut count = self.reap_usual(completed);
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

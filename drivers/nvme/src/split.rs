//! Submission off the hot path: flushes, requests that need PRP lists or several commands, and the
//! reason why a request is refused.

use spillway_hal::block::{Operation, Request, Segment};
use spillway_hal::{Device, DriverError, DriverErrorKind};

use crate::command::{flush, opcode, transfer};
use crate::prepared::Usual;
use crate::prp::{Commands, PAGE};
use crate::queue::{NONE, PART, Queue, Slot};
use crate::recover::ABORTED;
use crate::status::StatusField;
use spillway_hal::block::BlockDriverQueue;

/// A request of several commands. It is kept under the slot of its first command, which stays in
/// use until all of them have completed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// Commands in flight.
    pub(crate) left: u16,
    /// Success, or the first failure.
    pub(crate) status: StatusField,
    /// The slot that stands for the request of which the command in this slot is a part.
    pub(crate) first: u16,
}

impl<D: Device> Queue<D> {
    /// Submits a request of any kind.
    #[inline(never)]
    pub(crate) fn submit_other(&mut self, request: &Request<'_>) -> Result<(), DriverError> {
        if !self.core.is_running(self.epoch) {
            return Err(ABORTED);
        }
        if request.namespace != self.namespace.id {
            let known = self
                .namespaces
                .iter()
                .find(|namespace| namespace.id == request.namespace);
            self.namespace = *known.ok_or(invalid("there is no such namespace"))?;
            return self.submit(request);
        }
        if request.operation == Operation::Flush {
            if request.blocks.0 != 0 || !request.segments.is_empty() {
                return Err(invalid("a flush has no blocks and no segments"));
            }
            let slot = self.take(false).ok_or(FULL)?;
            let identity = self.occupy(slot, request.tag, None);
            self.ring.push(flush(identity, self.namespace.id.0));
            return Ok(());
        }
        self.check(request)?;
        let commands = self.count_commands(request)?;
        self.submit_commands(request, commands)?;
        if let &[Segment { bytes, .. }] = request.segments
            && u64::from(bytes) <= PAGE
        {
            self.usual = Usual::new(&self.namespace, bytes);
        }
        Ok(())
    }

    /// Whether the request keeps the limits of its namespace.
    fn check(&self, request: &Request<'_>) -> Result<(), DriverError> {
        let namespace = &self.namespace;
        let end = request.lba.checked_add(request.blocks);
        if end.is_none_or(|end| end.0 > namespace.capacity.0) {
            return Err(DriverError::new(
                DriverErrorKind::OutOfRange,
                "the request reaches past the end of the namespace",
            ));
        }
        let bytes = request.blocks.0 << namespace.block_size.shift();
        if bytes == 0 || bytes > u64::from(self.max_transfer) {
            return Err(invalid("a request has from one block up to max_transfer"));
        }
        if request.segments.len() > self.max_segments as usize {
            return Err(invalid("more segments than max_segments"));
        }
        let mut total = 0;
        for segment in request.segments {
            total += u64::from(segment.bytes);
            if segment.bytes == 0 {
                return Err(invalid("a segment is empty"));
            }
            if segment.address.0 & 3 != 0 {
                return Err(invalid("a segment's address is not a multiple of 4"));
            }
            if segment.address.checked_add(segment.bytes.into()).is_none() {
                return Err(invalid("a segment wraps around the address space"));
            }
        }
        if total != bytes {
            return Err(invalid("the segments are not as long as the blocks"));
        }
        Ok(())
    }

    /// How many commands the request takes.
    fn count_commands(&self, request: &Request<'_>) -> Result<u32, DriverError> {
        let mut walk = Commands::new(request.segments, self.command_bytes);
        let mut count = 0;
        while let Some(bytes) = walk.next(|_, _| {}) {
            if bytes & (self.namespace.block_size.bytes() - 1) != 0 {
                return Err(invalid(
                    "segments that meet inside of a page must meet between two blocks",
                ));
            }
            count += 1;
        }
        Ok(count)
    }

    fn submit_commands(&mut self, request: &Request<'_>, commands: u32) -> Result<(), DriverError> {
        let idle = usize::from(self.usable) - self.in_flight() - self.extra as usize;
        if self.idle == NONE || commands as usize > idle {
            return Err(FULL);
        }
        let mut walk = Commands::new(request.segments, self.command_bytes);
        let mut lba = request.lba.0;
        let mut group = None;
        for command in 0..commands {
            let Some(slot) = self.take(command > 0) else {
                break;
            };
            if command == 0 && commands > 1 {
                group = Some(slot);
                self.groups[usize::from(slot)] = Group {
                    left: commands as u16,
                    status: StatusField(0),
                    first: slot,
                };
            }
            let identity = self.occupy(slot, request.tag, group);
            let Some((bytes, prps)) = self.describe(slot, &mut walk) else {
                break;
            };
            let opcode = match request.operation {
                Operation::Read => opcode::READ,
                _ => opcode::WRITE,
            };
            let blocks = u64::from(bytes) >> self.namespace.block_size.shift();
            let (id, fua) = (self.namespace.id.0, request.flags.fua);
            self.ring
                .push(transfer(opcode, identity, id, prps, lba, blocks, fua));
            lba += blocks;
        }
        self.done = self.done.wrapping_add(commands - 1);
        self.extra += commands - 1;
        Ok(())
    }

    /// The length and the PRP entries of the next command, with its list where it needs one.
    fn describe(&self, slot: u16, walk: &mut Commands<'_>) -> Option<(u32, (u64, u64))> {
        let lists = &self.ring.memory.lists;
        let list = usize::from(slot) * self.list_bytes;
        let (mut first, mut second, mut entries) = (0, 0, 0);
        let bytes = walk.next(|index, address| {
            entries = index + 1;
            match index {
                0 => first = address,
                1 => second = address,
                // Only now is it known that there is a list: the second entry is its first.
                2 => lists.store_words(list, [second, address]),
                _ => lists.store(list + 8 * (index - 1), address),
            }
        })?;
        if entries > 2 {
            second = lists.io_address(list).0;
        }
        Some((bytes, (first, second)))
    }

    /// Takes an idle slot. Requests have `depth` of them; their further commands come from the
    /// spare ones, and when these are used up from the requests'.
    fn take(&mut self, spare: bool) -> Option<u16> {
        let list = match spare && self.spare != NONE {
            true => &mut self.spare,
            false => &mut self.idle,
        };
        let slot = *list;
        *list = self.slots.get(slot)?.tag as usize;
        Some(slot as u16)
    }

    /// Puts a command into a slot that was taken, as a part of the request for which `group`
    /// stands, or as all of its request. Returns the identity for the entry.
    fn occupy(&mut self, index: u16, tag: u64, group: Option<u16>) -> u64 {
        let slot = &mut self.slots[usize::from(index)];
        let identity = slot.state.wrapping_add(self.ring.next_use);
        let flags = if group.is_some() { PART } else { 0 };
        *slot = Slot {
            state: identity | flags,
            tag,
        };
        if let Some(first) = group {
            self.groups[usize::from(index)].first = first;
        }
        identity
    }
}

/// The memory of one command's PRP list: an entry for each page of the longest command. It is a
/// power of two, so that no list crosses a page.
pub(crate) const fn list_bytes(command_bytes: u32) -> usize {
    (command_bytes as usize / PAGE as usize * 8).next_power_of_two()
}

const FULL: DriverError = DriverError::new(
    DriverErrorKind::QueueFull,
    "the queue has no room; reap first",
);

#[cold]
const fn invalid(reason: &'static str) -> DriverError {
    DriverError::new(DriverErrorKind::InvalidRequest, reason)
}

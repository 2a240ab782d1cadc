//! Real data, at every queue depth and transfer size, from memory that begins and ends anywhere.

use alloc::{vec, vec::Vec};

use driver_sdk::{
    hal::{
        Both, Device, DmaBuffer, DmaConstraints, PAGE_SIZE,
        block::{
            BlockCount, BlockDriver, BlockDriverQueue, BlockLimits, Lba, NamespaceId, Operation,
            QueueOptions, Request, RequestFlags, Segment,
        },
    },
    native::{DmaMemory, Function},
    prelude::*,
};
use guest_harness::harness::{Outcome, check, equal};
use spillway_nvme::{Nvme, Options, Queue};

use crate::{number, random::Random};

type Disk = &'static Function;

/// Once over the whole disk.
struct Lap {
    /// Requests that are in flight at once.
    depth: u16,
    /// Bytes of a transfer, from and to; both powers of two.
    bytes: (u64, u64),
}

const fn lap(depth: u16, least: u64, most: u64) -> Lap {
    Lap {
        depth,
        bytes: (least, most),
    }
}

/// Few long transfers, many short ones: 1024 times 1 MiB would not fit into memory.
const LAPS: [Lap; 7] = [
    lap(1, 256 << 10, 1 << 20),
    lap(2, 64 << 10, 1 << 20),
    lap(4, 32 << 10, 512 << 10),
    lap(16, 4096, 256 << 10),
    lap(64, 512, 64 << 10),
    lap(256, 512, 16 << 10),
    lap(1024, 512, 8 << 10),
];

/// Reads what the host wrote, then writes other bytes over all of it and reads them back, lap by
/// lap. The host looks at those of the last one.
pub fn every_byte() -> Outcome {
    let (found, left) = (number(1)?, number(2)?);
    let function = alloc::boxed::Box::leak(alloc::boxed::Box::new(Function::named("disk")?));
    let mut driver = Nvme::new(&*function, Options::default())?;
    let namespace = *driver.namespaces().first().ok_or("there is no namespace")?;
    let limits = driver.limits(namespace).ok_or("it has no limits")?;
    println!(
        "{} blocks of {} bytes",
        limits.capacity.0,
        limits.block_size.bytes()
    );
    equal!(
        limits.max_transfer.bytes(limits.block_size),
        Some(1 << 20),
        "the longest transfer"
    );
    let mut run = |lap: &Lap, operation, seed| {
        Pass::new(function, &mut driver, namespace, limits, lap)?.run(operation, seed)
    };
    run(&LAPS[3], Operation::Read, found)?;
    for (index, lap) in LAPS.iter().enumerate() {
        let seed = left.wrapping_sub((LAPS.len() - 1 - index) as u64);
        run(lap, Operation::Write, seed)?;
        run(lap, Operation::Read, seed)?;
    }
    Ok(driver.shut_down()?)
}

/// A request in flight.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// Where it is on the disk and in the memory, in bytes.
    place: u64,
    memory: usize,
    length: usize,
}

/// A lap that is under way.
struct Pass {
    queue: Queue<Disk>,
    namespace: NamespaceId,
    limits: BlockLimits,
    /// Bytes of a transfer, from and to.
    bytes: (u64, u64),
    memory: DmaBuffer<DmaMemory, Both>,
    slots: Vec<Slot>,
    idle: Vec<usize>,
    random: Random,
    scratch: Vec<u8>,
}

impl Pass {
    fn new(
        device: Disk,
        driver: &mut Nvme<Disk>,
        namespace: NamespaceId,
        limits: BlockLimits,
        lap: &Lap,
    ) -> Outcome<Self> {
        let depth = usize::from(lap.depth);
        let (least, most) = lap.bytes;
        let queue = driver.open(QueueOptions {
            depth: lap.depth,
            interrupt: false,
        })?;
        equal!(queue.capacity(), depth, "the queue's capacity");
        let stride = most as usize + PAGE_SIZE;
        Ok(Self {
            queue,
            namespace,
            limits,
            bytes: (least.max(limits.block_size.bytes().into()), most),
            memory: device.allocate(depth * stride, DmaConstraints::default())?,
            slots: vec![Slot::default(); depth],
            idle: (0..depth).collect(),
            random: Random::new(u64::from(lap.depth) << 32),
            scratch: vec![0; most as usize],
        })
    }

    /// Goes over the whole disk, and flushes what was written.
    fn run(mut self, operation: Operation, seed: u64) -> Outcome {
        let block_size = self.limits.block_size;
        let end = self.limits.capacity.bytes(block_size).ok_or("too large")?;
        let (mut place, mut deepest) = (0, 0);
        while place < end || self.queue.in_flight() > 0 {
            while place < end
                && let Some(slot) = self.idle.pop()
            {
                let length = self.length().min((end - place) as usize);
                self.submit(slot, operation, seed, place, length)?;
                place += length as u64;
            }
            deepest = deepest.max(self.queue.in_flight());
            self.queue.kick();
            for slot in self.reap()? {
                self.complete(slot, operation, seed)?;
            }
        }
        equal!(deepest, self.slots.len(), "the depth that was reached");
        if operation == Operation::Write {
            self.flush()?;
        }
        Ok(())
    }

    /// Bytes of a transfer, whole blocks; short ones are as frequent as long ones.
    fn length(&mut self) -> usize {
        let (least, most) = self.bytes;
        let magnitude = least << self.random.below(u64::from((most / least).ilog2()) + 1);
        let block = u64::from(self.limits.block_size.bytes());
        let more = self.random.below(magnitude / block) * block * self.random.below(2);
        (magnitude + more).min(most) as usize
    }

    fn submit(
        &mut self,
        index: usize,
        operation: Operation,
        seed: u64,
        place: u64,
        length: usize,
    ) -> Outcome {
        // Half of them begin with a page; the rest begins anywhere, so that most cross one more.
        let inside = 4 * self.random.below(PAGE_SIZE as u64 / 4) * self.random.below(2);
        let stride = self.memory.len() / self.slots.len();
        let memory = index * stride + inside as usize;
        self.slots[index] = Slot {
            place,
            memory,
            length,
        };
        if operation == Operation::Write {
            let bytes = &mut self.scratch[..length];
            test_pattern::fill(seed, place, bytes);
            self.memory.copy_from_slice(memory, bytes);
        }
        let shift = self.limits.block_size.shift();
        self.queue.submit(&Request {
            operation,
            namespace: self.namespace,
            lba: Lba(place >> shift),
            blocks: BlockCount(length as u64 >> shift),
            segments: &[Segment {
                address: self.memory.io_address(memory),
                bytes: length as u32,
            }],
            flags: RequestFlags::default(),
            tag: index as u64,
        })?;
        Ok(())
    }

    /// The slots whose requests have come back.
    fn reap(&mut self) -> Outcome<Vec<usize>> {
        let (mut slots, mut failure) = (Vec::new(), Ok(()));
        self.queue.reap(|tag, result| {
            slots.push(tag as usize);
            failure = failure.and(result);
        });
        failure?;
        Ok(slots)
    }

    fn complete(&mut self, index: usize, operation: Operation, seed: u64) -> Outcome {
        let Slot {
            place,
            memory,
            length,
        } = self.slots[index];
        self.idle.push(index);
        if operation == Operation::Read {
            let bytes = &mut self.scratch[..length];
            self.memory.copy_to_slice(memory, bytes);
            // The next request into this memory is not to look like this one.
            self.memory.fill(memory, length, 0xdb);
            if let Some(at) = test_pattern::first_wrong(seed, place, bytes) {
                check!(
                    false,
                    "byte {at:#x} is wrong, in a transfer of {length} at {place:#x}"
                );
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        self.queue.submit(&Request {
            operation: Operation::Flush,
            namespace: self.namespace,
            lba: Lba(0),
            blocks: BlockCount(0),
            segments: &[],
            flags: RequestFlags::default(),
            tag: 0,
        })?;
        self.queue.kick();
        while self.reap()?.is_empty() {}
        Ok(())
    }
}

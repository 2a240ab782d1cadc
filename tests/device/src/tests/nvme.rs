//! The NVMe driver in this program, on the disk that it owns.

use core::time::Duration;

use driver_sdk::prelude::*;
use guest_harness::{
    child::{PATIENCE, Shared, Victim, end_of, leaves_nothing},
    harness::{Outcome, check, equal, soak, tests},
};
use spillway_hal::{
    Both, Device, DmaBuffer, DmaConstraints, IoAddress,
    block::{
        BlockCount, BlockDriver, BlockDriverQueue, Lba, Operation, QueueOptions, Request,
        RequestFlags, Segment,
    },
};
use spillway_native::{DmaMemory, Function};
use spillway_nvme::{Nvme, Options, Queue};

use crate::machine::{devices, disk};

tests![
    the_disk_keeps_what_is_written_by_polling,
    the_disk_keeps_what_is_written_by_interrupt,
    a_driver_starts_its_controller_again,
    the_next_owner_comes_after_one_that_was_killed_while_it_wrote,
];

/// Blocks that the tests write, of 512 bytes.
const BLOCKS: u64 = 4096;
const BLOCK: usize = 512;

/// A disk, one of its queues, and memory for all the blocks that the tests use.
pub struct Disk {
    queue: Queue<Function>,
    pub nvme: Nvme<Function>,
    pub data: DmaBuffer<DmaMemory, Both>,
}

impl Disk {
    pub fn open(options: QueueOptions) -> Outcome<Self> {
        let mut nvme = Nvme::new(Function::new(disk()?)?, Options::default())?;
        let data = nvme
            .device()
            .allocate(BLOCKS as usize * BLOCK, DmaConstraints::default())?;
        let queue = nvme.open(options)?;
        Ok(Self { queue, nvme, data })
    }

    /// Submits one request for blocks that have their place in the memory.
    pub fn submit(&mut self, operation: Operation, lba: u64, blocks: u64) -> Outcome {
        let segment = Segment {
            address: self.data.io_address(lba as usize * BLOCK),
            bytes: blocks as u32 * BLOCK as u32,
        };
        let segments = match operation {
            Operation::Flush => &[][..],
            _ => &[segment],
        };
        let request = Request {
            operation,
            namespace: self.nvme.namespaces()[0],
            lba: Lba(lba),
            blocks: BlockCount(if segments.is_empty() { 0 } else { blocks }),
            segments,
            flags: RequestFlags::default(),
            tag: lba,
        };
        Ok(self.queue.submit(&request)?)
    }

    /// Has the device store a block wherever, as often as the queue takes it. Whether that succeeds
    /// is another matter.
    pub fn aim(&mut self, address: IoAddress) -> Outcome {
        let segment = Segment {
            address,
            bytes: BLOCK as u32,
        };
        let request = Request {
            operation: Operation::Read,
            namespace: self.nvme.namespaces()[0],
            lba: Lba(0),
            blocks: BlockCount(1),
            segments: &[segment],
            flags: RequestFlags::default(),
            tag: 0,
        };
        while self.has_room() {
            self.queue.submit(&request)?;
        }
        self.queue.kick();
        self.queue.reap(|_, _| {});
        Ok(())
    }

    /// Waits until nothing is in flight.
    pub fn drain(&mut self) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        while self.queue.in_flight() > 0 {
            self.queue.reap(|_, _| {});
            check!(Instant::now() < deadline, "the disk is too slow");
        }
        Ok(())
    }

    /// Hands on what was submitted, and takes what is done. Fails if anything failed.
    pub fn reap(&mut self) -> Outcome<usize> {
        self.queue.kick();
        let mut result = Ok(());
        let count = self
            .queue
            .reap(|_, completed| result = result.and(completed));
        result?;
        Ok(count)
    }

    pub fn has_room(&self) -> bool {
        self.queue.in_flight() < self.queue.capacity()
    }

    /// Does all blocks, so many in a request, and waits for the end.
    fn all(&mut self, operation: Operation, blocks: u64, sleep: bool) -> Outcome {
        let mut next = 0;
        let deadline = (Instant::now() + PATIENCE).as_nanoseconds();
        while next < BLOCKS || self.queue.in_flight() > 0 {
            while next < BLOCKS && self.has_room() {
                let count = blocks.min(BLOCKS - next);
                self.submit(operation, next, count)?;
                next += count;
            }
            if self.reap()? == 0 && sleep {
                self.queue.wait(deadline)?;
            }
            check!(
                Instant::now().as_nanoseconds() < deadline,
                "the disk is too slow"
            );
        }
        Ok(())
    }

    /// Writes a pattern, reads it back and looks at every word.
    fn keeps(&mut self, seed: u64, blocks: u64, sleep: bool) -> Outcome {
        let words = BLOCKS as usize * BLOCK / 8;
        let word = |index: usize| (index as u64 + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..words).for_each(|index| self.data.store(index * 8, word(index)));
        self.all(Operation::Write, blocks, sleep)?;
        self.submit(Operation::Flush, 0, 0)?;
        while self.reap()? == 0 {}
        self.data.clear();
        self.all(Operation::Read, blocks, sleep)?;
        let wrong = (0..words).find(|&index| self.data.load::<u64>(index * 8) != word(index));
        equal!(
            wrong,
            None,
            "the first wrong word with {blocks} blocks in a request"
        );
        Ok(())
    }
}

fn the_disk_keeps_what_is_written_by_polling() -> Outcome {
    for depth in [1, 3, 32, 1024] {
        let mut disk = Disk::open(QueueOptions {
            depth,
            interrupt: false,
        })?;
        for blocks in [1, 7, 8, 257, 1024] {
            disk.keeps(u64::from(depth) << 32 | blocks, blocks, false)?;
        }
    }
    Ok(())
}

fn the_disk_keeps_what_is_written_by_interrupt() -> Outcome {
    let mut disk = Disk::open(QueueOptions {
        depth: 8,
        interrupt: true,
    })?;
    disk.keeps(1, 64, true)?;
    disk.keeps(2, 9, true)
}

fn a_driver_starts_its_controller_again() -> Outcome {
    let options = QueueOptions {
        depth: 64,
        interrupt: true,
    };
    let mut disk = Disk::open(options)?;
    disk.keeps(3, 8, true)?;
    disk.nvme.device().reset()?;
    disk.nvme.reset()?;
    // What was open is over; a new queue works, on the same pins and the same vectors.
    disk.queue.reap(|_, _| ());
    disk.queue = disk.nvme.open(options)?;
    disk.keeps(4, 8, true)
}

fn the_next_owner_comes_after_one_that_was_killed_while_it_wrote() -> Outcome {
    let (rights, devices) = (Rights::READ | Rights::MANAGE, devices());
    let rounds = if soak() { 1000 } else { 50 };
    let kill_one = |round: u64| {
        let shared = Shared::new()?;
        let writer = Victim::new("writer").shared(&shared).with(|command| {
            let limits = driver_sdk::abi::limits::Limits {
                memory: 16 << 20,
                ..driver_sdk::abi::limits::Limits::DEFAULT
            };
            command.limits(limits).give("devices", &*devices, rights)
        });
        let process = writer.spawn()?;
        shared.wait_for(0, 1)?;
        thread::sleep(Duration::from_micros(round * 1237 % 3000));
        process.kill(0)?;
        equal!(end_of(&process)?.status, ExitStatus::Killed(0));
        Ok(())
    };
    let usable = |seed| {
        let mut disk = Disk::open(QueueOptions {
            depth: 32,
            interrupt: false,
        })?;
        disk.keeps(seed, 128, false)
    };
    kill_one(1)?;
    leaves_nothing(|| {
        (0..rounds / 2).try_for_each(kill_one)?;
        usable(rounds)
    })
}

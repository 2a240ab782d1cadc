//! A driver on an emulated controller, and the few things that every test does with them.
#![allow(dead_code)]

use spillway_emu::nvme::{Nvme as Controller, NvmeConfig};
use spillway_emu::{EmulatedDma, Function, Machine};
use spillway_hal::block::*;
use spillway_hal::{
    Both, Clock, Device, DmaBuffer, DmaConstraints, DriverError, DriverErrorKind, IoAddress,
};
use spillway_nvme::{Nvme, Options, Queue};

pub type Driver = Nvme<Function<Controller>>;
pub type DriverQueue = Queue<Function<Controller>>;
pub type Buffer = DmaBuffer<EmulatedDma, Both>;
pub type Completions = Vec<(u64, Result<(), DriverError>)>;

/// Commands are late after 80 microseconds of virtual time.
pub const OPTIONS: Options = Options {
    command_timeout: 80_000,
};
pub const NAMESPACE: NamespaceId = NamespaceId(1);

pub struct Bench {
    pub driver: Driver,
    pub machine: Machine<Controller>,
}

pub fn bench(config: NvmeConfig) -> Bench {
    let machine = Machine::new(Controller::new(config));
    let driver = Nvme::new(machine.function().unwrap(), OPTIONS).unwrap();
    Bench { driver, machine }
}

impl Bench {
    pub fn queue(&mut self, depth: u16) -> DriverQueue {
        let options = QueueOptions {
            depth,
            interrupt: false,
        };
        self.driver.open_queue(options).unwrap()
    }

    pub fn buffer(&self, bytes: usize) -> Buffer {
        let constraints = DmaConstraints::default();
        self.driver.device().allocate(bytes, constraints).unwrap()
    }

    /// Reaps until nothing is in flight. Panics if that does not happen.
    pub fn drain(&self, queue: &mut DriverQueue) -> Completions {
        let mut all = vec![];
        let clock = self.driver.device().clock();
        for _ in 0..100_000 {
            queue.reap(|tag, result| all.push((tag, result)));
            if queue.in_flight() == 0 {
                return all;
            }
            clock.pause();
        }
        panic!("{} requests were never given back", queue.in_flight());
    }

    /// Everything that the driver must not have done.
    pub fn assert_clean(&mut self) {
        self.machine.with(|controller| {
            assert_eq!(
                controller.complaints(),
                [""; 0],
                "complaints of the controller"
            );
        });
    }
}

pub fn request(
    operation: Operation,
    lba: u64,
    blocks: u64,
    segments: &[Segment],
    tag: u64,
) -> Request<'_> {
    Request {
        operation,
        namespace: NAMESPACE,
        lba: Lba(lba),
        blocks: BlockCount(blocks),
        segments,
        flags: RequestFlags::default(),
        tag,
    }
}

pub fn segment(address: IoAddress, bytes: u32) -> Segment {
    Segment { address, bytes }
}

/// A flush for which nothing but a tag is needed.
pub fn flush(tag: u64) -> Request<'static> {
    request(Operation::Flush, 0, 0, &[], tag)
}

pub fn kinds(completions: &Completions) -> Vec<Option<DriverErrorKind>> {
    completions
        .iter()
        .map(|(_, result)| result.err().map(|error| error.kind))
        .collect()
}

/// Bytes that differ from block to block and from seed to seed.
pub fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes.div_ceil(8))
        .flat_map(|_| next())
        .take(bytes)
        .collect()
}

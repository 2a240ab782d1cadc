//! The tests that every block device must pass: level 4 on an emulated NVMe, in several shapes, and
//! the device that is only memory.

mod lent;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use block_suite::Subject;
use lent::Lent;
use spillway_emu::Machine;
use spillway_emu::nvme::{Nvme as Controller, NvmeConfig, Posting};
use spillway_io::{
    BlockCount, BlockDevice, BlockLimits, BlockSize, Error, ErrorKind, Fate, Integrated,
    MemoryDevice, NamespaceId, Operation, Pool, Request,
};
use spillway_nvme::{Nvme, Options};

/// How much later a held request completes, in nanoseconds: the suite's waits are shorter, its
/// patience and the driver's time-out longer.
const HELD: u64 = 1_000_000;

type Function = Lent<Controller>;
type Integrating = Integrated<Nvme<Function>, Function>;

/// An error of the medium, as NVMe reports it and as it is.
const MEDIA: Error = Error::new(ErrorKind::Media, "the medium failed").with_status(STATUS as u64);
/// Unrecovered Read Error, with Do Not Retry (NVM Command Set Specification 1.0, 3.1.2).
const STATUS: u16 = 0x4281;

/// What the controller of a machine does to commands.
#[derive(Default)]
struct Orders {
    held: Cell<bool>,
    failing: Cell<bool>,
}

/// Level 4 on an emulated NVMe.
struct OnNvme {
    // In this order they are dropped: the driver stops the controller while there is one.
    device: Integrating,
    machine: Machine<Controller>,
    orders: Rc<Orders>,
}

impl OnNvme {
    fn new(config: NvmeConfig, namespace: u32) -> Self {
        let orders = Rc::new(Orders::default());
        let machine = Machine::new(Controller::new(config));
        let function = Lent(machine.function().unwrap());
        let driver = Nvme::new(function, Options::default()).unwrap();
        let device = Integrated::new(driver, Nvme::device, NamespaceId(namespace)).unwrap();
        let mischief = orders.clone();
        let mischief = move |posting: &mut Posting| {
            if posting.queue != 0 {
                posting.delay += if mischief.held.get() { HELD } else { 0 };
                posting.status = if mischief.failing.get() { STATUS } else { 0 };
            }
        };
        machine.with(|controller| controller.set_mischief(mischief));
        Self {
            device,
            machine,
            orders,
        }
    }
}

impl Subject for OnNvme {
    type Device = Integrating;

    fn device(&self) -> &Integrating {
        &self.device
    }

    fn foreign_pool(&self) -> Pool {
        MemoryDevice::new(512).unwrap().create_pool(8192).unwrap()
    }

    fn hold(&self) -> bool {
        self.orders.held.set(true);
        true
    }

    fn release(&self) {
        self.orders.held.set(false);
        self.machine.advance(HELD);
    }

    fn fail(&self, failing: bool) -> Option<Error> {
        self.orders.failing.set(failing);
        Some(MEDIA)
    }

    fn reset(&self) -> bool {
        self.device.reset().is_ok()
    }

    fn durable(&self) -> Option<(u64, u64)> {
        let statistics = self.machine.with(|controller| controller.statistics());
        Some((statistics.flushes, statistics.forced))
    }
}

/// A device that is only memory.
struct InMemory {
    device: MemoryDevice,
    orders: Arc<MemoryOrders>,
}

#[derive(Default)]
struct MemoryOrders {
    held: AtomicBool,
    failing: AtomicBool,
    flushes: AtomicU64,
    forced: AtomicU64,
}

impl InMemory {
    fn new(device: MemoryDevice) -> Self {
        let orders = Arc::new(MemoryOrders::default());
        let plan = orders.clone();
        device.set_plan(move |request: &Request| {
            let flush = request.operation() == Operation::Flush;
            plan.flushes.fetch_add(flush.into(), Relaxed);
            plan.forced.fetch_add(request.fua().into(), Relaxed);
            match (plan.failing.load(Relaxed), plan.held.load(Relaxed)) {
                (true, _) => Fate::fail(MEDIA),
                (_, true) => Fate::HELD,
                _ => Fate::DONE,
            }
        });
        Self { device, orders }
    }
}

impl Subject for InMemory {
    type Device = MemoryDevice;

    fn device(&self) -> &MemoryDevice {
        &self.device
    }

    fn foreign_pool(&self) -> Pool {
        MemoryDevice::new(512).unwrap().create_pool(8192).unwrap()
    }

    fn hold(&self) -> bool {
        self.orders.held.store(true, Relaxed);
        true
    }

    fn release(&self) {
        self.orders.held.store(false, Relaxed);
        self.device.release();
    }

    fn fail(&self, failing: bool) -> Option<Error> {
        self.orders.failing.store(failing, Relaxed);
        Some(MEDIA)
    }

    fn reset(&self) -> bool {
        self.device.reset();
        true
    }

    fn durable(&self) -> Option<(u64, u64)> {
        let MemoryOrders {
            flushes, forced, ..
        } = &*self.orders;
        Some((flushes.load(Relaxed), forced.load(Relaxed)))
    }
}

/// Runs all tests, one after the other; all failures are told.
fn suite<S: Subject>(subject: S) {
    let run = |test| block_suite::run(&subject, test).err();
    let failures: Vec<String> = block_suite::tests().into_iter().filter_map(run).collect();
    assert!(failures.is_empty(), "\n  {}", failures.join("\n  "));
}

const BLOCKS: u64 = 16384;

fn usual() -> NvmeConfig {
    NvmeConfig {
        namespaces: vec![(9, BLOCKS), (12, BLOCKS / 8)],
        ..NvmeConfig::default()
    }
}

#[test]
fn level_4_on_blocks_of_512_bytes() {
    suite(OnNvme::new(usual(), 1));
}

#[test]
fn level_4_on_blocks_of_4_kib() {
    suite(OnNvme::new(usual(), 2));
}

#[test]
fn level_4_with_commands_of_8_kib() {
    let config = NvmeConfig {
        max_transfer_exponent: 1,
        ..usual()
    };
    suite(OnNvme::new(config, 1));
}

#[test]
fn level_4_on_a_slow_and_small_controller() {
    let config = NvmeConfig {
        latency: 3_000,
        max_entries: 128,
        pairs: 3,
        ..usual()
    };
    suite(OnNvme::new(config, 1));
}

#[test]
fn memory() {
    let device = MemoryDevice::new((BLOCKS * 512) as usize).unwrap();
    suite(InMemory::new(device));
}

#[test]
fn memory_out_of_order() {
    let device = MemoryDevice::new((BLOCKS * 512) as usize).unwrap();
    device.shuffle(5);
    suite(InMemory::new(device));
}

#[test]
fn memory_in_blocks_of_4_kib() {
    let limits = BlockLimits {
        block_size: BlockSize::B4096,
        max_transfer: BlockCount(256),
        ..MemoryDevice::new(512).unwrap().limits()
    };
    let content = vec![0; (BLOCKS * 512) as usize];
    suite(InMemory::new(
        MemoryDevice::with_limits(content, limits).unwrap(),
    ));
}

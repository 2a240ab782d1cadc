//! An NVMe controller with a RAM disk, written from the specification: NVM Express Base
//! Specification 2.0, NVM Command Set Specification 1.0, and NVMe over PCIe Transport
//! Specification 1.0. It shares nothing with any driver.
//!
//! It is strict where a real controller would be undefined: what a driver must not do appears in
//! [`complaints`](Nvme::complaints). And it misbehaves on command: a [`Mischief`] sees every
//! completion before it is posted and every structure before it is returned; the switches
//! [`never_ready`](Nvme::never_ready), [`never_stops`](Nvme::never_stops), [`hang`](Nvme::hang)
//! and [`die`](Nvme::die) do the rest.

mod admin;
mod commands;
mod fetch;
mod identify;
mod mischief;
mod prp;
mod queues;
mod registers;
mod status;

use spillway_hal::DeviceId;

use crate::{BarKind, Bus, ConfigSpace, EmulatedDevice};

pub use mischief::{Mischief, Posting};
use queues::{CompletionQueue, SubmissionQueue};
use registers::Registers;

/// Where the MSI-X table lies in BAR 0, behind the doorbells.
const MSIX_TABLE: usize = 0x2000;
/// Bytes of BAR 0.
const BAR: usize = 0x4000;
/// Complaints that are kept.
const MAX_COMPLAINTS: usize = 16;

/// What the controller is like.
#[derive(Clone, Debug)]
pub struct NvmeConfig {
    /// The namespaces, numbered from 1: exponent of two of the block size, and blocks.
    pub namespaces: Vec<(u8, u64)>,
    /// MDTS: the exponent of two of the largest transfer in pages of 4 KiB; zero without a limit.
    pub max_transfer_exponent: u8,
    /// Entries of the largest queue, from 2 to 65536.
    pub max_entries: u32,
    /// I/O queue pairs.
    pub pairs: u16,
    /// Interrupt vectors.
    pub vectors: u16,
    /// DSTRD: doorbells are 4 << this bytes apart.
    pub doorbell_stride: u8,
    /// How long it takes to become ready, and to stop, in nanoseconds.
    pub ready_time: u64,
    /// How long an I/O command takes, in nanoseconds. Zero: it completes within the doorbell write.
    pub latency: u64,
    /// Whether there is a volatile write cache.
    pub volatile_cache: bool,
    /// The version of the specification, as register `VS` has it.
    pub version: u32,
}

/// 1024 blocks of 512 bytes, 512 KiB a command, and otherwise much like QEMU's.
impl Default for NvmeConfig {
    fn default() -> Self {
        Self {
            namespaces: vec![(9, 1024)],
            max_transfer_exponent: 7,
            max_entries: 2048,
            pairs: 8,
            vectors: 9,
            doorbell_stride: 0,
            ready_time: 10_000,
            latency: 0,
            volatile_cache: true,
            version: 0x0002_0000,
        }
    }
}

/// The controller.
pub struct Nvme {
    config: NvmeConfig,
    registers: Registers,
    /// By identifier; the admin queues are number 0.
    submissions: Vec<Option<SubmissionQueue>>,
    completions: Vec<Option<CompletionQueue>>,
    disks: Vec<Vec<u8>>,
    mischief: Option<Box<dyn Mischief>>,
    complaints: Vec<String>,
    /// Counts I/O commands and doorbell writes, for tests and benches.
    statistics: Statistics,
    /// When something is due at the earliest.
    due: Option<u64>,
    never_ready: bool,
    never_stops: bool,
    hung: bool,
}

/// What the driver has made the controller do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// I/O commands carried out, well or not.
    pub commands: u64,
    /// Writes of I/O queues' doorbells.
    pub doorbells: u64,
    /// Flushes among the commands.
    pub flushes: u64,
    /// Commands with FUA.
    pub forced: u64,
}

impl Nvme {
    /// A controller that was just powered on, its disks full of zeros.
    ///
    /// # Panics
    ///
    /// If the doorbells do not fit in front of the MSI-X table.
    pub fn new(config: NvmeConfig) -> Self {
        let queues = usize::from(config.pairs) + 1;
        let stride = 4usize << config.doorbell_stride;
        assert!(
            registers::DOORBELLS + 2 * queues * stride <= MSIX_TABLE,
            "the doorbells do not fit"
        );
        let disk = |&(shift, blocks): &(u8, u64)| vec![0; (blocks << shift) as usize];
        Self {
            registers: Registers::default(),
            submissions: (0..queues).map(|_| None).collect(),
            completions: (0..queues).map(|_| None).collect(),
            disks: config.namespaces.iter().map(disk).collect(),
            mischief: None,
            complaints: Vec::new(),
            statistics: Statistics::default(),
            due: None,
            never_ready: false,
            never_stops: false,
            hung: false,
            config,
        }
    }

    /// The bytes of namespace `number`, counted from 1.
    pub fn disk(&mut self, number: u32) -> &mut [u8] {
        &mut self.disks[number as usize - 1]
    }

    /// What the driver did that the specification does not allow.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// What the driver made the controller do.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// From now on it misbehaves in this way.
    pub fn set_mischief(&mut self, mischief: impl Mischief + 'static) {
        self.mischief = Some(Box::new(mischief));
    }

    /// From now on it behaves.
    pub fn clear_mischief(&mut self) {
        self.mischief = None;
    }

    /// From now on it never becomes ready.
    pub fn never_ready(&mut self) {
        self.never_ready = true;
    }

    /// From now on it does not stop when told to, except by a reset of the function.
    pub fn never_stops(&mut self) {
        self.never_stops = true;
    }

    /// Whether it fetches no commands; what was fetched completes.
    pub fn hang(&mut self, hung: bool) {
        self.hung = hung;
    }

    /// A fatal error: `CSTS.CFS` is set, and nothing is done until the controller is reset.
    pub fn die(&mut self) {
        self.registers.set_fatal();
    }

    /// Whether it is enabled and ready.
    pub fn is_ready(&self) -> bool {
        self.registers.is_ready()
    }

    /// I/O completion queues that exist.
    pub fn open_queues(&self) -> usize {
        self.completions[1..].iter().flatten().count()
    }

    fn complain(&mut self, complaint: impl FnOnce() -> String) {
        if self.complaints.len() < MAX_COMPLAINTS {
            self.complaints.push(complaint());
        }
    }

    /// A Controller Level Reset (Base 2.0, 3.7.2): all queues are forgotten.
    fn forget_queues(&mut self) {
        self.submissions.fill_with(|| None);
        self.completions.fill_with(|| None);
    }
}

impl EmulatedDevice for Nvme {
    fn config(&self) -> ConfigSpace {
        ConfigSpace::new(DeviceId {
            vendor: 0x1b36,
            device: 0x0010,
            class: 0x01,
            subclass: 0x08,
            interface: 0x02,
            revision: 0x02,
        })
        .bar(0, BarKind::Memory64, BAR)
        .express()
        .msix(self.config.vectors, 0, MSIX_TABLE)
    }

    fn read(&mut self, _: &Bus<'_>, _: u8, offset: usize, bytes: usize) -> u64 {
        self.read_register(offset, bytes)
    }

    fn write(&mut self, bus: &Bus<'_>, _: u8, offset: usize, bytes: usize, value: u64) {
        self.write_register(bus, offset, bytes, value);
    }

    fn step(&mut self, bus: &Bus<'_>) {
        if self.due.is_some_and(|due| due <= bus.now()) {
            self.do_what_is_due(bus);
        }
    }

    fn next_event(&self) -> Option<u64> {
        self.due
    }

    fn reset(&mut self) {
        self.forget_queues();
        self.registers = Registers::default();
        self.due = None;
    }
}

//! The controller's registers and what writing them does (Base 2.0, 3.1.3; PCIe Transport 1.0, 3.1.2).

use super::Nvme;
use super::queues::{CompletionQueue, SubmissionQueue};
use crate::Bus;

const CAP: usize = 0x00;
const VS: usize = 0x08;
const INTMS: usize = 0x0c;
const INTMC: usize = 0x10;
const CC: usize = 0x14;
const CSTS: usize = 0x1c;
const AQA: usize = 0x24;
const ASQ: usize = 0x28;
const ACQ: usize = 0x30;
pub(super) const DOORBELLS: usize = 0x1000;

/// `CC.EN`, and the fields that cannot be changed while it is set: CSS, MPS, AMS.
const ENABLE: u32 = 1;
const FROZEN: u32 = 0x3ff0;
/// `CC.SHN`, bits 15:14.
const SHUTDOWN: u32 = 3 << 14;
/// `CSTS`: RDY, CFS, and SHST = 10b.
const READY: u32 = 1;
const FATAL: u32 = 2;
const SHUT_DOWN: u32 = 2 << 2;

/// The registers that the driver can write, and the status.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Registers {
    configuration: u32,
    status: u32,
    admin_sizes: u32,
    admin_submissions: u64,
    admin_completions: u64,
    /// When `CSTS.RDY` follows `CC.EN`.
    settles_at: Option<u64>,
}

impl Registers {
    pub(super) fn is_ready(&self) -> bool {
        self.status & (READY | FATAL) == READY && self.configuration & ENABLE != 0
    }

    pub(super) fn set_fatal(&mut self) {
        self.status |= FATAL;
    }
}

impl Nvme {
    /// `CAP` (3.1.3.1): MQES, CQR, TO = 1 (500 ms), DSTRD, CSS bit 37; pages of 4 KiB only.
    fn capabilities(&self) -> u64 {
        u64::from(self.config.max_entries - 1)
            | 1 << 16
            | 1 << 24
            | u64::from(self.config.doorbell_stride) << 32
            | 1 << 37
    }

    pub(super) fn read_register(&mut self, offset: usize, bytes: usize) -> u64 {
        let registers = &self.registers;
        let (start, value) = match offset {
            CAP..VS => (CAP, self.capabilities()),
            VS => (VS, self.config.version.into()),
            CC => (CC, registers.configuration.into()),
            CSTS => (CSTS, registers.status.into()),
            AQA => (AQA, registers.admin_sizes.into()),
            ASQ..ACQ => (ASQ, registers.admin_submissions),
            ACQ..0x38 => (ACQ, registers.admin_completions),
            _ => (offset, 0),
        };
        let value = value >> (8 * (offset - start));
        value & u64::MAX >> (64 - 8 * bytes)
    }

    pub(super) fn write_register(
        &mut self,
        bus: &Bus<'_>,
        offset: usize,
        bytes: usize,
        value: u64,
    ) {
        let enabled = self.registers.configuration & ENABLE != 0;
        let whole = match offset {
            ASQ | ACQ if bytes == 4 => u64::from(value as u32),
            _ => value,
        };
        match offset {
            CC => self.configure(bus, value as u32),
            AQA | ASQ | ACQ if enabled => {
                self.complain(|| format!("register {offset:#x} written while enabled"));
            }
            AQA => self.registers.admin_sizes = value as u32,
            ASQ => self.registers.admin_submissions = whole,
            ACQ => self.registers.admin_completions = whole,
            // Upper halves, by drivers that cannot write 64 bits at once.
            0x2c if bytes == 4 => self.registers.admin_submissions |= value << 32,
            0x34 if bytes == 4 => self.registers.admin_completions |= value << 32,
            // Not for MSI-X (3.1.3.3).
            INTMS | INTMC => self.complain(|| "INTMS and INTMC are not for MSI-X".into()),
            DOORBELLS.. => self.ring(bus, offset - DOORBELLS, value as u32),
            _ => self.complain(|| format!("register {offset:#x} is not to be written")),
        }
    }

    /// A write to `CC` (3.1.3.5).
    fn configure(&mut self, bus: &Bus<'_>, value: u32) {
        let before = std::mem::replace(&mut self.registers.configuration, value);
        if before & value & ENABLE != 0 && (before ^ value) & FROZEN != 0 {
            self.complain(|| format!("CC changed from {before:#x} to {value:#x} while enabled"));
        }
        if value & SHUTDOWN != 0 {
            self.registers.status |= SHUT_DOWN;
        }
        match (before & ENABLE, value & ENABLE) {
            (0, ENABLE) if !self.never_ready => {
                self.settle_later(bus);
            }
            (ENABLE, 0) if !self.never_stops => {
                // Fetched commands are dropped at once, RDY follows later.
                self.forget_queues();
                self.settle_later(bus);
            }
            _ => {}
        }
    }

    fn settle_later(&mut self, bus: &Bus<'_>) {
        let at = bus.now() + self.config.ready_time;
        self.registers.settles_at = Some(at);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
        if self.config.ready_time == 0 {
            self.do_what_is_due(bus);
        }
    }

    /// `CSTS.RDY` follows `CC.EN` (3.5.1).
    pub(super) fn settle(&mut self, now: u64) -> Option<u64> {
        if self.registers.settles_at.is_some_and(|at| at > now) {
            return self.registers.settles_at;
        }
        if self.registers.settles_at.take().is_some() {
            match self.registers.configuration & ENABLE {
                0 => self.registers.status = 0,
                _ => self.enable(),
            }
        }
        None
    }

    fn enable(&mut self) {
        let Registers {
            configuration,
            admin_sizes,
            admin_submissions,
            admin_completions,
            ..
        } = self.registers;
        // IOSQES = 6, IOCQES = 4, and the rest zero: all that this controller has.
        if configuration & !SHUTDOWN != 0x0046_0001 {
            self.complain(|| format!("CC is {configuration:#x}, expected 0x460001"));
        }
        let sizes = (admin_sizes & 0xfff, admin_sizes >> 16 & 0xfff);
        let misplaced = (admin_submissions | admin_completions) & 0xfff != 0;
        if misplaced || sizes.0 == 0 || sizes.1 == 0 {
            let registers = self.registers;
            self.complain(|| format!("admin queues: {registers:x?}"));
            return self.registers.set_fatal();
        }
        self.completions[0] = Some(CompletionQueue::new(
            admin_completions,
            sizes.1 + 1,
            Some(0),
        ));
        self.submissions[0] = Some(SubmissionQueue::new(admin_submissions, sizes.0 + 1, 0));
        self.registers.status = READY;
    }

    /// A write to the doorbell `offset` bytes behind the first.
    fn ring(&mut self, bus: &Bus<'_>, offset: usize, value: u32) {
        let index = offset / (4 << self.config.doorbell_stride);
        let queue = index / 2;
        if queue > 0 {
            self.statistics.doorbells += 1;
        }
        if !self.registers.is_ready() {
            // A dead controller is rung by drivers that do not know yet.
            if self.registers.status & FATAL == 0 {
                self.complain(|| format!("doorbell of queue {queue} while not ready"));
            }
            return;
        }
        let accepted = match index % 2 {
            0 => match self.submissions.get_mut(queue) {
                Some(Some(queue)) => queue.set_tail(value),
                _ => false,
            },
            _ => match self.completions.get_mut(queue) {
                Some(Some(queue)) => queue.set_head(value),
                _ => false,
            },
        };
        if !accepted {
            // Invalid Doorbell Write Value, or to a queue that does not exist (5.2.1).
            self.complain(|| format!("doorbell {index} got the invalid value {value}"));
        }
        self.run(bus);
    }
}

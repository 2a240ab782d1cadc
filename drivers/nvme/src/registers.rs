//! The controller's registers and their fields.
//!
//! Section numbers are those of the NVM Express Base Specification 2.0 unless another document is
//! named. The specification calls these registers properties.

use spillway_hal::{ReadOnly, ReadWrite, Register, RegisterArray, WriteOnly};

use crate::controller::MAX_QUEUES;

/// Controller Capabilities (3.1.3.1, figure 36).
pub(crate) const CAP: Register<u64, ReadOnly> = Register::new("CAP", 0x00);
/// Version (3.1.3.2).
pub(crate) const VS: Register<u32, ReadOnly> = Register::new("VS", 0x08);
/// Controller Configuration (3.1.3.5, figure 46).
pub(crate) const CC: Register<u32, ReadWrite> = Register::new("CC", 0x14);
/// Controller Status (3.1.3.6, figure 47).
pub(crate) const CSTS: Register<u32, ReadOnly> = Register::new("CSTS", 0x1c);
/// Admin Queue Attributes (3.1.3.8).
pub(crate) const AQA: Register<u32, ReadWrite> = Register::new("AQA", 0x24);
/// Admin Submission Queue Base Address (3.1.3.9).
pub(crate) const ASQ: Register<u64, ReadWrite> = Register::new("ASQ", 0x28);
/// Admin Completion Queue Base Address (3.1.3.10).
pub(crate) const ACQ: Register<u64, ReadWrite> = Register::new("ACQ", 0x30);

/// Where the doorbells begin (PCIe Transport Specification 1.0, 3.1.2).
const DOORBELLS: u32 = 0x1000;
/// The least that a BAR must have: the registers, and the admin queue's doorbells at the smallest
/// stride.
pub(crate) const MINIMUM_BAR: usize = DOORBELLS as usize + 8;
/// Queue pairs whose doorbells are used: the admin queue's and the I/O queues'.
const QUEUES: u32 = MAX_QUEUES as u32 + 1;

/// A doorbell: the new tail of a submission queue or the new head of a completion queue.
pub(crate) type Doorbell = Register<u32, WriteOnly>;

/// The doorbells of queue pair `queue`: Submission Queue Tail and Completion Queue Head (PCIe
/// Transport Specification 1.0, 3.1.2.1 and 3.1.2.2).
pub(crate) fn doorbells(capabilities: Capabilities, queue: u16) -> (Doorbell, Doorbell) {
    let stride = capabilities.doorbell_stride();
    let array = |name, offset| {
        RegisterArray::<u32, WriteOnly>::new(name, offset, 2 * stride, QUEUES).at(queue.into())
    };
    (
        array("SQTDBL", DOORBELLS),
        array("CQHDBL", DOORBELLS + stride),
    )
}

/// What `CAP` says (3.1.3.1, figure 36).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities(pub(crate) u64);

impl Capabilities {
    /// Entries of the largest I/O queue: MQES, bits 15:00, zero-based.
    pub(crate) fn max_entries(self) -> u32 {
        (self.0 as u32 & 0xffff) + 1
    }

    /// The worst case for `CSTS.RDY` to follow `CC.EN`, in nanoseconds: TO, bits 31:24, in units
    /// of 500 ms. Some controllers say zero, so it is at least one unit.
    pub(crate) fn ready_timeout(self) -> u64 {
        (self.0 >> 24 & 0xff).max(1) * 500_000_000
    }

    /// Bytes between doorbells: DSTRD, bits 35:32, is the exponent of two above 4.
    pub(crate) fn doorbell_stride(self) -> u32 {
        4 << (self.0 >> 32 & 0xf)
    }

    /// Whether the controller has the NVM command set: CSS, bit 37.
    pub(crate) fn has_nvm_commands(self) -> bool {
        self.0 >> 37 & 1 != 0
    }

    /// Whether the controller takes memory pages of 4 KiB: MPSMIN, bits 51:48, is the exponent of
    /// two above 4 KiB.
    pub(crate) fn takes_4k_pages(self) -> bool {
        self.0 >> 48 & 0xf == 0
    }
}

/// Fields of `CC` (3.1.3.5, figure 46).
pub(crate) mod cc {
    /// Enable: EN, bit 00.
    pub(crate) const ENABLE: u32 = 1;
    /// A normal shutdown is announced: SHN, bits 15:14.
    pub(crate) const SHUTDOWN: u32 = 0b01 << 14;
    /// What the driver sets up: the NVM command set (CSS, bits 06:04 = 000b), pages of 4 KiB (MPS,
    /// bits 10:07 = 0), round robin (AMS, bits 13:11 = 000b), submission entries of 2^6 bytes
    /// (IOSQES, bits 19:16), completion entries of 2^4 bytes (IOCQES, bits 23:20).
    pub(crate) const SETUP: u32 = 6 << 16 | 4 << 20;
}

/// What `CSTS` says (3.1.3.6, figure 47).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u32);

impl Status {
    /// The function does not answer: reads give all ones.
    pub(crate) fn is_gone(self) -> bool {
        self.0 == u32::MAX
    }

    /// Ready: RDY, bit 00.
    pub(crate) fn is_ready(self) -> bool {
        self.0 & 1 != 0
    }

    /// A fatal error that only a reset ends: CFS, bit 01.
    pub(crate) fn is_fatal(self) -> bool {
        self.0 & 2 != 0
    }

    /// Shutdown is complete: SHST, bits 03:02 = 10b.
    pub(crate) fn is_shut_down(self) -> bool {
        self.0 >> 2 & 3 == 2
    }
}

#[cfg(test)]
mod tests {
    use super::{Capabilities, doorbells};

    #[test]
    fn doorbells_follow_the_stride() {
        for (dstrd, stride) in [(0, 4), (1, 8), (15, 4 << 15)] {
            let capabilities = Capabilities(dstrd << 32);
            let (tail, head) = doorbells(capabilities, 3);
            assert_eq!(tail.offset(), 0x1000 + 6 * stride);
            assert_eq!(head.offset(), 0x1000 + 7 * stride);
        }
    }

    #[test]
    fn capabilities_have_their_units() {
        let capabilities = Capabilities(0x0000_0020_0f01_07ff);
        assert_eq!(capabilities.max_entries(), 2048);
        assert_eq!(capabilities.ready_timeout(), 7_500_000_000);
        assert!(capabilities.has_nvm_commands() && capabilities.takes_4k_pages());
        assert_eq!(Capabilities(0xffff).max_entries(), 65536);
        assert!(!Capabilities(1 << 48).takes_4k_pages());
    }
}

//! Submission queue entries: 64 bytes, here as eight words (NVM Express Base Specification 2.0,
//! 3.3.3.1).

use spillway_hal::IoAddress;

/// A submission queue entry. Word 0 is command dword 0 and the namespace, words 3 and 4 are PRP
/// entries 1 and 2, words 5 to 7 are command dwords 10 to 15. Words 1, 2 and 7 are zero in every
/// command that the driver knows.
pub(crate) type Entry = [u64; 8];

/// Bytes of a submission queue entry.
pub(crate) const SUBMISSION_BYTES: usize = 64;
/// Bytes of a completion queue entry (3.3.3.2).
pub(crate) const COMPLETION_BYTES: usize = 16;

/// Opcodes of the NVM command set (Base 2.0, 7; NVM Command Set Specification 1.0, 3.2).
pub(crate) mod opcode {
    pub(crate) const FLUSH: u8 = 0x00;
    pub(crate) const WRITE: u8 = 0x01;
    pub(crate) const READ: u8 = 0x02;
}

/// Opcodes of the admin command set (5, figure 138).
mod admin {
    pub(super) const DELETE_SUBMISSION_QUEUE: u8 = 0x00;
    pub(super) const CREATE_SUBMISSION_QUEUE: u8 = 0x01;
    pub(super) const DELETE_COMPLETION_QUEUE: u8 = 0x04;
    pub(super) const CREATE_COMPLETION_QUEUE: u8 = 0x05;
    pub(super) const IDENTIFY: u8 = 0x06;
    pub(super) const SET_FEATURES: u8 = 0x09;
}

/// Feature identifier of Number of Queues (5.27.1.5).
const NUMBER_OF_QUEUES: u64 = 0x07;

/// The physically contiguous queue flag: PC, bit 00 of dword 11 (5.4 and 5.5).
const CONTIGUOUS: u64 = 1;
/// The interrupts enabled flag of a completion queue: IEN, bit 01 of dword 11 (5.4).
const INTERRUPTS: u64 = 2;

/// Force unit access, in command dword 12 of read and write: FUA, bit 30 (NVM Command Set
/// Specification 1.0, 3.2.4 and 3.2.6).
const FUA: u32 = 30;

/// Word 0: opcode in bits 07:00 of dword 0, PRPs (PSDT, bits 15:14 = 00b), the command identifier
/// in bits 31:16; the namespace in dword 1. The identifier comes as a slot has it, in the upper 16
/// bits with nothing below.
#[inline(always)]
fn word0(opcode: u8, identity: u64, namespace: u32) -> u64 {
    u64::from(opcode) | identity >> 32 | u64::from(namespace) << 32
}

/// Read or write: the starting LBA in dwords 10 and 11, the zero-based count in bits 15:00 of
/// dword 12.
#[inline(always)]
pub(crate) fn transfer(
    opcode: u8,
    identity: u64,
    namespace: u32,
    (prp1, prp2): (u64, u64),
    lba: u64,
    blocks: u64,
    fua: bool,
) -> Entry {
    let dword12 = blocks.wrapping_sub(1) | u64::from(fua) << FUA;
    let word0 = word0(opcode, identity, namespace);
    [word0, 0, 0, prp1, prp2, lba, dword12, 0]
}

/// Flush (Base 2.0, 7.1).
pub(crate) fn flush(identity: u64, namespace: u32) -> Entry {
    [
        word0(opcode::FLUSH, identity, namespace),
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ]
}

/// What an admin command says beside its identifier, which the admin queue adds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdminCommand {
    opcode: u8,
    namespace: u32,
    prp1: u64,
    /// Command dwords 10 and 11.
    word5: u64,
}

impl AdminCommand {
    /// Identify (5.17): structure `cns`, into one page.
    pub(crate) fn identify(cns: u8, namespace: u32, page: IoAddress) -> Self {
        Self {
            opcode: admin::IDENTIFY,
            namespace,
            prp1: page.0,
            word5: cns.into(),
        }
    }

    /// Set Features, Number of Queues (5.27.1.5): asks for `pairs` I/O queues of either kind, both
    /// zero-based in dword 11.
    pub(crate) fn set_number_of_queues(pairs: u16) -> Self {
        let zero_based = u64::from(pairs.saturating_sub(1));
        Self {
            opcode: admin::SET_FEATURES,
            namespace: 0,
            prp1: 0,
            word5: NUMBER_OF_QUEUES | (zero_based | zero_based << 16) << 32,
        }
    }

    /// Create I/O Completion Queue (5.4): identifier and zero-based size in dword 10; flags and the
    /// interrupt vector in dword 11.
    pub(crate) fn create_completion_queue(
        queue: u16,
        entries: u32,
        base: IoAddress,
        vector: Option<u16>,
    ) -> Self {
        let dword11 = match vector {
            Some(vector) => CONTIGUOUS | INTERRUPTS | u64::from(vector) << 16,
            None => CONTIGUOUS,
        };
        Self {
            opcode: admin::CREATE_COMPLETION_QUEUE,
            namespace: 0,
            prp1: base.0,
            word5: u64::from(queue) | u64::from(entries - 1) << 16 | dword11 << 32,
        }
    }

    /// Create I/O Submission Queue (5.5): the same, and in dword 11 the completion queue, which has
    /// the same identifier.
    pub(crate) fn create_submission_queue(queue: u16, entries: u32, base: IoAddress) -> Self {
        let dword11 = CONTIGUOUS | u64::from(queue) << 16;
        Self {
            opcode: admin::CREATE_SUBMISSION_QUEUE,
            namespace: 0,
            prp1: base.0,
            word5: u64::from(queue) | u64::from(entries - 1) << 16 | dword11 << 32,
        }
    }

    /// Delete I/O Submission Queue (5.7).
    pub(crate) fn delete_submission_queue(queue: u16) -> Self {
        Self {
            opcode: admin::DELETE_SUBMISSION_QUEUE,
            namespace: 0,
            prp1: 0,
            word5: queue.into(),
        }
    }

    /// Delete I/O Completion Queue (5.6).
    pub(crate) fn delete_completion_queue(queue: u16) -> Self {
        Self {
            opcode: admin::DELETE_COMPLETION_QUEUE,
            ..Self::delete_submission_queue(queue)
        }
    }

    /// The entry.
    pub(crate) fn entry(self, identifier: u16) -> Entry {
        let word0 = word0(self.opcode, u64::from(identifier) << 48, self.namespace);
        [word0, 0, 0, self.prp1, 0, self.word5, 0, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_specification_has_them() {
        let entry = transfer(
            opcode::READ,
            0xabcd << 48,
            7,
            (1, 2),
            0x1_0000_0005,
            16,
            true,
        );
        assert_eq!(entry[0], 0x0000_0007_abcd_0002);
        assert_eq!((entry[3], entry[4]), (1, 2));
        assert_eq!(entry[5], 0x1_0000_0005);
        assert_eq!(entry[6], 1 << 30 | 15);
        let create = AdminCommand::create_completion_queue(3, 1024, IoAddress(0x5000), Some(9));
        assert_eq!(create.entry(1)[5], 0x0009_0003_03ff_0003);
        let queues = AdminCommand::set_number_of_queues(8).entry(0);
        assert_eq!(queues[5], 0x0007_0007_0000_0007);
    }
}

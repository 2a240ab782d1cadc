//! Statuses (Base 2.0, 3.3.3.2.1): the code in bits 07:00, its type in bits 10:08.

/// A status, without the phase tag.
pub(super) type Status = u16;

pub(super) const SUCCESS: Status = 0;
// Generic (figure 94).
pub(super) const INVALID_OPCODE: Status = 0x01;
pub(super) const INVALID_FIELD: Status = 0x02;
pub(super) const DATA_TRANSFER_ERROR: Status = 0x04;
pub(super) const ABORTED_SQ_DELETED: Status = 0x08;
pub(super) const INVALID_NAMESPACE: Status = 0x0b;
pub(super) const PRP_OFFSET_INVALID: Status = 0x13;
pub(super) const LBA_OUT_OF_RANGE: Status = 0x80;
// Command specific (5.4 to 5.7, 5.27).
pub(super) const COMPLETION_QUEUE_INVALID: Status = 0x100;
pub(super) const QUEUE_IDENTIFIER_INVALID: Status = 0x101;
pub(super) const QUEUE_SIZE_INVALID: Status = 0x102;
pub(super) const VECTOR_INVALID: Status = 0x108;
pub(super) const QUEUE_DELETION_INVALID: Status = 0x10c;

//! Reads and writes of one segment inside of one page, whose common part was checked before: PRP
//! entry 1 is all, and two words of the command are known.

use spillway_hal::block::{BlockCount, Lba, NamespaceId, Operation, Request, Segment, Shape};

use crate::command::{Entry, opcode, transfer};
use crate::identify::Namespace;
use crate::prp::PAGE;

/// A shape of requests that was checked.
#[derive(Clone, Copy, Debug)]
pub struct Prepared {
    /// Words 0 and 6 of the command, without the identifier.
    pub(crate) word0: u64,
    pub(crate) word6: u64,
    /// The bits of an address that are zero, so that no page is left.
    pub(crate) page_bits: u64,
    /// The last block at which there are so many.
    pub(crate) last: Lba,
}

impl Prepared {
    /// Transfers of whole blocks of the namespace, not more than a page.
    pub(crate) fn new(namespace: &Namespace, shape: &Shape) -> Option<Self> {
        let Shape {
            operation,
            blocks,
            flags,
            ..
        } = *shape;
        let opcode = match operation {
            Operation::Read => opcode::READ,
            Operation::Write => opcode::WRITE,
            Operation::Flush => return None,
        };
        let bytes = blocks.bytes(namespace.block_size)?;
        if bytes == 0 || bytes > PAGE || blocks > namespace.capacity {
            return None;
        }
        let entry = transfer(opcode, 0, namespace.id.0, (0, 0), 0, blocks.0, flags.fua);
        Some(Self {
            word0: entry[0],
            word6: entry[6],
            page_bits: bytes.next_power_of_two() - 1,
            last: Lba(namespace.capacity.0 - blocks.0),
        })
    }
}

/// Reads and writes like the last one that was checked in full.
#[derive(Clone, Copy)]
pub(crate) struct Usual {
    namespace: NamespaceId,
    bytes: u32,
    blocks: BlockCount,
    /// The bits of an address that are zero, so that no page is left.
    page_bits: u64,
    /// The last block at which there are so many.
    last: Lba,
}

impl Usual {
    /// Nothing is usual.
    pub(crate) const NONE: Self = Self {
        namespace: NamespaceId(0),
        bytes: 0,
        blocks: BlockCount(0),
        page_bits: 0,
        last: Lba(0),
    };

    /// Transfers of `bytes`, whole blocks of the namespace and not more than a page.
    pub(crate) fn new(namespace: &Namespace, bytes: u32) -> Self {
        let blocks = u64::from(bytes) >> namespace.block_size.shift();
        Self {
            namespace: namespace.id,
            bytes,
            blocks: BlockCount(blocks),
            page_bits: u64::from(bytes.next_power_of_two()) - 1,
            last: Lba(namespace.capacity.0.saturating_sub(blocks)),
        }
    }

    /// Whether a request is like those.
    #[inline(always)]
    pub(crate) fn covers(
        &self,
        request: &Request<'_>,
        Segment { address, bytes }: Segment,
    ) -> bool {
        address.0 & self.page_bits == 0
            && bytes == self.bytes
            && request.blocks == self.blocks
            && request.namespace == self.namespace
            && request.lba <= self.last
            && request.operation != Operation::Flush
    }
}

/// The command of a request that is covered, whose identifier comes as a slot has it.
#[inline(always)]
pub(crate) fn usual_entry(request: &Request<'_>, segment: Segment, identity: u64) -> Entry {
    let opcode = match request.operation {
        Operation::Read => opcode::READ,
        _ => opcode::WRITE,
    };
    let (id, lba, blocks) = (request.namespace.0, request.lba.0, request.blocks.0);
    let (prps, fua) = ((segment.address.0, 0), request.flags.fua);
    transfer(opcode, identity, id, prps, lba, blocks, fua)
}

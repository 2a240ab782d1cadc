//! The NVM command set: read, write, flush (Base 2.0, 7.1; NVM Command Set 1.0, 3.2.4 and 3.2.6).

use super::Nvme;
use super::fetch::Command;
use super::prp::walk;
use super::status::*;
use crate::Bus;

const FLUSH: u8 = 0x00;
const WRITE: u8 = 0x01;
const READ: u8 = 0x02;
/// All namespaces at once.
const BROADCAST: u32 = u32::MAX;

impl Nvme {
    pub(super) fn io(&mut self, bus: &Bus<'_>, command: Command) -> Status {
        let namespace = command.namespace();
        let index = namespace.wrapping_sub(1) as usize;
        let known = index < self.disks.len();
        match command.opcode() {
            FLUSH if known || namespace == BROADCAST => {
                self.statistics.flushes += 1;
                SUCCESS
            }
            READ | WRITE if known => self.transfer(bus, command, index),
            FLUSH | READ | WRITE => INVALID_NAMESPACE,
            _ => INVALID_OPCODE,
        }
    }

    fn transfer(&mut self, bus: &Bus<'_>, command: Command, index: usize) -> Status {
        let (shift, capacity) = self.config.namespaces[index];
        let lba = u64::from(command.dword(10)) | u64::from(command.dword(11)) << 32;
        // NLB, bits 15:00 of dword 12, is zero-based; FUA is bit 30.
        let dword12 = command.dword(12);
        let blocks = u64::from(dword12 & 0xffff) + 1;
        let reserved = dword12 & !(0xffff | 1 << 30) | command.dword(13);
        if reserved != 0 {
            self.complain(|| format!("reserved fields in {command:x?}"));
            return INVALID_FIELD;
        }
        self.statistics.forced += u64::from(dword12 >> 30 & 1);
        if lba.checked_add(blocks).is_none_or(|end| end > capacity) {
            return LBA_OUT_OF_RANGE;
        }
        let length = (blocks << shift) as usize;
        let exponent = self.config.max_transfer_exponent;
        if exponent > 0 && length > 4096 << exponent {
            self.complain(|| format!("{length} bytes are more than MDTS permits"));
            return INVALID_FIELD;
        }
        let start = (lba << shift) as usize;
        let mut disk = &mut self.disks[index][start..start + length];
        let write = command.opcode() == WRITE;
        let moved = walk(bus, command.prps(), length, |address, bytes| {
            let (piece, rest) = std::mem::take(&mut disk).split_at_mut(bytes);
            disk = rest;
            let moved = match write {
                true => bus.read(address, piece),
                false => bus.write(address, piece),
            };
            moved.map_err(|_| DATA_TRANSFER_ERROR)
        });
        if moved == Err(PRP_OFFSET_INVALID) {
            self.complain(|| format!("PRP entries of {command:x?}"));
        }
        moved.err().unwrap_or(SUCCESS)
    }
}

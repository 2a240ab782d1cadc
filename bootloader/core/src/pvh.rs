//! The PVH start information (Xen, `public/arch-x86/hvm/start_info.h`): what a hypervisor's
//! direct kernel boot leaves in memory.

use crate::{
    Handover, MemoryKind, MemoryRange, Physical,
    physical::{u32_at, u64_at},
};
use core::ops::Range;
use spillway_bootinfo::FrameBuffer;

/// `XEN_HVM_START_MAGIC_VALUE`.
pub const MAGIC: u32 = 0x336e_c578;
/// Bytes of `struct hvm_start_info`, version 1.
const START_INFO: u64 = 56;
/// Bytes of `struct hvm_modlist_entry`.
const MODULE: u64 = 32;
/// Bytes of `struct hvm_memmap_table_entry`.
const MEMORY_ENTRY: u64 = 24;
/// The most entries of the memory map that are read.
const MAX_ENTRIES: u32 = 1024;
/// The most bytes of command line that are read. A longer one is refused later by its length.
const MAX_COMMAND_LINE: u64 = 4096;

/// The start information and the tables that it points to.
#[derive(Clone, Copy, Debug)]
pub struct StartInfo<'a, P> {
    memory: &'a P,
    address: u64,
    header: &'a [u8],
    memory_map: &'a [u8],
}

impl<'a, P: Physical> StartInfo<'a, P> {
    /// Reads the start information at this address. `None` if it is not one of version 1 with a
    /// memory map.
    pub fn parse(memory: &'a P, address: u64) -> Option<Self> {
        let header = memory.read(address, START_INFO)?;
        let version = u32_at(header, 4)?;
        let (map, entries) = (u64_at(header, 40)?, u32_at(header, 48)?);
        if u32_at(header, 0)? != MAGIC || version < 1 || !(1..=MAX_ENTRIES).contains(&entries) {
            return None;
        }
        let memory_map = memory.read(map, u64::from(entries) * MEMORY_ENTRY)?;
        Some(Self {
            memory,
            address,
            header,
            memory_map,
        })
    }

    /// The hypervisor's memory map.
    pub fn memory_map(&self) -> impl Iterator<Item = MemoryRange> + Clone + use<'a, P> {
        let entries = self.memory_map.chunks_exact(MEMORY_ENTRY as usize);
        entries.filter_map(|entry| {
            let (start, length) = (u64_at(entry, 0)?, u64_at(entry, 8)?);
            Some(MemoryRange {
                range: start..start.saturating_add(length),
                kind: MemoryKind::from_e820(u32_at(entry, 16)?),
            })
        })
    }

    /// Everything else.
    pub fn handover(&self) -> Handover<'a> {
        Handover {
            protocol: "PVH",
            command_line: self.command_line().unwrap_or(&[]),
            image: self.first_module(),
            rsdp: self.rsdp(),
            frame_buffer: FrameBuffer::default(),
        }
    }

    /// What must not be overwritten while it is read: the structure, its tables and the command
    /// line. They need not be RAM.
    pub fn used(&self) -> [Range<u64>; 4] {
        let range = |start: Option<u64>, length: u64| {
            let start = start.unwrap_or(0);
            start..start.saturating_add(length)
        };
        let command_line = self.command_line().map_or(0, |text| text.len() as u64 + 1);
        [
            range(Some(self.address), START_INFO),
            range(u64_at(self.header, 16), self.modules() * MODULE),
            range(u64_at(self.header, 24), command_line),
            range(u64_at(self.header, 40), self.memory_map.len() as u64),
        ]
    }

    fn modules(&self) -> u64 {
        u32_at(self.header, 12).map_or(0, u64::from)
    }

    fn first_module(&self) -> Option<Range<u64>> {
        if self.modules() == 0 {
            return None;
        }
        let entry = self.memory.read(u64_at(self.header, 16)?, MODULE)?;
        let (start, length) = (u64_at(entry, 0)?, u64_at(entry, 8)?);
        Some(start..start.checked_add(length)?)
    }

    fn command_line(&self) -> Option<&'a [u8]> {
        let start = u64_at(self.header, 24).filter(|&address| address != 0)?;
        let length = (0..MAX_COMMAND_LINE)
            .find(|&i| matches!(self.memory.read(start + i, 1), None | Some([0])))
            .unwrap_or(MAX_COMMAND_LINE);
        self.memory.read(start, length)
    }

    fn rsdp(&self) -> Option<&'a [u8]> {
        let address = u64_at(self.header, 32).filter(|&address| address != 0)?;
        crate::acpi::rsdp_at(self.memory, address)
    }
}

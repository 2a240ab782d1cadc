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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::testing::FakeMemory;
    use proptest::prelude::*;
    use std::vec::Vec;

    const INFO: u64 = 0x100;
    const MODULES: u64 = 0x200;
    const COMMAND_LINE: u64 = 0x300;
    const MAP: u64 = 0x400;

    /// A hypervisor's start information: one module, two entries of memory, a command line.
    fn memory() -> FakeMemory {
        let mut memory = FakeMemory::new(0x600);
        memory.put(INFO, &MAGIC.to_le_bytes());
        memory.put(INFO + 4, &[1]);
        memory.put(INFO + 12, &[1]);
        for (i, address) in [MODULES, COMMAND_LINE, 0, MAP].into_iter().enumerate() {
            memory.put(INFO + 16 + 8 * i as u64, &address.to_le_bytes());
        }
        memory.put(INFO + 48, &[2]);
        memory.put(MODULES, &0x5000u64.to_le_bytes());
        memory.put(MODULES + 8, &0x1234u64.to_le_bytes());
        memory.put(COMMAND_LINE, b"log=debug exit=debug\0");
        for (i, (start, length, kind)) in [(0u64, 0x9f000u64, 1u32), (0xf0000, 0x10000, 2)]
            .into_iter()
            .enumerate()
        {
            let at = MAP + 24 * i as u64;
            memory.put(at, &start.to_le_bytes());
            memory.put(at + 8, &length.to_le_bytes());
            memory.put(at + 16, &kind.to_le_bytes());
        }
        memory
    }

    #[test]
    fn everything_is_found() {
        let memory = memory();
        let info = StartInfo::parse(&memory, INFO).unwrap();
        let handover = info.handover();
        assert_eq!(handover.command_line, b"log=debug exit=debug");
        assert_eq!(handover.image, Some(0x5000..0x6234));
        assert_eq!(handover.rsdp, None);
        let map: Vec<_> = info.memory_map().map(|e| (e.range, e.kind)).collect();
        assert_eq!(
            map,
            [
                (0..0x9f000, MemoryKind::Ram),
                (0xf0000..0x100000, MemoryKind::Reserved)
            ]
        );
        assert_eq!(
            info.used(),
            [
                INFO..INFO + 56,
                MODULES..MODULES + 32,
                COMMAND_LINE..COMMAND_LINE + 21,
                MAP..MAP + 48
            ]
        );
    }

    #[test]
    fn what_is_missing_or_of_another_version_is_noticed() {
        let change = |at: u64, value: u8| {
            let mut memory = memory();
            memory.put(at, &[value]);
            memory
        };
        assert!(StartInfo::parse(&change(INFO, 0), INFO).is_none());
        assert!(StartInfo::parse(&change(INFO + 4, 0), INFO).is_none());
        assert!(StartInfo::parse(&change(INFO + 48, 0), INFO).is_none());
        assert!(StartInfo::parse(&change(INFO + 46, 1), INFO).is_none());
        let none = change(INFO + 12, 0);
        assert_eq!(
            StartInfo::parse(&none, INFO).unwrap().handover().image,
            None
        );
        let mut none = memory();
        none.put(INFO + 24, &[0, 0]);
        let info = StartInfo::parse(&none, INFO).unwrap();
        assert!(info.handover().command_line.is_empty());
    }

    proptest! {
        #[test]
        fn nothing_panics_whatever_memory_holds(
            changes in prop::collection::vec((0usize..0x600, any::<u8>()), 0..40),
            address in prop_oneof![Just(INFO), any::<u64>()],
        ) {
            let mut memory = memory();
            for (at, value) in changes {
                memory.0[at] = value;
            }
            if let Some(info) = StartInfo::parse(&memory, address) {
                let _ = (info.handover(), info.used());
                let _ = crate::MemoryMap::from_firmware(info.memory_map());
            }
        }
    }
}

//! The Multiboot2 boot information (Multiboot2 1.6, 3.6), as GRUB leaves it.
//!
//! The `multiboot2` crate checks the chain of tags and walks it. What is in a tag is read here
//! byte by byte, because the crate's typed tags panic where they are malformed.

use core::ops::Range;
use multiboot2::{BootInformation, BootInformationHeader, TagType};
use spillway_bootinfo::FrameBuffer;
use spillway_bootloader_core::{
    Handover, MemoryKind, MemoryRange, Physical,
    physical::{u32_at, u64_at},
};

/// The most bytes of boot information that are believed.
const MAX_SIZE: u64 = 1 << 20;
/// `framebuffer_type` of one with direct colours, not a palette and not text.
const DIRECT_COLOUR: u8 = 1;

/// The checked boot information.
pub struct Multiboot<'a> {
    info: BootInformation<'a>,
    place: Range<u64>,
}

impl<'a> Multiboot<'a> {
    /// Reads the boot information at this address. `None` if it is malformed or has no memory
    /// map.
    pub fn parse(memory: &'a impl Physical, address: u64) -> Option<Self> {
        let size = u32_at(memory.read(address, 8)?, 0)?.into();
        let bytes = memory.read(address, size).filter(|_| size <= MAX_SIZE)?;
        let header = bytes.as_ptr().cast::<BootInformationHeader>();
        // SAFETY: `bytes` is as long as the header says and lives as long as `'a`; nobody writes
        // there, because the memory map has it as in use. `load` checks everything else.
        let info = unsafe { BootInformation::load(header) }.ok()?;
        let place = address..address + size;
        let this = Self { info, place };
        this.tag(TagType::Mmap).is_some().then_some(this)
    }

    /// GRUB's memory map: after the size and version of entries (3.6.8).
    pub fn memory_map(&self) -> impl Iterator<Item = MemoryRange> + Clone {
        let tag = self.tag(TagType::Mmap).unwrap_or(&[]);
        let entry_size = u32_at(tag, 0).map_or(24, |size| size.max(24));
        let entries = tag.get(8..).unwrap_or(&[]);
        entries
            .chunks_exact(entry_size as usize)
            .filter_map(|entry| {
                let (start, length) = (u64_at(entry, 0)?, u64_at(entry, 8)?);
                Some(MemoryRange {
                    range: start..start.saturating_add(length),
                    kind: MemoryKind::from_e820(u32_at(entry, 16)?),
                })
            })
    }

    /// Everything else.
    pub fn handover(&self) -> Handover<'_> {
        let command_line = self.tag(TagType::Cmdline).unwrap_or(&[]);
        let rsdp = self.tag(TagType::AcpiV2).or(self.tag(TagType::AcpiV1));
        Handover {
            protocol: "Multiboot2",
            command_line: command_line.split(|&byte| byte == 0).next().unwrap_or(&[]),
            image: self.first_module(),
            rsdp,
            frame_buffer: self.frame_buffer().unwrap_or_default(),
        }
    }

    /// Where the boot information lies, all of it.
    pub fn used(&self) -> [Range<u64>; 1] {
        [self.place.clone()]
    }

    /// The first tag of this type, after its header.
    fn tag(&self, wanted: TagType) -> Option<&[u8]> {
        let mut tags = self.info.tags();
        let tag = tags.find(|tag| tag.header().typ == wanted)?;
        Some(tag.payload())
    }

    /// The first module: where it begins and ends (3.6.6).
    fn first_module(&self) -> Option<Range<u64>> {
        let tag = self.tag(TagType::Module)?;
        Some(u32_at(tag, 0)?.into()..u32_at(tag, 4)?.into())
    }

    /// The frame buffer, if it is one of 24 or 32 bits with blue lowest (3.6.12).
    fn frame_buffer(&self) -> Option<FrameBuffer> {
        let tag = self.tag(TagType::Framebuffer)?;
        let bits_per_pixel = u32::from(*tag.get(20)?);
        let (kind, blue_position) = (*tag.get(21)?, *tag.get(28)?);
        if kind != DIRECT_COLOUR || blue_position != 0 || !matches!(bits_per_pixel, 24 | 32) {
            return None;
        }
        Some(FrameBuffer {
            start: u64_at(tag, 0)?,
            pitch: u32_at(tag, 8)?,
            width: u32_at(tag, 12)?,
            height: u32_at(tag, 16)?,
            bits_per_pixel,
        })
    }
}

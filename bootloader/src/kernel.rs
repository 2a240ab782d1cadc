//! The kernel into memory: its segments, its address space, its BootInfo.

use crate::memory::{self, PageTables};
use core::ops::Range;
use spillway_bootinfo::{BootInfo, DIRECT_MAP, KERNEL_BASE, MAX_SEGMENTS, PAGE_SIZE, Segment};
use spillway_bootloader_core::{
    LoaderError, MapError, MemoryMap, direct_map,
    page_tables::{Access, AddressSpace, Features},
};
use spillway_elf::{Flags, LoadPlan, Rules};

/// Where the kernel's segments begin: with 2 MiB the direct map needs 4 KiB pages for few others.
const ALIGNMENT: u64 = 2 << 20;

/// The kernel as it lies in memory.
pub struct Kernel {
    /// Its first instruction.
    pub entry: u64,
    segments: [Segment; MAX_SEGMENTS],
    count: usize,
}

impl Kernel {
    /// Checks the kernel's file and copies its segments, one behind the other, to free memory.
    pub fn load(file: &[u8], map: &mut MemoryMap) -> Result<Self, LoaderError> {
        let rules = Rules {
            addresses: KERNEL_BASE..u64::MAX - (PAGE_SIZE - 1),
            abi_version: None,
        };
        let plan = LoadPlan::parse(file, &rules)?;
        let length = |segment: &spillway_elf::Segment| segment.pages().end - segment.virtual_start;
        let total = plan.segments().iter().map(length).sum();
        let (mut physical_start, mut memory) = memory::allocate(map, total, ALIGNMENT)?;
        let mut kernel = Self {
            entry: plan.entry,
            segments: [Segment::default(); MAX_SEGMENTS],
            count: plan.segments().len(),
        };
        for (loaded, segment) in kernel.segments.iter_mut().zip(plan.segments()) {
            let length = length(segment);
            let (pages, rest) = memory.split_at_mut(length as usize);
            let content = segment.content(file);
            let (head, tail) = pages.split_at_mut(content.len());
            head.copy_from_slice(content);
            tail.fill(0);
            *loaded = Segment {
                virtual_start: segment.virtual_start,
                physical_start,
                length,
                flags: segment.flags.bits(),
            };
            physical_start += length;
            memory = rest;
        }
        Ok(kernel)
    }

    /// The segments, in the order of the file.
    pub fn segments(&self) -> &[Segment] {
        &self.segments[..self.count]
    }

    /// Builds the kernel's address space and returns its top table: the hand-over's identity map,
    /// the direct map, and the segments with their own rights.
    pub fn map(
        &self,
        map: &mut MemoryMap,
        features: Features,
        identity: u64,
    ) -> Result<u64, MapError> {
        let mut read_only: [Range<u64>; MAX_SEGMENTS] = Default::default();
        for (range, segment) in read_only.iter_mut().zip(self.read_only()) {
            *range = segment;
        }
        let regions = map.clone();
        let mut space = AddressSpace::new(PageTables::new(map), features)?;
        space.link(0, identity);
        direct_map::map(&mut space, regions.regions(), &read_only)?;
        for segment in self.segments() {
            let access = Access {
                write: segment.flags & u64::from(Flags::WRITE) != 0,
                execute: segment.flags & u64::from(Flags::EXECUTE) != 0,
            };
            space.map(segment.virtual_start, physical(segment), access)?;
        }
        let root = space.root();
        space.into_tables().finish()?;
        Ok(root)
    }

    /// The physical pages that nobody may write.
    pub fn read_only(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let writable = |segment: &&Segment| segment.flags & u64::from(Flags::WRITE) != 0;
        let segments = self.segments().iter().filter(move |s| !writable(s));
        segments.map(physical)
    }
}

fn physical(segment: &Segment) -> Range<u64> {
    segment.physical_start..segment.physical_start + segment.length
}

/// Takes memory for the BootInfo; returns its address in the direct map, and itself.
pub fn allocate_boot_info(map: &mut MemoryMap) -> Result<(u64, &'static mut BootInfo), MapError> {
    let (start, bytes) = memory::allocate(map, size_of::<BootInfo>() as u64, PAGE_SIZE)?;
    let place = bytes.as_mut_ptr().cast::<BootInfo>();
    // SAFETY: `bytes` is as long as a BootInfo, at a page boundary, and nobody else has it. It
    // is written before the reference is made.
    let info = unsafe {
        place.write(BootInfo::empty());
        &mut *place
    };
    Ok((DIRECT_MAP + start, info))
}

//! The kernel believes a [`BootInfo`] only after this check of every field.

use crate::{
    BootInfo, KERNEL_BASE, MAGIC, MAX_COMMAND_LINE, MAX_MODULES, MAX_REGIONS, MAX_SEGMENTS, Module,
    PAGE_SIZE, Region, RegionKind, Segment, VERSION, image,
};
use core::fmt;

/// What is wrong with a [`BootInfo`]. Numbers without a name are the index of the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootInfoError {
    /// It begins with this instead of [`MAGIC`].
    Magic(u64),
    /// It has this version.
    Version(u32),
    /// It says that it has this size.
    Size(u32),
    /// The top page table is said to be here.
    PageTable(u64),
    /// One of the tables is said to have more entries than there is room for.
    Count {
        /// Which table.
        table: &'static str,
        /// How many entries it is said to have.
        count: u32,
        /// How many there is room for.
        limit: usize,
    },
    /// A region has no known kind.
    RegionKind(usize, u32),
    /// A region does not consist of whole pages, or of none.
    RegionBounds(usize),
    /// A region begins before the end of the one before it.
    RegionOrder(usize),
    /// There is no free RAM.
    NoFreeMemory,
    /// A module's name is empty, not UTF-8 or not padded with zeros.
    ModuleName(usize),
    /// A module has the name of an earlier one.
    ModuleTwice(usize),
    /// A module does not begin at a page.
    ModuleStart(usize),
    /// A module does not lie in a region of kind [`RegionKind::Modules`].
    ModuleOutside(usize),
    /// A segment does not consist of whole pages of the kernel's addresses, or of none.
    SegmentBounds(usize),
    /// A segment does not lie in a region of kind [`RegionKind::Kernel`].
    SegmentOutside(usize),
    /// A segment has unknown flags, or is both writable and executable.
    SegmentFlags(usize, u64),
    /// A segment overlaps an earlier one.
    SegmentOverlap(usize),
    /// The command line is not UTF-8.
    CommandLine,
}

impl fmt::Display for BootInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("boot information: ")?;
        match *self {
            Self::Magic(found) => write!(
                f,
                "it begins with {found:#x} instead of {MAGIC:#x}: the kernel was not started by \
                 its loader"
            ),
            Self::Version(found) => write!(
                f,
                "the loader speaks version {found}, the kernel version {VERSION}: build both from \
                 the same source"
            ),
            Self::Size(found) => write!(
                f,
                "its size is {found} bytes instead of {}: build loader and kernel from the same \
                 source",
                size_of::<BootInfo>()
            ),
            Self::PageTable(found) => {
                write!(f, "the page table at {found:#x} is not at a page boundary")
            }
            Self::Count {
                table,
                count,
                limit,
            } => write!(f, "{count} {table}, there is room for {limit}"),
            Self::RegionKind(i, kind) => write!(f, "region {i} has the unknown kind {kind}"),
            Self::RegionBounds(i) => write!(f, "region {i} does not consist of whole pages"),
            Self::RegionOrder(i) => {
                write!(f, "region {i} begins before the end of the one before it")
            }
            Self::NoFreeMemory => f.write_str("there is no free RAM"),
            Self::ModuleName(i) => {
                write!(f, "the name of module {i} is not UTF-8 padded with zeros")
            }
            Self::ModuleTwice(i) => write!(f, "module {i} has the name of an earlier one"),
            Self::ModuleStart(i) => write!(f, "module {i} does not begin at a page boundary"),
            Self::ModuleOutside(i) => {
                write!(f, "module {i} does not lie in the memory of the boot image")
            }
            Self::SegmentBounds(i) => write!(
                f,
                "segment {i} does not consist of whole pages from {KERNEL_BASE:#x} on"
            ),
            Self::SegmentOutside(i) => {
                write!(f, "segment {i} does not lie in the kernel's memory")
            }
            Self::SegmentFlags(i, flags) => write!(
                f,
                "segment {i} has the flags {flags:#x}: it may be writable or executable, not both"
            ),
            Self::SegmentOverlap(i) => write!(f, "segment {i} overlaps an earlier one"),
            Self::CommandLine => f.write_str("the command line is not UTF-8"),
        }
    }
}

impl core::error::Error for BootInfoError {}

impl BootInfo {
    /// Checks everything that can be checked without looking at other memory. After `Ok` the
    /// regions are whole pages in ascending order without overlap, the modules lie in `Modules`
    /// regions and the segments in `Kernel` regions. It does not prove that the map is true.
    pub fn validate(&self) -> Result<(), BootInfoError> {
        self.validate_header()?;
        validate_regions(self.regions())?;
        for i in 0..self.modules().len() {
            validate_module(i, self.modules(), self.regions())?;
        }
        for i in 0..self.segments().len() {
            validate_segment(i, self.segments(), self.regions())?;
        }
        let command_line = &self.command_line[..self.command_line_length as usize];
        core::str::from_utf8(command_line).map_err(|_| BootInfoError::CommandLine)?;
        Ok(())
    }

    fn validate_header(&self) -> Result<(), BootInfoError> {
        if self.magic != MAGIC {
            return Err(BootInfoError::Magic(self.magic));
        }
        if self.version != VERSION {
            return Err(BootInfoError::Version(self.version));
        }
        if self.size as usize != size_of::<Self>() {
            return Err(BootInfoError::Size(self.size));
        }
        if self.page_table == 0 || !is_page(self.page_table) {
            return Err(BootInfoError::PageTable(self.page_table));
        }
        for (table, count, limit) in [
            ("regions", self.region_count, MAX_REGIONS),
            ("modules", self.module_count, MAX_MODULES),
            ("segments", self.segment_count, MAX_SEGMENTS),
            (
                "bytes of command line",
                self.command_line_length,
                MAX_COMMAND_LINE,
            ),
        ] {
            if count as usize > limit {
                return Err(BootInfoError::Count {
                    table,
                    count,
                    limit,
                });
            }
        }
        Ok(())
    }
}

const fn is_page(address: u64) -> bool {
    address.is_multiple_of(PAGE_SIZE)
}

fn validate_regions(regions: &[Region]) -> Result<(), BootInfoError> {
    let mut previous_end = 0;
    for (i, region) in regions.iter().enumerate() {
        if RegionKind::from_raw(region.kind).is_none() {
            return Err(BootInfoError::RegionKind(i, region.kind));
        }
        if !is_page(region.start) || !is_page(region.end) || region.start >= region.end {
            return Err(BootInfoError::RegionBounds(i));
        }
        if region.start < previous_end {
            return Err(BootInfoError::RegionOrder(i));
        }
        previous_end = region.end;
    }
    if !regions
        .iter()
        .any(|region| region.region_kind() == RegionKind::Free)
    {
        return Err(BootInfoError::NoFreeMemory);
    }
    Ok(())
}

/// Whether one region of this kind holds the whole range.
fn lies_in(regions: &[Region], kind: RegionKind, start: u64, length: u64) -> bool {
    let Some(end) = start.checked_add(length) else {
        return false;
    };
    regions
        .iter()
        .any(|region| region.region_kind() == kind && region.start <= start && end <= region.end)
}

fn validate_module(i: usize, all: &[Module], regions: &[Region]) -> Result<(), BootInfoError> {
    let module = &all[i];
    let name = image::text(&module.name).ok_or(BootInfoError::ModuleName(i))?;
    if all[..i].iter().any(|earlier| earlier.name() == name) {
        return Err(BootInfoError::ModuleTwice(i));
    }
    if !is_page(module.start) {
        return Err(BootInfoError::ModuleStart(i));
    }
    if !lies_in(regions, RegionKind::Modules, module.start, module.length) {
        return Err(BootInfoError::ModuleOutside(i));
    }
    Ok(())
}

fn validate_segment(i: usize, all: &[Segment], regions: &[Region]) -> Result<(), BootInfoError> {
    const EXECUTE: u64 = 1;
    const WRITE: u64 = 2;
    let segment = &all[i];
    let end = segment.virtual_start.checked_add(segment.length);
    let whole = [
        segment.virtual_start,
        segment.physical_start,
        segment.length,
    ]
    .into_iter()
    .all(is_page);
    if !whole || segment.length == 0 || segment.virtual_start < KERNEL_BASE || end.is_none() {
        return Err(BootInfoError::SegmentBounds(i));
    }
    if !lies_in(
        regions,
        RegionKind::Kernel,
        segment.physical_start,
        segment.length,
    ) {
        return Err(BootInfoError::SegmentOutside(i));
    }
    if segment.flags > 7 || segment.flags & (EXECUTE | WRITE) == EXECUTE | WRITE {
        return Err(BootInfoError::SegmentFlags(i, segment.flags));
    }
    let overlaps = |a: u64, b: u64, other: u64, other_length: u64| {
        a < other.saturating_add(other_length) && other < a.saturating_add(b)
    };
    if all[..i].iter().any(|earlier| {
        overlaps(
            segment.virtual_start,
            segment.length,
            earlier.virtual_start,
            earlier.length,
        ) || overlaps(
            segment.physical_start,
            segment.length,
            earlier.physical_start,
            earlier.length,
        )
    }) {
        return Err(BootInfoError::SegmentOverlap(i));
    }
    Ok(())
}

//! The hand-over from the loader to the kernel ([`BootInfo`]), and the boot image that carries
//! the kernel, the manifest and the programs ([`image`]).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "alloc"))]
extern crate alloc;

pub mod image;
#[cfg(test)]
mod tests;
mod validate;

pub use validate::BootInfoError;

/// "SPILLWAY", the first word of a [`BootInfo`].
pub const MAGIC: u64 = u64::from_le_bytes(*b"SPILLWAY");
/// The version of this layout. Loader and kernel must have the same.
pub const VERSION: u32 = 1;

/// Entries in the memory map.
pub const MAX_REGIONS: usize = 128;
/// Modules, the kernel's own file included.
pub const MAX_MODULES: usize = 64;
/// Bytes of command line.
pub const MAX_COMMAND_LINE: usize = 1024;
/// Bytes of a module's name.
pub const MODULE_NAME_LENGTH: usize = 48;
/// Loadable segments of the kernel.
pub const MAX_SEGMENTS: usize = 8;

/// Bytes in a page; everything that is handed over begins at a multiple of it.
pub const PAGE_SIZE: u64 = 4096;
/// The least RAM that the loader starts the kernel with, in bytes.
pub const MIN_MEMORY: u64 = 64 << 20;
/// The most RAM that is handed over, in bytes; more is left alone, with a warning.
pub const MAX_MEMORY: u64 = 64 << 30;

/// Where all RAM appears in the kernel's half of every address space: physical address 0 is here.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// Where the kernel is linked.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

/// What a part of physical memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RegionKind {
    /// RAM that nobody uses.
    Free = 1,
    /// RAM that holds the loader and what it read from; free once the kernel has copied it.
    Loader = 2,
    /// The kernel's segments, the page tables that the loader built, and the BootInfo. Stays.
    Kernel = 3,
    /// The boot image with the modules. Stays.
    Modules = 4,
    /// ACPI tables.
    Acpi = 5,
    /// Anything else; not to be touched.
    Reserved = 6,
}

impl RegionKind {
    /// The kind with this number, if there is one.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            1 => Self::Free,
            2 => Self::Loader,
            3 => Self::Kernel,
            4 => Self::Modules,
            5 => Self::Acpi,
            6 => Self::Reserved,
            _ => return None,
        })
    }
}

/// A part of physical memory: `start..end`, whole pages, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Region {
    /// First byte; a multiple of 4 KiB.
    pub start: u64,
    /// One past the last byte; a multiple of 4 KiB.
    pub end: u64,
    /// A [`RegionKind`].
    pub kind: u32,
    /// 0.
    pub reserved: u32,
}

/// A file of the boot image, by its physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Module {
    /// UTF-8, padded with zeros.
    pub name: [u8; MODULE_NAME_LENGTH],
    /// First byte; a multiple of 4 KiB. The last page is filled up with zeros.
    pub start: u64,
    /// Bytes of content.
    pub length: u64,
}

/// A segment of the kernel as it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// Where it is mapped; a multiple of 4 KiB.
    pub virtual_start: u64,
    /// Where it lies; a multiple of 4 KiB.
    pub physical_start: u64,
    /// Bytes, a multiple of 4 KiB.
    pub length: u64,
    /// ELF `p_flags`: 1 execute, 2 write, 4 read.
    pub flags: u64,
}

/// A frame buffer; all zeros if there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FrameBuffer {
    /// Physical address of the first pixel.
    pub start: u64,
    /// Bytes from one line to the next.
    pub pitch: u32,
    /// Pixels in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Bits per pixel; 32 or 24, blue in the lowest byte.
    pub bits_per_pixel: u32,
}

/// Everything that the kernel is told. Lies in the direct map; its address is in `rdi` at the
/// kernel's entry.
///
/// At the entry the processor is in 64-bit mode with interrupts off, `cr3` has the loader's
/// tables: the low 4 GiB identity-mapped for the hand-over (executable only in the loader's
/// 2 MiB, read-only where the kernel's text and read-only data lie), all RAM and the ACPI tables
/// at [`DIRECT_MAP`] (not executable; the kernel's text and read-only data are read-only there
/// too), and the kernel's segments at their addresses with their own permissions.
/// `EFER.NXE`, `CR0.WP` and `CR4.PGE` are on where the processor has them. The stack is the
/// loader's, as at any function's first instruction.
///
/// The stack, the segment descriptors and the tables of the identity map lie in the region of
/// kind [`RegionKind::Loader`]: it is free once the kernel has its own, and has cleared the first
/// entry of the top table.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BootInfo {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// `size_of::<BootInfo>()`.
    pub size: u32,
    /// The physical address of the top page table that is in `cr3`.
    pub page_table: u64,
    /// The physical address of the RSDT or XSDT; 0 if the machine has no ACPI.
    pub acpi_root: u64,
    /// The revision in the RSDP: 0 means that `acpi_root` is an RSDT, 2 or more an XSDT.
    pub acpi_revision: u32,
    /// Entries of `regions` that are in use.
    pub region_count: u32,
    /// Entries of `modules` that are in use.
    pub module_count: u32,
    /// Entries of `segments` that are in use.
    pub segment_count: u32,
    /// Bytes of `command_line` that are in use.
    pub command_line_length: u32,
    /// 0.
    pub reserved: u32,
    /// The time-stamp counter at the loader's first instruction in 64-bit mode.
    pub loader_entry_tsc: u64,
    /// Sorted by address, without overlap.
    pub regions: [Region; MAX_REGIONS],
    /// The kernel's own file (`kernel`), the manifest (`manifest`) and the programs.
    pub modules: [Module; MAX_MODULES],
    /// The kernel's segments.
    pub segments: [Segment; MAX_SEGMENTS],
    /// Where text can be shown.
    pub frame_buffer: FrameBuffer,
    /// UTF-8, words separated by spaces.
    pub command_line: [u8; MAX_COMMAND_LINE],
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Region>() == 24);
    assert!(size_of::<Module>() == 64);
    assert!(size_of::<Segment>() == 32);
    assert!(size_of::<FrameBuffer>() == 24);
    assert!(offset_of!(BootInfo, page_table) == 16);
    assert!(offset_of!(BootInfo, acpi_root) == 24);
    assert!(offset_of!(BootInfo, region_count) == 36);
    assert!(offset_of!(BootInfo, loader_entry_tsc) == 56);
    assert!(offset_of!(BootInfo, regions) == 64);
    assert!(offset_of!(BootInfo, modules) == 3136);
    assert!(offset_of!(BootInfo, segments) == 7232);
    assert!(offset_of!(BootInfo, frame_buffer) == 7488);
    assert!(offset_of!(BootInfo, command_line) == 7512);
    assert!(size_of::<BootInfo>() == 8536);
};

impl Region {
    /// What the region is for. A number that is no kind counts as [`RegionKind::Reserved`].
    pub const fn region_kind(&self) -> RegionKind {
        match RegionKind::from_raw(self.kind) {
            Some(kind) => kind,
            None => RegionKind::Reserved,
        }
    }

    /// Bytes from start to end.
    pub const fn length(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

impl Module {
    /// An entry that is not in use.
    pub const EMPTY: Self = Self {
        name: [0; MODULE_NAME_LENGTH],
        start: 0,
        length: 0,
    };

    /// The name without its padding; empty if it is not UTF-8.
    pub fn name(&self) -> &str {
        image::text(&self.name).unwrap_or("")
    }
}

/// Reading a [`BootInfo`]. Nothing here panics, whatever it holds; what it says can be believed
/// after [`BootInfo::validate`].
impl BootInfo {
    /// One that says nothing, with [`MAGIC`], [`VERSION`] and its size filled in.
    pub const fn empty() -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            size: size_of::<Self>() as u32,
            page_table: 0,
            acpi_root: 0,
            acpi_revision: 0,
            region_count: 0,
            module_count: 0,
            segment_count: 0,
            command_line_length: 0,
            reserved: 0,
            loader_entry_tsc: 0,
            regions: [Region {
                start: 0,
                end: 0,
                kind: 0,
                reserved: 0,
            }; MAX_REGIONS],
            modules: [Module::EMPTY; MAX_MODULES],
            segments: [Segment {
                virtual_start: 0,
                physical_start: 0,
                length: 0,
                flags: 0,
            }; MAX_SEGMENTS],
            frame_buffer: FrameBuffer {
                start: 0,
                pitch: 0,
                width: 0,
                height: 0,
                bits_per_pixel: 0,
            },
            command_line: [0; MAX_COMMAND_LINE],
        }
    }

    /// The memory map.
    pub fn regions(&self) -> &[Region] {
        used(&self.regions, self.region_count)
    }

    /// The files of the boot image.
    pub fn modules(&self) -> &[Module] {
        used(&self.modules, self.module_count)
    }

    /// The file of the boot image with this name.
    pub fn module(&self, name: &str) -> Option<&Module> {
        self.modules().iter().find(|module| module.name() == name)
    }

    /// The kernel's segments.
    pub fn segments(&self) -> &[Segment] {
        used(&self.segments, self.segment_count)
    }

    /// The command line; empty if it is not UTF-8.
    pub fn command_line(&self) -> &str {
        let bytes = used(&self.command_line, self.command_line_length);
        core::str::from_utf8(bytes).unwrap_or("")
    }
}

/// The first `count` entries, or none if there are not that many.
fn used<T>(all: &[T], count: u32) -> &[T] {
    all.get(..count as usize).unwrap_or(&[])
}

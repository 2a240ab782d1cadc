//! The hand-over from the loader to the kernel ([`BootInfo`]), and the boot image that carries
//! the kernel, the manifest and the programs ([`image`]).
#![no_std]
#![forbid(unsafe_code)]

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
/// tables: the low 4 GiB identity-mapped for the hand-over, all RAM and the ACPI tables at
/// [`DIRECT_MAP`] (not executable; the kernel's text and read-only data are read-only there too),
/// and the kernel's segments at their addresses with their own permissions.
/// `EFER.NXE`, `CR0.WP` and `CR4.PGE` are on where the processor has them. The stack is the loader's.
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

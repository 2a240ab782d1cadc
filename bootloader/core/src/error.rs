//! Why the loader gives up, each as one line.

use crate::MapError;
use core::fmt;
use spillway_bootinfo::{BootInfoError, MAX_COMMAND_LINE, MIN_MEMORY, image::ImageError};
use spillway_elf::ElfError;

/// Why the kernel is not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoaderError {
    /// Neither PVH nor Multiboot2 started the loader; `eax` was this.
    Protocol(u32),
    /// The structure that the protocol hands over cannot be read.
    BootData(&'static str),
    /// The command line has this many bytes.
    CommandLineLength(usize),
    /// The command line is not UTF-8.
    CommandLineText,
    /// There are this many usable bytes of RAM.
    TooLittleRam(u64),
    /// The memory map cannot be made, or memory ran out.
    Memory(MapError),
    /// There is no boot image.
    NoImage,
    /// The boot image, which begins here, is not where it can be used.
    ImagePlace(u64),
    /// The boot image is malformed.
    Image(ImageError),
    /// The boot image has no file of this name.
    NoEntry(&'static str),
    /// The kernel's file cannot be loaded.
    Kernel(ElfError),
    /// The loader made a hand-over that the kernel would refuse.
    BootInfo(BootInfoError),
}

impl fmt::Display for LoaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(eax) => write!(
                f,
                "not started by PVH or Multiboot2 (eax is {eax:#x}): use a hypervisor's direct \
                 kernel boot, or GRUB's multiboot2"
            ),
            Self::BootData(protocol) => write!(
                f,
                "the boot data from {protocol} is malformed or has no memory map"
            ),
            Self::CommandLineLength(found) => write!(
                f,
                "the command line has {found} bytes or more, at most {MAX_COMMAND_LINE} are \
                 possible"
            ),
            Self::CommandLineText => f.write_str("the command line is not UTF-8"),
            Self::TooLittleRam(found) => write!(
                f,
                "too little RAM: {} MiB are usable, Spillway needs at least {} MiB",
                found >> 20,
                MIN_MEMORY >> 20
            ),
            Self::Memory(error) => error.fmt(f),
            Self::NoImage => f.write_str(
                "no boot image: give it as the first module (QEMU: -initrd, GRUB: module2)",
            ),
            Self::ImagePlace(start) => write!(
                f,
                "the boot image at {start:#x} must lie in RAM below 4 GiB and begin at a page \
                 boundary"
            ),
            Self::Image(error) => error.fmt(f),
            Self::NoEntry(name) => write!(f, "the boot image has no file named `{name}`"),
            Self::Kernel(error) => write!(f, "the kernel cannot be loaded: {error}"),
            Self::BootInfo(error) => write!(f, "the loader made wrong {error}"),
        }
    }
}

impl core::error::Error for LoaderError {}

impl From<MapError> for LoaderError {
    fn from(error: MapError) -> Self {
        Self::Memory(error)
    }
}

impl From<ImageError> for LoaderError {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

impl From<ElfError> for LoaderError {
    fn from(error: ElfError) -> Self {
        Self::Kernel(error)
    }
}

impl From<BootInfoError> for LoaderError {
    fn from(error: BootInfoError) -> Self {
        Self::BootInfo(error)
    }
}

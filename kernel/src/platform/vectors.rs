//! Which interrupt vector is for what.
//!
//! The local interrupt controller takes the upper four bits as the priority (Intel SDM volume 3,
//! section 11.8.3): devices are below the kernel's own interrupts.

/// The first vector for devices …
pub const FIRST_DEVICE: u8 = 0x30;
/// … and the last.
pub const LAST_DEVICE: u8 = 0xef;
/// The timer of a core.
pub const TIMER: u8 = 0xf0;
/// Another core made a thread ready here.
pub const RESCHEDULE: u8 = 0xf1;
/// Another core took a mapping away.
pub const SHOOTDOWN: u8 = 0xf2;
/// An IOMMU blocked something.
pub const IOMMU_FAULT: u8 = 0xf3;
/// The interrupt controller changed its mind. Needs no end of interrupt.
pub const SPURIOUS: u8 = 0xff;

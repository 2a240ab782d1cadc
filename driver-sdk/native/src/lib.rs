//! The hardware that this process was granted, as drivers see it: the traits of `spillway-hal` on
//! the kernel's objects.
//!
//! ```ignore
//! use spillway_native::Function;
//!
//! let disk = Function::named("disk").ok_or("the manifest grants no device `disk`")?;
//! ```
//!
//! | trait | type | what it holds |
//! |---|---|---|
//! | `Device` | [`Function`] | the handle of the PCI function |
//! | `Registers` | [`Registers`] | a mapping of a BAR |
//! | `DmaMemory` | [`DmaMemory`] | a mapping of memory and a pin of it |
//! | `Interrupt` | [`Interrupt`] | the handle of a vector |
//! | `Clock` | [`Clock`] | nothing |
//!
//! The system is asked only when one of these is made or dropped, or sleeps. A register access is
//! one check and one instruction, and so is a load or store of DMA memory.
//!
//! # What confines the device
//!
//! With an IOMMU the device reaches pinned memory only, in the pinned direction. Without one, under
//! `dma=trust`, nothing but the driver's care keeps it there.
//!
//! # The unsafe code
//!
//! A driver forbids it; what it needs is here, in three places: [`Registers`] and [`DmaMemory`]
//! access a mapping that they own, after a check against its length.
#![no_std]

extern crate alloc;

mod clock;
mod dma;
mod error;
mod function;
mod interrupt;
mod registers;

pub use clock::Clock;
pub use dma::DmaMemory;
pub use function::Function;
pub use interrupt::Interrupt;
pub use registers::Registers;

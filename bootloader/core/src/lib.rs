//! The loader's decisions, without its hardware: what was handed over, which memory is what, and
//! what the page tables say. All of it runs, and is tested, on the host.
//!
//! Memory is reached through two small traits, [`Physical`] for reading what firmware left and
//! [`page_tables::Tables`] for writing page tables; the loader implements them on real memory.
#![no_std]
#![forbid(unsafe_code)]

pub mod acpi;
pub mod direct_map;
mod error;
mod handover;
mod memory_map;
pub mod page_tables;
pub mod physical;
pub mod pvh;
#[cfg(test)]
mod testing;

pub use error::LoaderError;
pub use handover::{Handover, MemoryKind, MemoryRange, RamSummary};
pub use memory_map::{MapError, MemoryMap};
pub use physical::Physical;

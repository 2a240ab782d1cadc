//! A checked load plan for ELF files: what may be mapped, where, with which rights.
//!
//! The loader (for the kernel), the kernel (for `init`), programs that start programs and the
//! host's tools all load through [`LoadPlan::parse`]. A plan in hand proves that its segments are
//! whole pages inside the permitted addresses, do not overlap, lie inside the file and are never
//! both writable and executable, and that the entry is in one of them. It says nothing about
//! what the code does.
#![no_std]
#![forbid(unsafe_code)]

mod error;
mod file;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
mod note;
mod plan;
pub mod symbols;
#[cfg(test)]
mod tests;

pub use error::ElfError;
pub use plan::{Flags, LoadPlan, MAX_SEGMENTS, PAGE_SIZE, Rules, Segment};

//! Intel Virtualization Technology for Directed I/O ("VT-d").
//!
//! Section numbers in this folder are of its architecture specification, revision 4.1.

pub mod capabilities;
pub mod dmar;
pub mod entries;
pub mod fault_record;
pub mod invalidation;
pub mod members;
pub mod second_level;

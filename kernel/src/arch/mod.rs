//! What the processor is: entries from programs, saved contexts, per-core data, page flushes.

pub mod context;
pub mod core_data;
pub mod cpu;
pub mod entry;
pub mod go_on;
pub mod halt;
pub mod segments;
pub mod shootdown;
pub mod traps;
pub mod user_copy;

pub use core_data::{Core, core, core_index, of};

/// Makes this core ready for programs: segments, traps, system calls, features.
///
/// Called once on each core, with interrupts off, before anything else that may trap.
pub fn init_core(index: usize) {
    core_data::install(index);
    segments::load(core());
    traps::load();
    cpu::enable_features();
    entry::enable_system_calls(index);
}

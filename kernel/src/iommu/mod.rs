//! What devices may reach: DMA and interrupt remapping.
//!
//! Callers name functions and domains; which hardware does it stays in here. Intel's is in
//! [`vtd`]; AMD's would be its sibling. `docs/iommu.md` says how it is built and what it does not
//! cover.
//!
//! From [`init`] on every function is blocked: its memory accesses and its interrupts. A
//! [`Domain`] lets one reach what is mapped in it, and [`interrupt_allocate`] lets one send one
//! message.

mod reports;
mod routing;
mod vtd;

use core::ops::Range;

use spillway_abi::Error;
use spillway_bootinfo::BootInfo;
use spillway_kernel_core::pci::FunctionId;

pub use reports::{on_fault_interrupt, on_timer};
pub use vtd::Domain;

use crate::pci::messages::Message;

/// Finds the IOMMU, blocks everything and switches it on. Once, at boot on the first core, when
/// the PCI functions are known. Says whether there is one and it works: all units with DMA and
/// interrupt remapping. If not, nothing is remapped and a line of the log says why.
pub fn init(boot: &BootInfo) -> bool {
    vtd::init(boot)
}

/// Whether every function is confined.
pub fn is_on() -> bool {
    !vtd::units().is_empty()
}

/// Whether a unit's registers are in a range of physical addresses: nobody else's can be there.
pub fn has_registers_in(range: &Range<u64>) -> bool {
    vtd::units().iter().any(|unit| unit.has_registers_in(range))
}

/// Whether a function can be granted. [`Error::Refused`] if the firmware shares memory with it,
/// which no domain has: it may be at work with the function behind the owner's back.
pub fn check_grant(function: FunctionId) -> Result<(), Error> {
    if vtd::is_shared_with_firmware(function) {
        Err(Error::Refused)
    } else {
        Ok(())
    }
}

/// Lets a function send one message: to a vector of a core, by the number of the core's interrupt
/// controller. Returns what to program into the function, and the entry for [`interrupt_free`].
///
/// [`Error::NoIommu`] without one; [`Error::NotFound`] if no unit looks after the function;
/// [`Error::BadArgument`] if the core cannot be reached; [`Error::LimitReached`] if all entries
/// are in use; [`Error::TimedOut`] if the hardware does not answer.
pub fn interrupt_allocate(
    function: FunctionId,
    vector: u8,
    apic_id: u32,
) -> Result<(Message, u16), Error> {
    vtd::unit_of(function)?.allocate_interrupt(function, vector, apic_id)
}

/// Blocks the message again. When this returns none is on its way, unless the hardware hangs: the
/// error is [`Error::TimedOut`] then, and the entry is never used again.
pub fn interrupt_free(function: FunctionId, entry: u16) -> Result<(), Error> {
    vtd::unit_of(function)?.free_interrupt(entry)
}

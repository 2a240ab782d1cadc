//! PCI functions: found at boot, granted to processes, taken back.
//!
//! The list is made once and never changes; what changes is each function's state, under the
//! kernel lock. What a process gets is in [`crate::object::grant`].

mod config;
mod enumerate;
pub mod function;
pub mod messages;
pub mod reset;

use alloc::vec::Vec;
use spillway_kernel_core::pci::{FunctionId, name::Selector};
use spin::Once;

pub use function::{Function, State};

use crate::{kernel::Kernel, platform::acpi::Machine};

static FUNCTIONS: Once<Vec<Function>> = Once::new();

/// Finds the functions. Once, at boot.
pub fn init(machine: &Machine) {
    let functions = FUNCTIONS.call_once(|| enumerate::functions(machine));
    log::info!("{} PCI functions", functions.len());
    for function in functions {
        log::debug!("PCI {function}");
    }
}

/// All functions, by address.
pub fn functions() -> &'static [Function] {
    FUNCTIONS.get().map_or(&[], Vec::as_slice)
}

/// The function that a name asks for.
pub fn find(selector: Selector) -> Option<&'static Function> {
    let all = functions().iter();
    match selector {
        Selector::Address(id) => all.into_iter().find(|function| function.id == id),
        Selector::Class { code, nth } => all
            .filter(|function| function.class_code() >> 8 == code)
            .nth(nth as usize),
        Selector::Identity {
            vendor,
            device,
            nth,
        } => all
            .filter(|function| (function.vendor, function.device) == (vendor, device))
            .nth(nth as usize),
    }
}

/// Whether another function of the same isolation group belongs to somebody else than `owner`, or
/// is on its way back.
pub fn group_is_taken(kernel: &Kernel, function: &Function, owner: u64) -> bool {
    functions()
        .iter()
        .filter(|other| other.group == function.group && other.id != function.id)
        .any(|other| match other.state.get(kernel) {
            State::Free | State::Bridge => false,
            State::Owned(by) => *by != owner,
            State::Revoking | State::Blocked => true,
        })
}

/// Whether a function is a bridge between PCI buses, from its header type (PCI Local Bus
/// Specification 3.0, section 6.1).
pub fn is_bridge(function: &Function) -> bool {
    function.config.read::<u8>(0x0e) & 0x7f == 1
}

/// The process that has a function.
pub fn owner(kernel: &Kernel, function: FunctionId) -> Option<u64> {
    match find(Selector::Address(function))?.state.get(kernel) {
        State::Owned(process) => Some(*process),
        _ => None,
    }
}

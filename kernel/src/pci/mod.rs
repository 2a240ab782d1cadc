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
use core::ops::Range;

use raw_cpuid::CpuId;
use spillway_abi::Error;
use spillway_bootinfo::BootInfo;
use spillway_kernel_core::pci::{FunctionId, name::Selector};
use spin::Once;

pub use function::{Function, State};

use crate::{kernel::Kernel, platform::acpi::Machine};

static FUNCTIONS: Once<Vec<Function>> = Once::new();

/// What the firmware says of physical memory.
static BOOT: Once<&'static BootInfo> = Once::new();

/// Where configuration space is.
static CONFIGURATION: Once<Vec<Range<u64>>> = Once::new();

/// Where interrupt controllers, timers and IOMMUs of PCs are: no function's registers are believed
/// to be here (Intel SDM vol. 3, 11.4.1; ICH9 datasheet, 9.4).
const PLATFORM: Range<u64> = 0xfec0_0000..0x1_0000_0000;

/// Finds the functions. Once, at boot.
pub fn init(machine: &Machine, boot: &'static BootInfo) {
    BOOT.call_once(|| boot);
    CONFIGURATION.call_once(|| machine.pci.iter().map(|range| range.addresses()).collect());
    let functions = FUNCTIONS.call_once(|| enumerate::functions(machine));
    log::info!("{} PCI functions", functions.len());
    for function in functions {
        log::debug!("PCI {function}");
    }
}

/// Whether a function's registers can be at these physical addresses. What a BAR says is not
/// believed where there is RAM or anything else that the firmware names, where the platform has its
/// own registers, in configuration space, or beyond what the processor can address.
fn may_be_registers(start: u64, end: u64) -> bool {
    let overlaps = |from: u64, to: u64| start < to && from < end;
    let configuration = CONFIGURATION.get().into_iter().flatten();
    let bits = CpuId::new().get_processor_capacity_feature_info();
    let limit = 1u64 << bits.map_or(36, |info| info.physical_address_bits().min(52));
    let known = BOOT.get().map_or(&[][..], |boot| boot.regions());
    end <= limit
        && !overlaps(PLATFORM.start, PLATFORM.end)
        && !configuration
            .into_iter()
            .any(|range| overlaps(range.start, range.end))
        && !known
            .iter()
            .any(|region| overlaps(region.start, region.end))
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

/// Whether a process can have a function beside the others of its isolation group.
/// [`Error::Busy`] if one of them belongs to somebody else or is on its way back,
/// [`Error::DeviceFailed`] if one could not be reset.
pub fn check_group(kernel: &Kernel, function: &Function, owner: u64) -> Result<(), Error> {
    let group = functions()
        .iter()
        .filter(|other| other.group == function.group);
    for other in group.filter(|other| other.id != function.id) {
        match other.state.get(kernel) {
            State::Free | State::Bridge => {}
            State::Owned(by) if *by == owner => {}
            State::Owned(_) | State::Revoking => return Err(Error::Busy),
            State::Blocked => return Err(Error::DeviceFailed),
        }
    }
    Ok(())
}

/// The bridge right before a function's bus; `None` on a root bus.
fn bridge_to(function: FunctionId) -> Option<&'static Function> {
    functions().iter().find(|bridge| {
        bridge.id.segment == function.segment
            && bridge.buses.is_some_and(|(first, _)| first == function.bus)
    })
}

/// The process that has a function.
pub fn owner(kernel: &Kernel, function: FunctionId) -> Option<u64> {
    match find(Selector::Address(function))?.state.get(kernel) {
        State::Owned(process) => Some(*process),
        _ => None,
    }
}

//! Intel Virtualization Technology for Directed I/O. Section numbers in this folder are of its
//! architecture specification, revision 4.1.
//!
//! A machine has one or more remapping units, each with the functions that the ACPI table DMAR
//! names. All of a unit's state but its domains' page tables is behind one lock, which comes
//! between the kernel lock and the frames.

mod domain;
mod faults;
mod interrupts;
mod queue;
mod registers;
mod shared;
mod unit;

use alloc::vec::Vec;
use spillway_abi::Error;
use spillway_bootinfo::BootInfo;
use spillway_kernel_core::{
    iommu::{
        fault::Fault,
        vtd::{
            dmar::{Dmar, Reserved, UnitDescription},
            members::{Buses, Members, SharedWithFirmware},
        },
    },
    pci::{FunctionId, name::Selector},
};
use spin::Once;

pub use domain::Domain;
pub use unit::Unit;

use crate::{pci, platform::tables::Tables};

static UNITS: Once<Vec<Unit>> = Once::new();

/// What the firmware keeps for itself.
static SHARED: Once<SharedWithFirmware> = Once::new();

/// Whether firmware shares memory with a function.
pub fn is_shared_with_firmware(function: FunctionId) -> bool {
    SHARED.get().is_some_and(|shared| shared.names(function))
}

/// The units that remap; none if there is no IOMMU or it is not used.
pub fn units() -> &'static [Unit] {
    UNITS.get().map_or(&[], Vec::as_slice)
}

/// The unit that looks after a function. [`Error::NoIommu`], [`Error::NotFound`].
pub fn unit_of(function: FunctionId) -> Result<&'static Unit, Error> {
    let units = units();
    if units.is_empty() {
        return Err(Error::NoIommu);
    }
    let owner = Members::owner(function, units.iter().map(|unit| &unit.members));
    owner.map(|index| &units[index]).ok_or(Error::NotFound)
}

/// See [`super::init`].
pub fn init(boot: &BootInfo) -> bool {
    match start(boot) {
        Ok(units) => {
            UNITS.call_once(|| units);
            true
        }
        Err(reason) => {
            log::info!("no IOMMU: {reason}");
            false
        }
    }
}

fn start(boot: &BootInfo) -> Result<Vec<Unit>, &'static str> {
    let dmar = read_table(boot)?;
    let mut units = Vec::new();
    for description in &dmar.units {
        units.push(find_unit(description)?);
    }
    dmar.reserved.iter().for_each(describe_reserved);
    if dmar.ignored > 0 {
        log::debug!("ACPI DMAR: {} other structures ignored", dmar.ignored);
    }
    // One unit that does not block its functions would make the others worthless.
    for index in 0..units.len() {
        if let Err(reason) = units[index].start() {
            units[..=index].iter().for_each(Unit::stop);
            return Err(reason);
        }
    }
    let shared = SharedWithFirmware::new(&dmar.reserved, buses_behind);
    for function in pci::functions() {
        if shared.names(function.id) {
            log::warn!("{} is granted to nobody: the firmware uses it", function.id);
        }
    }
    SHARED.call_once(|| shared);
    Ok(units)
}

fn read_table(boot: &BootInfo) -> Result<Dmar, &'static str> {
    let tables = Tables::open(boot)?;
    let table = tables
        .find(acpi::sdt::Signature::DMAR)
        .ok_or("the machine has no ACPI DMAR table")?;
    let dmar = Dmar::parse(table).map_err(|error| {
        log::warn!("the ACPI DMAR table is wrong: {error}");
        "the ACPI DMAR table is wrong"
    })?;
    if dmar.units.is_empty() {
        Err("the ACPI DMAR table has no remapping unit")
    } else if !dmar.remaps_interrupts {
        Err("the machine does not remap interrupts")
    } else {
        Ok(dmar)
    }
}

fn find_unit(description: &UnitDescription) -> Result<Unit, &'static str> {
    let members = Members::new(description, buses_behind);
    if members.lost > 0 {
        log::warn!(
            "the IOMMU at {:#x} names {} functions that are not there",
            description.registers,
            members.lost
        );
    }
    Unit::new(description, members)
}

/// The buses behind a bridge.
fn buses_behind(bridge: FunctionId) -> Option<Buses> {
    let (secondary, subordinate) = pci::find(Selector::Address(bridge))?.buses?;
    Some(Buses {
        secondary,
        subordinate,
    })
}

/// Firmware shares this memory with devices, for instance to make a USB keyboard look like an old
/// one. They lose it, and are not granted.
fn describe_reserved(reserved: &Reserved) {
    log::info!(
        "the firmware's devices lose their memory at {:#x} to {:#x} ({} of them, segment {})",
        reserved.start,
        reserved.last,
        reserved.scopes.len(),
        reserved.segment
    );
}

/// Takes what the hardware recorded of blocked requests and calls back for each. Returns whether
/// some were lost because it had no room. At most as many as there are records at once.
pub fn take_faults(mut report: impl FnMut(Fault)) -> bool {
    let mut has_lost = false;
    for unit in units() {
        for _ in 0..unit.capabilities.fault_record_count() {
            // The unit's lock is not held while the report is made.
            match unit.take_fault() {
                Some(fault) => report(fault),
                None => break,
            }
        }
        has_lost |= unit.take_overflow();
    }
    has_lost
}

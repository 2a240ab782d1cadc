//! The devices of the machine that the tests run on.

use alloc::{format, string::String, vec::Vec};
use core::mem::ManuallyDrop;

use driver_sdk::{
    abi::{
        counters::Counter,
        device::{DeviceEntry, FunctionState, PIN_FROM_DEVICE, PIN_TO_DEVICE, PinArguments},
        startup as names,
    },
    prelude::*,
};
use guest_harness::harness::Outcome;

/// An NVMe controller (PCI Code and ID Assignment 1.11, 1.2).
pub const DISK: &str = "class:010802";
/// Vendor and device of the teaching device.
pub const EDU: (u16, u16) = (0x1234, 0x11e8);

/// Vendor and device of a modern virtio entropy source (virtio 1.2, 4.1.2 and 5).
const TWIN: (u16, u16) = (0x1af4, 0x1044);

/// The table of functions.
pub fn devices() -> ManuallyDrop<Devices> {
    object(names::DEVICES).expect("the manifest grants `devices`")
}

/// What the table says.
pub fn entries() -> Outcome<Vec<DeviceEntry>> {
    Ok(devices().list()?)
}

/// The name of a function by its address.
pub fn name_of(entry: &DeviceEntry) -> String {
    let DeviceEntry { address, .. } = entry;
    let (segment, bus) = (address >> 16, address >> 8 & 0xff);
    let (device, function) = (address >> 3 & 0x1f, address & 7);
    format!("pci:{segment:04x}:{bus:02x}:{device:02x}.{function}")
}

/// The first function for which the condition holds.
pub fn find(what: &str, condition: impl Fn(&DeviceEntry) -> bool) -> Outcome<DeviceEntry> {
    let found = entries()?.into_iter().find(condition);
    Ok(found.ok_or_else(|| format!("the machine has no {what}"))?)
}

/// An edu that nobody has had.
pub fn fresh_edu() -> Outcome<DeviceEntry> {
    find("free edu left; give it more", |entry| {
        (entry.vendor, entry.device) == EDU && entry.state == FunctionState::Free as u8
    })
}

/// The same, opened.
pub fn edu() -> Outcome<PciFunction> {
    Ok(devices().open(&name_of(&fresh_edu()?))?)
}

/// An edu that reaches every address, opened.
pub fn wide_edu() -> Outcome<PciFunction> {
    // xtask puts them there.
    let entry = find("free wide edu left; give it more", |entry| {
        (entry.vendor, entry.device) == EDU
            && entry.state == FunctionState::Free as u8
            && (0x18..=0x1d).contains(&(entry.address >> 3 & 0x1f))
    })?;
    Ok(devices().open(&name_of(&entry))?)
}

/// A counter of the whole system.
pub fn counted(counter: Counter) -> Outcome<u64> {
    let counters: ManuallyDrop<Counters> =
        object(names::COUNTERS).ok_or("the manifest grants no `counters`")?;
    Ok(counters.snapshot()?.get(counter))
}

/// Small devices that can be reset, as many as there are.
pub fn twins() -> Outcome<Vec<DeviceEntry>> {
    let mut twins = entries()?;
    twins.retain(|entry| (entry.vendor, entry.device) == TWIN);
    Ok(twins)
}

/// The disk, opened.
pub fn disk() -> Outcome<PciFunction> {
    Ok(devices().open(DISK)?)
}

/// Arguments of a pin that are right: all of a memory, both ways, anywhere.
pub fn whole(memory: &Memory) -> Outcome<PinArguments> {
    Ok(PinArguments {
        memory: memory.handle().raw(),
        direction: PIN_TO_DEVICE | PIN_FROM_DEVICE,
        offset: 0,
        length: memory.size()?,
        address_bits: 64,
        alignment_bits: 12,
    })
}

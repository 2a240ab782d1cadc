//! Finding the functions: bus by bus, through the bridges.

use alloc::{vec, vec::Vec};
use core::ptr::NonNull;

use pci_types::{HeaderType, PciAddress, PciHeader, PciPciBridgeHeader};
use spillway_kernel_core::pci::{
    FunctionId,
    groups::{self, Node},
    header::extended_capability,
};

use super::{config::ConfigSpace, function::Function};
use crate::{
    memory::map_device,
    platform::acpi::{Machine, PciRange},
};

/// The most functions that are looked after.
const MAX_FUNCTIONS: usize = 1024;
/// Bytes of configuration space of one bus.
const BUS_BYTES: u64 = 1 << 20;
/// What reads as the vendor where there is no function (PCI 3.0, 6.1).
const NO_VENDOR: u16 = 0xffff;
/// Offset of the base class (PCI 3.0, 6.2.1), and that of bridges.
const CLASS: u16 = 0x0b;
const BRIDGE: u8 = 0x06;
/// The extended capability of access control services (PCI Express 5.0, 7.7.8): what there is at
/// 4, what is on at 6. Source validation, request and completion redirection and upstream
/// forwarding together send everything up to the IOMMU.
const ACS: u16 = 0x0d;
const ACS_BYTES: u16 = 8;
const ACS_CONTROL: u16 = 6;
const ACS_ALL: u16 = 0b1_1101;

/// A function as it was found.
struct Found {
    config: ConfigSpace,
    node: Node,
}

/// All functions of the machine, by address.
pub fn functions(machine: &Machine) -> Vec<Function> {
    let mut found = Vec::new();
    for range in machine.pci.iter() {
        scan_range(range, &mut found);
    }
    found.sort_by_key(|function| function.node.id);
    found.dedup_by_key(|function| function.node.id);
    let nodes: Vec<Node> = found.iter().map(|function| function.node).collect();
    let mut groups = vec![0; nodes.len()];
    groups::assign(&nodes, &mut groups);
    let functions = found.iter().zip(groups);
    functions
        .map(|(found, group)| {
            let is_bridge = is_bridge_class(&found.config);
            Function::new(found.node, found.config, is_bridge, group)
        })
        .collect()
}

/// The root bus of a range and all behind its bridges, each bus once.
fn scan_range(range: &PciRange, found: &mut Vec<Found>) {
    let mut seen = [false; 256];
    let mut waiting = vec![range.first_bus];
    while let Some(bus) = waiting.pop() {
        let inside = (range.first_bus..=range.last_bus).contains(&bus);
        if !inside || core::mem::replace(&mut seen[usize::from(bus)], true) {
            continue;
        }
        let start = range.base + u64::from(bus) * BUS_BYTES;
        let Some(start) = map_device(start, BUS_BYTES) else {
            log::warn!("no memory to map the configuration space of PCI bus {bus:#x}");
            return;
        };
        let before = found.len();
        scan_bus(range.segment, bus, start, found);
        waiting.extend(
            found[before..]
                .iter()
                .filter_map(|f| f.node.behind)
                .map(|(first, _)| first),
        );
    }
}

fn scan_bus(segment: u16, bus: u8, start: NonNull<u8>, found: &mut Vec<Found>) {
    for device in 0..32 {
        for function in 0..8 {
            let id = FunctionId {
                segment,
                bus,
                device,
                function,
            };
            let offset = u64::from(id.raw() & 0xff) << 12;
            // SAFETY: the bus is mapped for good, uncached, 4096 bytes for each function.
            let config = unsafe { ConfigSpace::new(start.add(offset as usize)) };
            if config.read::<u16>(0) == NO_VENDOR {
                if function == 0 {
                    break;
                }
                continue;
            }
            if found.len() == MAX_FUNCTIONS {
                log::warn!("more than {MAX_FUNCTIONS} PCI functions: the rest is left alone");
                return;
            }
            let header = PciHeader::new(PciAddress::new(segment, bus, device, function));
            let is_alone = function == 0 && !header.has_multiple_functions(&config);
            found.push(Found {
                config,
                node: node(id, header, &config),
            });
            if is_alone {
                break;
            }
        }
    }
}

/// Whether a function says that it is a bridge of any kind, as that to the processor and that to
/// the old buses: what it does concerns others. Base class 06 (PCI Code and ID Assignment 1.11,
/// 1.7).
fn is_bridge_class(config: &ConfigSpace) -> bool {
    config.read::<u8>(CLASS) == BRIDGE
}

fn node(id: FunctionId, header: PciHeader, config: &ConfigSpace) -> Node {
    let behind = match header.header_type(config) {
        HeaderType::PciPciBridge => PciPciBridgeHeader::from_header(header, config),
        _ => None,
    };
    let behind = behind.and_then(|bridge| {
        let last = bridge.subordinate_bus_number(config);
        groups::behind(id, bridge.secondary_bus_number(config), last)
    });
    // A reset of an endpoint would switch it off again, so only bridges and ports count.
    let has_acs = behind.is_some() && switch_on_acs(config);
    Node {
        id,
        behind,
        has_acs,
    }
}

/// Switches access control services on. Whether all that are needed are on then.
fn switch_on_acs(config: &ConfigSpace) -> bool {
    let Some(at) = extended_capability(|offset| config.read(offset), ACS, ACS_BYTES) else {
        return false;
    };
    config.write(at + ACS_CONTROL, ACS_ALL);
    config.read::<u16>(at + ACS_CONTROL) & ACS_ALL == ACS_ALL
}

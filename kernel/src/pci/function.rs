//! One PCI function, and what the kernel itself does with it.

use core::{fmt, ops::Range};

use spillway_abi::{
    Error,
    device::{DeviceEntry, FunctionState},
};
use spillway_kernel_core::pci::{
    FunctionId,
    groups::Node,
    header::{self, BAR_0, BarKind},
    policy::{COMMAND, COMMAND_BUS_MASTER, COMMAND_MEMORY, COMMAND_NO_LINES, COMMAND_PORTS},
    windows,
};

use super::{
    config::ConfigSpace,
    messages::{Messages, disable_msi, disable_msix},
    reset::ResetMethod,
};
use crate::{iommu, kernel::Kernel, sync::Locked};

/// Base address registers of a function.
pub const BARS: usize = 6;

/// Capability identifiers (PCI Code and ID Assignment 1.11, section 2).
const POWER: u8 = 0x01;
const MSI: u8 = 0x05;
const EXPRESS: u8 = 0x10;
const MSIX: u8 = 0x11;

/// Header type (PCI 3.0, 6.1): 0 is a device, 1 a bridge between buses; the upper bit says that
/// there are more functions.
const HEADER_TYPE: u16 = 0x0e;
const MULTIFUNCTION: u8 = 0x80;
const DEVICE: u8 = 0;
const BUS_BRIDGE: u8 = 1;
/// Base address registers of a bridge (PCI-to-PCI Bridge Architecture 1.2, 3.2.5.1).
const BRIDGE_BARS: u8 = 2;

fn bar_offset(slot: u8) -> u16 {
    BAR_0 + 4 * u16::from(slot)
}

/// A function.
#[derive(Debug)]
pub struct Function {
    /// Where it is.
    pub id: FunctionId,
    /// The vendor's number.
    pub vendor: u16,
    /// The vendor's number for the device.
    pub device: u16,
    /// Class, subclass, interface, revision, the class in the highest byte.
    class: u32,
    /// Its isolation group.
    pub group: u16,
    /// The first and the last bus behind it, if it is a bridge between buses. As it was found: what
    /// it says later is not believed.
    pub buses: Option<(u8, u8)>,
    /// Its configuration space.
    pub config: ConfigSpace,
    /// Its memory BARs.
    pub bars: [Option<MemoryBar>; BARS],
    /// Its interrupts.
    pub messages: Messages,
    /// How it is reset.
    pub(super) reset: ResetMethod,
    /// Who has it.
    pub state: Locked<State>,
}

/// Registers in the physical address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBar {
    /// Physical address of the first byte.
    pub start: u64,
    /// Bytes, a power of two.
    pub size: u64,
}

/// Who has a function.
#[derive(Debug)]
pub enum State {
    /// Nobody.
    Free,
    /// The process of this number.
    Owned(u64),
    /// Nobody any more, and not yet anybody again.
    Revoking,
    /// It could not be reset.
    Blocked,
    /// A bridge is never granted.
    Bridge,
}

impl Function {
    /// Reads what a function is; `is_bridge` if it says so by its class. BARs are probed, so nobody
    /// may be using it. Those of bridges to other things than buses are left alone: not all of them
    /// bear it.
    pub fn new(node: Node, config: ConfigSpace, is_bridge: bool, group: u16) -> Self {
        let header = config.read::<u8>(HEADER_TYPE) & !MULTIFUNCTION;
        let is_endpoint = header == DEVICE && !is_bridge;
        let mut function = Self {
            id: node.id,
            vendor: config.read(0),
            device: config.read(2),
            class: config.read(8),
            group,
            buses: node.behind,
            config,
            bars: [None; BARS],
            messages: Messages::None,
            reset: ResetMethod::None,
            state: Locked::new(if is_endpoint {
                State::Free
            } else {
                State::Bridge
            }),
        };
        if matches!(header, DEVICE | BUS_BRIDGE) {
            function.disable_all_messages();
        }
        if is_endpoint {
            function.change_command(COMMAND_BUS_MASTER, false);
            function.read_bars(BARS as u8);
            function.read_capabilities();
        } else if header == BUS_BRIDGE {
            // What is behind it masters the bus through it.
            function.read_bars(BRIDGE_BARS);
        }
        function
    }

    fn read_bars(&mut self, slots: u8) {
        let config = &self.config;
        let command: u16 = config.read(COMMAND);
        // While a BAR is probed it has a wrong address.
        config.write(COMMAND, command & !(COMMAND_MEMORY | COMMAND_PORTS));
        let mut slot = 0;
        while slot < slots {
            let kind = BarKind::of(config.read(bar_offset(slot)), slot + 1 == slots);
            self.bars[usize::from(slot)] = self.probe(slot, kind);
            slot += if kind == BarKind::Memory64 { 2 } else { 1 };
        }
        config.write(COMMAND, command);
    }

    /// The range of a memory BAR, if the firmware assigned one that can be.
    fn probe(&self, slot: u8, kind: BarKind) -> Option<MemoryBar> {
        let config = &self.config;
        let is_wide = match kind {
            BarKind::Memory32 => false,
            BarKind::Memory64 => true,
            BarKind::Ports | BarKind::Invalid => return None,
        };
        let (at, above) = (bar_offset(slot), bar_offset(slot + 1));
        let low: u32 = config.read(at);
        let high: u32 = if is_wide { config.read(above) } else { 0 };
        config.write(at, u32::MAX);
        let low_mask = config.read(at);
        config.write(at, low);
        let mut high_mask = 0;
        if is_wide {
            config.write(above, u32::MAX);
            high_mask = config.read(above);
            config.write(above, high);
        }
        let size = header::bar_size(low_mask, high_mask, kind)?;
        let start = u64::from(low & !0xf) | u64::from(high) << 32;
        let end = start.checked_add(size)?;
        let can_be = start != 0 && start.is_multiple_of(size);
        (can_be && super::may_be_registers(start, end)).then_some(MemoryBar { start, size })
    }

    /// Switches off the messages that the firmware may have left on, also those that will not be used.
    fn disable_all_messages(&self) {
        for (kind, at) in header::capabilities(|offset| self.config.read(offset)) {
            match kind {
                MSIX => disable_msix(&self.config, at),
                MSI => disable_msi(&self.config, at),
                _ => {}
            }
        }
    }

    fn read_capabilities(&mut self) {
        let config = self.config;
        for (kind, at) in header::capabilities(|offset| config.read(offset)) {
            match kind {
                MSIX => self.messages = Messages::msix(&config, at, &self.bars),
                MSI if matches!(self.messages, Messages::None) => {
                    self.messages = Messages::msi(&config, at);
                }
                EXPRESS => self.reset = self.reset.or(ResetMethod::express(&config, at)),
                POWER => self.reset = self.reset.or(ResetMethod::power(&config, at)),
                _ => {}
            }
        }
    }

    /// Class, subclass, interface, revision, the class in the highest byte.
    pub fn class_code(&self) -> u32 {
        self.class
    }

    /// Lets the function master the bus, or not.
    pub fn set_bus_master(&self, on: bool) {
        self.change_command(COMMAND_BUS_MASTER, on);
    }

    /// Whether the function masters the bus.
    pub fn is_bus_master(&self) -> bool {
        self.config.read::<u16>(COMMAND) & COMMAND_BUS_MASTER != 0
    }

    /// Lets the function answer to its memory BARs.
    pub fn decode_memory(&self) {
        self.change_command(COMMAND_MEMORY, true);
    }

    /// The function neither masters the bus nor answers to its memory BARs any more.
    pub fn disconnect(&self) {
        // At once: what is read of a function that is being reset means nothing, so a second change
        // could undo the first.
        self.change_command(COMMAND_BUS_MASTER | COMMAND_MEMORY, false);
    }

    fn change_command(&self, bits: u16, on: bool) {
        let command: u16 = self.config.read(COMMAND);
        let changed = if on { command | bits } else { command & !bits };
        self.config.write(COMMAND, changed | COMMAND_NO_LINES);
    }

    /// The addresses that it passes on, if it is a bridge between buses.
    pub fn windows(&self) -> Option<[Range<u64>; 2]> {
        self.buses
            .map(|_| windows::of_bridge(|offset| self.config.read(offset)))
    }

    /// The pages of a BAR: [`Error::NotFound`] if there is no such memory BAR, [`Error::Refused`]
    /// if the registers of another function or of an IOMMU are in them, too, or if the bridge before
    /// the function does not lead there.
    pub fn bar_pages(&self, index: usize) -> Result<MemoryBar, Error> {
        let bar = self
            .bars
            .get(index)
            .copied()
            .flatten()
            .ok_or(Error::NotFound)?;
        let pages = bar.pages();
        let others = super::functions()
            .iter()
            .filter(|other| other.id != self.id)
            .flat_map(|other| other.bars.iter().flatten());
        let is_shared = others.map(MemoryBar::range).any(|other| {
            let pages = pages.range();
            other.start < pages.end && pages.start < other.end
        });
        let leads_there = super::bridge_to(self.id)
            .and_then(Self::windows)
            .is_none_or(|windows| windows::lead_to(&windows, &bar.range()));
        if is_shared || !leads_there || iommu::has_registers_in(&pages.range()) {
            Err(Error::Refused)
        } else {
            Ok(pages)
        }
    }

    /// As the table of devices shows it.
    pub fn entry(&self, kernel: &Kernel) -> DeviceEntry {
        let [revision, interface, subclass, class] = self.class.to_le_bytes();
        let state = match self.state.get(kernel) {
            State::Free => FunctionState::Free,
            State::Owned(_) => FunctionState::Owned,
            State::Revoking => FunctionState::Revoking,
            State::Blocked => FunctionState::Blocked,
            State::Bridge => FunctionState::Bridge,
        };
        DeviceEntry {
            address: self.id.raw(),
            vendor: self.vendor,
            device: self.device,
            class,
            subclass,
            interface,
            revision,
            group: self.group,
            state: state as u8,
        }
    }
}

impl MemoryBar {
    fn range(&self) -> Range<u64> {
        self.start..self.start + self.size
    }

    /// The whole pages that have the registers in them.
    fn pages(self) -> Self {
        let page = spillway_abi::PAGE_SIZE;
        let start = self.start / page * page;
        Self {
            start,
            size: (self.start + self.size).next_multiple_of(page) - start,
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:04x}:{:04x} class {:06x} group {} {:?}",
            self.id,
            self.vendor,
            self.device,
            self.class >> 8,
            self.group,
            self.reset,
        )?;
        for (index, bar) in self.bars.iter().enumerate() {
            if let Some(bar) = bar {
                write!(f, " BAR{index} {:#x}+{:#x}", bar.start, bar.size)?;
            }
        }
        Ok(())
    }
}

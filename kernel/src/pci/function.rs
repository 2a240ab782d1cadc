//! One PCI function, and what the kernel itself does with it.

use core::fmt;

use spillway_abi::{
    Error,
    device::{DeviceEntry, FunctionState},
};
use spillway_kernel_core::pci::{
    FunctionId,
    header::{self, BAR_0, BarKind},
    policy::{COMMAND, COMMAND_BUS_MASTER, COMMAND_MEMORY, COMMAND_NO_LINES},
};

use super::{config::ConfigSpace, messages::Messages, reset::ResetMethod};
use crate::{kernel::Kernel, sync::Locked};

/// Base address registers of a function.
pub const BARS: usize = 6;

/// Capability identifiers (PCI Code and ID Assignment 1.11, section 2).
const POWER: u8 = 0x01;
const MSI: u8 = 0x05;
const EXPRESS: u8 = 0x10;
const MSIX: u8 = 0x11;

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
    /// Reads what a function is. Its BARs are probed, so nobody may be using it.
    pub fn new(id: FunctionId, config: ConfigSpace, is_endpoint: bool, group: u16) -> Self {
        let mut function = Self {
            id,
            vendor: config.read(0),
            device: config.read(2),
            class: config.read(8),
            group,
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
        if is_endpoint {
            function.read_bars();
            function.read_capabilities();
            function.disable_messages();
        }
        function
    }

    fn read_bars(&mut self) {
        let config = &self.config;
        let command: u16 = config.read(COMMAND);
        // While a BAR is probed it has a wrong address.
        config.write(
            COMMAND,
            command & !(COMMAND_MEMORY | 1 | COMMAND_BUS_MASTER),
        );
        let mut slot = 0;
        while slot < BARS as u8 {
            let kind = BarKind::of(config.read(bar_offset(slot)), slot);
            self.bars[usize::from(slot)] = self.probe(slot, kind);
            slot += if kind == BarKind::Memory64 { 2 } else { 1 };
        }
        config.write(COMMAND, (command & !COMMAND_BUS_MASTER) | COMMAND_NO_LINES);
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

    /// Lets the function answer to its memory BARs, or not.
    pub fn set_memory_decoding(&self, on: bool) {
        self.change_command(COMMAND_MEMORY, on);
    }

    fn change_command(&self, bit: u16, on: bool) {
        let command: u16 = self.config.read(COMMAND);
        let changed = if on { command | bit } else { command & !bit };
        self.config.write(COMMAND, changed | COMMAND_NO_LINES);
    }

    /// The pages of a BAR: [`Error::NotFound`] if there is no such memory BAR, [`Error::Refused`]
    /// if another function's registers are in them, too.
    pub fn bar_pages(&self, index: usize) -> Result<MemoryBar, Error> {
        let bar = self
            .bars
            .get(index)
            .copied()
            .flatten()
            .ok_or(Error::NotFound)?;
        let pages = bar.pages();
        let shared = super::functions()
            .iter()
            .filter(|other| other.id != self.id)
            .flat_map(|other| other.bars.iter().flatten())
            .any(|other| {
                other.start < pages.start + pages.size && pages.start < other.start + other.size
            });
        if shared {
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

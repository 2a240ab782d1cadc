//! One PCI function, and what the kernel itself does with it.

use core::fmt;

use pci_types::{Bar, EndpointHeader, PciAddress, PciHeader, capability::PciCapability};
use spillway_abi::{
    Error,
    device::{DeviceEntry, FunctionState},
};
use spillway_kernel_core::pci::{
    FunctionId,
    policy::{COMMAND, COMMAND_BUS_MASTER, COMMAND_MEMORY, COMMAND_NO_LINES},
};

use super::{config::ConfigSpace, messages::Messages, reset::ResetMethod};
use crate::{kernel::Kernel, sync::Locked};

/// Base address registers of a function.
pub const BARS: usize = 6;

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
    pub fn new(id: FunctionId, config: ConfigSpace, is_bridge: bool, group: u16) -> Self {
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
            state: Locked::new(if is_bridge {
                State::Bridge
            } else {
                State::Free
            }),
        };
        let address = PciAddress::new(id.segment, id.bus, id.device, id.function);
        if let Some(endpoint) = EndpointHeader::from_header(PciHeader::new(address), &config) {
            function.read_endpoint(&endpoint);
        }
        function
    }

    fn read_endpoint(&mut self, endpoint: &EndpointHeader) {
        let config = &self.config;
        let command: u16 = config.read(COMMAND);
        // While a BAR is probed it has a wrong address.
        config.write(
            COMMAND,
            command & !(COMMAND_MEMORY | 1 | COMMAND_BUS_MASTER),
        );
        let mut slot = 0;
        while slot < BARS as u8 {
            let bar = endpoint.bar(slot, config);
            let (found, width) = match bar {
                Some(Bar::Memory32 { address, size, .. }) => (
                    Some(MemoryBar {
                        start: address.into(),
                        size: size.into(),
                    }),
                    1,
                ),
                Some(Bar::Memory64 { address, size, .. }) => (
                    Some(MemoryBar {
                        start: address,
                        size,
                    }),
                    2,
                ),
                Some(Bar::Io { .. }) | None => (None, 1),
            };
            // An address of 0 was never assigned.
            self.bars[usize::from(slot)] = found.filter(|bar| bar.start != 0 && bar.size != 0);
            slot += width;
        }
        config.write(COMMAND, (command & !COMMAND_BUS_MASTER) | COMMAND_NO_LINES);
        for capability in endpoint.capabilities(config) {
            match capability {
                PciCapability::MsiX(msix) => self.messages = Messages::msix(&self.bars, msix),
                PciCapability::Msi(msi) if matches!(self.messages, Messages::None) => {
                    self.messages = Messages::Msi(msi);
                }
                PciCapability::PciExpress(at) => {
                    self.reset = self.reset.or(ResetMethod::express(config, at.offset));
                }
                PciCapability::PowerManagement(at) => {
                    self.reset = self.reset.or(ResetMethod::power(config, at.offset));
                }
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

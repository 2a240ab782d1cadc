//! Message-signalled interrupts. The kernel alone programs them: whoever could would choose which
//! vector of which core is interrupted.

use core::ptr::NonNull;

use spillway_abi::PAGE_SIZE;
use spin::Once;

use super::{
    Function,
    config::ConfigSpace,
    function::{BARS, MemoryBar},
};
use crate::memory::map_device;

/// What a function writes, and where, to interrupt a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The address.
    pub address: u64,
    /// The value.
    pub data: u32,
}

/// How a function interrupts.
#[derive(Debug)]
pub enum Messages {
    /// Not by messages. Interrupt lines are not supported.
    None,
    /// One message, in configuration space.
    Msi(Msi),
    /// A table of messages, in a BAR.
    MsiX(MsiX),
}

/// One message (PCI Local Bus Specification 3.0, 6.8.1).
#[derive(Clone, Copy, Debug)]
pub struct Msi {
    /// Offset of the capability.
    at: u16,
    /// The address has an upper half, and what follows lies 4 bytes further.
    is_wide: bool,
    can_mask: bool,
}

/// Control word of both capabilities: 2 bytes behind the start.
const CONTROL: u16 = 2;
/// MSI: enabled; 64-bit addresses; masking.
const MSI_ENABLE: u16 = 1;
const MSI_WIDE: u16 = 1 << 7;
const MSI_MASKING: u16 = 1 << 8;
/// MSI: bits that ask for more than one message.
const MSI_MULTIPLE: u16 = 0b111 << 4;
/// MSI-X: enabled; all masked; entries less one.
const MSIX_ENABLE: u16 = 1 << 15;
const MSIX_MASK_ALL: u16 = 1 << 14;
const MSIX_ENTRIES: u16 = 0x7ff;

/// A table of messages (PCI Express Base Specification 5.0, 6.1.4.2 and 7.7.2).
#[derive(Debug)]
pub struct MsiX {
    /// Offset of the capability.
    at: u16,
    /// Physical address.
    start: u64,
    entries: u16,
    /// The kernel's mapping, made when first needed.
    table: Once<Table>,
}

#[derive(Debug)]
struct Table(NonNull<u32>);

// SAFETY: device registers, mapped for good, written under the kernel lock.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

/// Words in an entry: address, upper address, data, control.
const ENTRY_WORDS: usize = 4;
/// The control word's bit that masks the entry.
const MASKED: u32 = 1;

impl Messages {
    pub(super) fn msi(config: &ConfigSpace, at: u16) -> Self {
        let control: u16 = config.read(at + CONTROL);
        let (is_wide, can_mask) = (control & MSI_WIDE != 0, control & MSI_MASKING != 0);
        Self::Msi(Msi {
            at,
            is_wide,
            can_mask,
        })
    }

    pub(super) fn msix(config: &ConfigSpace, at: u16, bars: &[Option<MemoryBar>; BARS]) -> Self {
        let control: u16 = config.read(at + CONTROL);
        let entries = (control & MSIX_ENTRIES) + 1;
        // Which BAR in the low three bits, the rest is the offset (7.7.2.3).
        let table: u32 = config.read(at + 4);
        let (bar, offset) = ((table & 7) as usize, u64::from(table & !7));
        let bytes = u64::from(entries) * ENTRY_WORDS as u64 * 4;
        match bars.get(bar).copied().flatten() {
            Some(range) if offset + bytes <= range.size => Self::MsiX(MsiX {
                at,
                start: range.start + offset,
                entries,
                table: Once::new(),
            }),
            // A table outside its BAR: not to be trusted.
            _ => Self::None,
        }
    }

    /// How many vectors there are.
    pub fn vectors(&self) -> u16 {
        match self {
            Self::None => 0,
            Self::Msi(_) => 1,
            Self::MsiX(msix) => msix.entries,
        }
    }

    /// The bytes of some pages of registers that their owner must not write: whole pages, counted
    /// from the first.
    pub fn protected(&self, pages: MemoryBar) -> Option<core::ops::Range<u64>> {
        let Self::MsiX(msix) = self else {
            return None;
        };
        let end = msix.start + u64::from(msix.entries) * ENTRY_WORDS as u64 * 4;
        let from = (msix.start / PAGE_SIZE * PAGE_SIZE).max(pages.start);
        let to = end
            .next_multiple_of(PAGE_SIZE)
            .min(pages.start + pages.size);
        (from < to).then(|| from - pages.start..to - pages.start)
    }
}

impl MsiX {
    fn word(&self, index: u16, word: usize) -> Option<*mut u32> {
        if self.table.get().is_none() {
            let bytes = usize::from(self.entries) * ENTRY_WORDS * 4;
            let start = map_device(self.start, bytes as u64)?;
            let table = self.table.call_once(|| Table(start.cast()));
            // What an earlier user left there must not come to life.
            for entry in 0..usize::from(self.entries) {
                // SAFETY: inside the table, which was just mapped.
                unsafe {
                    table
                        .0
                        .as_ptr()
                        .add(entry * ENTRY_WORDS + 3)
                        .write_volatile(MASKED)
                };
            }
        }
        let table = self.table.get()?;
        // SAFETY: inside the table, which was checked against the BAR.
        (index < self.entries).then(|| unsafe {
            table
                .0
                .as_ptr()
                .add(usize::from(index) * ENTRY_WORDS + word)
        })
    }

    fn write(&self, index: u16, word: usize, value: u32) {
        if let Some(at) = self.word(index, word) {
            // SAFETY: a word of the table.
            unsafe { at.write_volatile(value) };
        }
    }
}

impl Function {
    /// Sets what vector `index` sends, masked at first. False if the registers cannot be mapped.
    pub fn program_message(&self, index: u16, message: Message) -> bool {
        let config = &self.config;
        match &self.messages {
            Messages::None => return false,
            Messages::Msi(msi) => {
                msi.enable(config, false);
                config.write(msi.at + 4, message.address as u32);
                if msi.is_wide {
                    config.write(msi.at + 8, (message.address >> 32) as u32);
                }
                config.write(
                    msi.at + if msi.is_wide { 12 } else { 8 },
                    message.data as u16,
                );
            }
            Messages::MsiX(msix) => {
                if msix.word(index, 0).is_none() {
                    return false;
                }
                msix.write(index, 3, MASKED);
                msix.write(index, 0, message.address as u32);
                msix.write(index, 1, (message.address >> 32) as u32);
                msix.write(index, 2, message.data);
                msix.enable(config);
            }
        }
        true
    }

    /// Masks or unmasks a vector.
    pub fn mask_message(&self, index: u16, masked: bool) {
        match &self.messages {
            Messages::None => {}
            Messages::Msi(msi) if msi.can_mask => {
                let mask = msi.at + if msi.is_wide { 16 } else { 12 };
                self.config.write(mask, u32::from(masked));
                msi.enable(&self.config, true);
            }
            // A message that comes while MSI is off is lost: who waits for it looks at the device.
            Messages::Msi(msi) => msi.enable(&self.config, !masked),
            Messages::MsiX(msix) => msix.write(index, 3, if masked { MASKED } else { 0 }),
        }
    }

    /// Takes all vectors away.
    pub fn disable_messages(&self) {
        match &self.messages {
            Messages::None => {}
            Messages::Msi(msi) => msi.enable(&self.config, false),
            Messages::MsiX(msix) => disable_msix(&self.config, msix.at),
        }
    }
}

impl Msi {
    fn enable(&self, config: &ConfigSpace, on: bool) {
        let control: u16 = config.read(self.at + CONTROL);
        let enable = if on { MSI_ENABLE } else { 0 };
        config.write(
            self.at + CONTROL,
            control & !(MSI_ENABLE | MSI_MULTIPLE) | enable,
        );
    }
}

impl MsiX {
    fn enable(&self, config: &ConfigSpace) {
        let control: u16 = config.read(self.at + CONTROL);
        config.write(self.at + CONTROL, control & !MSIX_MASK_ALL | MSIX_ENABLE);
    }
}

/// Switches the capability MSI at an offset off.
pub(super) fn disable_msi(config: &ConfigSpace, at: u16) {
    let control: u16 = config.read(at + CONTROL);
    config.write(at + CONTROL, control & !MSI_ENABLE);
}

/// Switches the capability MSI-X at an offset off, and with it all entries of its table.
pub(super) fn disable_msix(config: &ConfigSpace, at: u16) {
    let control: u16 = config.read(at + CONTROL);
    config.write(at + CONTROL, control & !MSIX_ENABLE);
}

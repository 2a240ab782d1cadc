//! Message-signalled interrupts. The kernel alone programs them: whoever could would choose which
//! vector of which core is interrupted.

use core::ptr::NonNull;

use pci_types::capability::{MsiCapability, MsixCapability};
use spillway_abi::PAGE_SIZE;
use spin::Once;

use super::{
    Function,
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
    Msi(MsiCapability),
    /// A table of messages, in a BAR.
    MsiX(MsiX),
}

/// A table of messages (PCI Express Base Specification 5.0, 6.1.4.2 and 7.7.2).
#[derive(Debug)]
pub struct MsiX {
    capability: MsixCapability,
    /// Which BAR has the table.
    bar: usize,
    /// Bytes into the BAR.
    offset: u64,
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
    pub(super) fn msix(bars: &[Option<MemoryBar>; BARS], capability: MsixCapability) -> Self {
        let bar = usize::from(capability.table_bar());
        let offset = u64::from(capability.table_offset());
        let entries = capability.table_size();
        let bytes = u64::from(entries) * ENTRY_WORDS as u64 * 4;
        match bars.get(bar).copied().flatten() {
            Some(range) if offset + bytes <= range.size => Self::MsiX(MsiX {
                capability,
                bar,
                offset,
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

    /// The bytes of a BAR, whole pages, that its owner must not write.
    pub fn protected(&self, bar: usize) -> Option<core::ops::Range<u64>> {
        match self {
            Self::MsiX(msix) if msix.bar == bar => {
                let end = msix.offset + u64::from(msix.entries) * ENTRY_WORDS as u64 * 4;
                Some(msix.offset / PAGE_SIZE * PAGE_SIZE..end.next_multiple_of(PAGE_SIZE))
            }
            _ => None,
        }
    }
}

impl MsiX {
    fn word(&self, index: u16, word: usize) -> Option<*mut u32> {
        if self.table.get().is_none() {
            let bytes = usize::from(self.entries) * ENTRY_WORDS * 4;
            let start = map_device(self.start, bytes as u64)?;
            self.table.call_once(|| Table(start.cast()));
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
                msi.set_message_info(message.address, message.data, config);
            }
            Messages::MsiX(msix) => {
                if msix.word(index, 0).is_none() {
                    return false;
                }
                msix.write(index, 3, MASKED);
                msix.write(index, 0, message.address as u32);
                msix.write(index, 1, (message.address >> 32) as u32);
                msix.write(index, 2, message.data);
                msix.capability.clone().set_enabled(true, config);
            }
        }
        true
    }

    /// Masks or unmasks a vector.
    pub fn mask_message(&self, index: u16, masked: bool) {
        match &self.messages {
            Messages::None => {}
            Messages::Msi(msi) if msi.has_per_vector_masking() => {
                msi.set_message_mask(u32::from(masked), &self.config);
                msi.set_enabled(true, &self.config);
            }
            // A message that comes while MSI is off is lost: what is masked here is polled by
            // whoever waits next.
            Messages::Msi(msi) => msi.set_enabled(!masked, &self.config),
            Messages::MsiX(msix) => msix.write(index, 3, if masked { MASKED } else { 0 }),
        }
    }

    /// Takes all vectors away.
    pub fn disable_messages(&self) {
        match &self.messages {
            Messages::None => {}
            Messages::Msi(msi) => msi.set_enabled(false, &self.config),
            Messages::MsiX(msix) => {
                for index in 0..msix.entries {
                    if msix.table.get().is_some() {
                        msix.write(index, 3, MASKED);
                    }
                }
                msix.capability.clone().set_enabled(false, &self.config);
            }
        }
    }
}

//! The registers of one unit (section 11.4).

use core::{ops::Range, ptr::NonNull};

use crate::{
    arch,
    memory::map_device,
    platform::clock::{now_tsc, tsc_after},
};

/// Capabilities (sections 11.4.2 and 11.4.3), 64 bits.
pub const CAPABILITY: u64 = 0x08;
pub const EXTENDED_CAPABILITY: u64 = 0x10;
/// Global command and status (sections 11.4.4.1 and 11.4.4.2).
const COMMAND: u64 = 0x18;
const STATUS: u64 = 0x1c;
/// The physical address of the root table (section 11.4.5), 64 bits.
pub const ROOT_TABLE: u64 = 0x20;
/// Fault status (section 11.4.7.1).
pub const FAULT_STATUS: u64 = 0x34;
/// The interrupt for faults: control, data, address and its upper half (sections 11.4.7.2 to 11.4.7.5).
pub const FAULT_CONTROL: u64 = 0x38;
pub const FAULT_DATA: u64 = 0x3c;
pub const FAULT_ADDRESS: u64 = 0x40;
pub const FAULT_UPPER_ADDRESS: u64 = 0x44;
/// Protected memory (section 11.4.8.1).
const PROTECTED_MEMORY: u64 = 0x64;
/// The invalidation queue: head, tail and address (sections 11.4.9.1 to 11.4.9.3), 64 bits.
pub const QUEUE_HEAD: u64 = 0x80;
pub const QUEUE_TAIL: u64 = 0x88;
pub const QUEUE_ADDRESS: u64 = 0x90;
/// The physical address of the interrupt remapping table (section 11.4.10), 64 bits.
pub const INTERRUPT_TABLE: u64 = 0xb8;

/// Bits of the global command and of its status.
pub const TRANSLATION: u32 = 1 << 31;
pub const SET_ROOT_TABLE: u32 = 1 << 30;
const ADVANCED_FAULT_LOG: u32 = 1 << 28;
const FLUSH_WRITE_BUFFER: u32 = 1 << 27;
pub const QUEUE: u32 = 1 << 26;
pub const INTERRUPT_REMAPPING: u32 = 1 << 25;
pub const SET_INTERRUPT_TABLE: u32 = 1 << 24;
const COMPATIBILITY_INTERRUPTS: u32 = 1 << 23;
/// Those that stay; the others start something.
const LASTING: u32 =
    TRANSLATION | ADVANCED_FAULT_LOG | QUEUE | INTERRUPT_REMAPPING | COMPATIBILITY_INTERRUPTS;

/// How long the hardware may take for anything, in nanoseconds. It needs microseconds; an
/// emulator on a busy host needs its time.
const PATIENCE: u64 = 500_000_000;

/// The hardware did not do what it was told, in half a second.
#[derive(Clone, Copy, Debug)]
pub struct Stuck;

/// Waits until something becomes true, answering other cores.
pub fn wait(mut is_done: impl FnMut() -> bool) -> Result<(), Stuck> {
    let end = tsc_after(PATIENCE);
    while !is_done() {
        if now_tsc() > end {
            return Err(Stuck);
        }
        arch::shootdown::answer();
        core::hint::spin_loop();
    }
    Ok(())
}

/// The mapped registers.
#[derive(Debug)]
pub struct Registers {
    /// Where they are in physical memory.
    pub physical: Range<u64>,
    start: NonNull<u8>,
}

// SAFETY: device registers, mapped for good; accesses are single volatile instructions, and those
// that belong together are made under the unit's lock or at boot.
unsafe impl Send for Registers {}
// SAFETY: as above.
unsafe impl Sync for Registers {}

impl Registers {
    /// Maps registers at a physical address. At boot only. `None` without memory for the tables.
    pub fn map(physical: u64, bytes: u64) -> Option<Self> {
        let end = physical.checked_add(bytes)?;
        map_device(physical, bytes).map(|start| Self {
            physical: physical..end,
            start,
        })
    }

    fn at<T>(&self, offset: u64) -> *mut T {
        let size = size_of::<T>() as u64;
        let bytes = self.physical.end - self.physical.start;
        assert!(offset.is_multiple_of(size) && offset + size <= bytes);
        // SAFETY: inside the mapping.
        unsafe { self.start.as_ptr().add(offset as usize).cast() }
    }

    /// Reads 32 bits.
    pub fn read32(&self, offset: u64) -> u32 {
        // SAFETY: inside and aligned; reading a register of a unit has no effect.
        unsafe { self.at::<u32>(offset).read_volatile() }
    }

    /// Reads 64 bits.
    pub fn read64(&self, offset: u64) -> u64 {
        // SAFETY: as above.
        unsafe { self.at::<u64>(offset).read_volatile() }
    }

    /// Writes 32 bits.
    pub fn write32(&self, offset: u64, value: u32) {
        // SAFETY: inside and aligned. What the unit reads and writes by itself are the tables and
        // the queue, which are frames of its own.
        unsafe { self.at::<u32>(offset).write_volatile(value) }
    }

    /// Writes 64 bits.
    pub fn write64(&self, offset: u64, value: u64) {
        // SAFETY: as above.
        unsafe { self.at::<u64>(offset).write_volatile(value) }
    }

    /// Whether a lasting bit of the global command is in effect.
    pub fn is_on(&self, bit: u32) -> bool {
        self.read32(STATUS) & bit != 0
    }

    /// Sets or clears one bit of the global command and waits for the effect. One bit at a time,
    /// the lasting ones repeated, is what section 11.4.4.1 demands.
    pub fn command(&self, bit: u32, on: bool) -> Result<(), Stuck> {
        let lasting = self.read32(STATUS) & LASTING;
        let value = if on { lasting | bit } else { lasting & !bit };
        self.write32(COMMAND, value);
        wait(|| self.is_on(bit) == on)
    }

    /// Pushes writes of tables out of the unit's buffer, where it has one.
    pub fn flush_write_buffer(&self) -> Result<(), Stuck> {
        let lasting = self.read32(STATUS) & LASTING;
        self.write32(COMMAND, lasting | FLUSH_WRITE_BUFFER);
        wait(|| !self.is_on(FLUSH_WRITE_BUFFER))
    }

    /// Undoes what firmware may have left on and would be in the way, translation and remapping
    /// of interrupts excepted: those stay in effect until the new tables are.
    pub fn take_over(&self) -> Result<(), Stuck> {
        if self.is_on(QUEUE) {
            wait(|| self.read64(QUEUE_HEAD) == self.read64(QUEUE_TAIL))?;
        }
        for bit in [QUEUE, ADVANCED_FAULT_LOG, COMPATIBILITY_INTERRUPTS] {
            if self.is_on(bit) {
                self.command(bit, false)?;
            }
        }
        Ok(())
    }

    /// Switches protected memory off, which blocks more than the page tables say.
    pub fn unprotect_memory(&self) -> Result<(), Stuck> {
        const IS_PROTECTED: u32 = 1;
        self.write32(PROTECTED_MEMORY, 0);
        wait(|| self.read32(PROTECTED_MEMORY) & IS_PROTECTED == 0)
    }
}

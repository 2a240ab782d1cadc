//! The interrupt controllers of old, silenced: devices interrupt by message only.

use core::ptr::NonNull;

use super::{acpi::Machine, io::Port};
use crate::memory;

// SAFETY: the interrupt mask of the first 8259; it can only keep interrupts away.
const MASK_1: Port<u8> = unsafe { Port::new(0x21) };
// SAFETY: as above, of the second.
const MASK_2: Port<u8> = unsafe { Port::new(0xa1) };

/// Bytes of an I/O APIC's registers.
const IO_APIC_SIZE: u64 = 32;
/// The register that shows what the other selects (Intel 82093AA, section 3.1).
const IO_APIC_WINDOW: usize = 0x10;
/// The number of the last pin is in bits 16 to 23 (section 3.2.2).
const IO_APIC_VERSION: u32 = 1;
/// The first of the registers of the pins, two for each (section 3.2.4).
const IO_APIC_PINS: u32 = 0x10;
/// The pin is off.
const PIN_MASKED: u32 = 1 << 16;

/// Masks every line of the 8259 pair and every pin of the I/O APICs.
pub fn mask_all(machine: &Machine) {
    if machine.has_8259 {
        MASK_1.write(0xff);
        MASK_2.write(0xff);
    }
    for &address in machine.io_apics.iter() {
        match memory::map_device(address.into(), IO_APIC_SIZE) {
            Some(registers) => IoApic(registers.cast()).mask(),
            None => log::warn!("the I/O APIC at {address:#x} could not be mapped or masked"),
        }
    }
}

/// An I/O APIC, by its two registers in memory.
struct IoApic(NonNull<u32>);

impl IoApic {
    fn mask(&self) {
        let last_pin = self.read(IO_APIC_VERSION) >> 16 & 0xff;
        for pin in 0..=last_pin {
            let register = IO_APIC_PINS + 2 * pin;
            let entry = self.read(register);
            if entry & PIN_MASKED == 0 {
                self.write(register, entry | PIN_MASKED);
            }
        }
    }

    fn read(&self, register: u32) -> u32 {
        // SAFETY: both registers are within the mapping. Selecting and reading has no effect on
        // memory.
        unsafe {
            self.0.write_volatile(register);
            self.0.byte_add(IO_APIC_WINDOW).read_volatile()
        }
    }

    fn write(&self, register: u32, value: u32) {
        // SAFETY: as above; the only value that is written masks an interrupt.
        unsafe {
            self.0.write_volatile(register);
            self.0.byte_add(IO_APIC_WINDOW).write_volatile(value);
        }
    }
}

//! Clocks with a known frequency, which the TSC is measured against.

use core::ptr::NonNull;

use super::{acpi::Machine, clock::now_tsc, io::Port};
use crate::memory;

/// A clock that counts up and wraps.
#[derive(Debug)]
pub struct Reference {
    source: Source,
    /// Femtoseconds from one count to the next. Not 0.
    period: u64,
    /// The bits that count.
    mask: u64,
}

#[derive(Debug)]
enum Source {
    Hpet(NonNull<u8>),
    PmTimer(Port<u32>),
    IntervalTimer,
    Tsc,
}

impl Reference {
    /// The HPET (IA-PC HPET Specification 1.0a, sections 2.3.4, 2.3.5 and 2.3.7).
    pub fn hpet(machine: &Machine) -> Option<Self> {
        const SIZE: u64 = 1024;
        const CAPABILITIES: usize = 0x00;
        const CONFIGURATION: usize = 0x10;
        const CONFIGURATION_ENABLE: u64 = 1 << 0;
        const CONFIGURATION_LEGACY: u64 = 1 << 1;
        const LONGEST_PERIOD: u64 = 100_000_000;

        let registers: NonNull<u8> = memory::map_device(machine.hpet?, SIZE)?.cast();
        // SAFETY: the registers are mapped and stay so, both offsets are within them and aligned,
        // and the HPET does nothing but count and, with the legacy bit off, no interrupt of its
        // own choice.
        let capabilities = unsafe {
            let configuration = registers.byte_add(CONFIGURATION).cast::<u64>();
            let before = configuration.read_volatile();
            configuration.write_volatile(before & !CONFIGURATION_LEGACY | CONFIGURATION_ENABLE);
            registers
                .byte_add(CAPABILITIES)
                .cast::<u64>()
                .read_volatile()
        };
        let period = capabilities >> 32;
        // The counter may have 64 bits; the lower half is enough.
        (1..=LONGEST_PERIOD).contains(&period).then_some(Self {
            source: Source::Hpet(registers),
            period,
            mask: u32::MAX.into(),
        })
    }

    /// The ACPI timer, with 3.579545 MHz (ACPI 6.5, section 4.8.2.1).
    pub fn pm_timer(machine: &Machine) -> Option<Self> {
        let timer = machine.pm_timer?;
        // SAFETY: the firmware named the port of its timer, which can only be read.
        let port = unsafe { Port::new(timer.port) };
        let mask = if timer.is_32bit {
            0xffff_ffff
        } else {
            0x00ff_ffff
        };
        Some(Self {
            source: Source::PmTimer(port),
            period: 279_365_115,
            mask,
        })
    }

    /// Channel 2 of the 8254 interval timer, with 1.193182 MHz, made to count freely.
    pub fn interval_timer(_: &Machine) -> Option<Self> {
        // Gate on, speaker off (bits 0 and 1 of the system control port).
        interval::CONTROL_B.write(interval::CONTROL_B.read() & !0b10 | 0b01);
        // Channel 2, low byte then high, mode 2, binary; then the longest period.
        interval::MODE.write(0b1011_0100);
        interval::CHANNEL_2.write(0);
        interval::CHANNEL_2.write(0);
        Some(Self {
            source: Source::IntervalTimer,
            period: 838_095_110,
            mask: 0xffff,
        })
    }

    /// The TSC itself, when its frequency is known.
    pub fn tsc(frequency: u64) -> Self {
        let period = 1_000_000_000_000_000 / frequency.max(1);
        Self {
            source: Source::Tsc,
            period: period.max(1),
            mask: u64::MAX,
        }
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self.source {
            Source::Hpet(_) => "HPET",
            Source::PmTimer(_) => "ACPI timer",
            Source::IntervalTimer => "interval timer",
            Source::Tsc => "TSC",
        }
    }

    /// Femtoseconds from one count to the next.
    pub fn period(&self) -> u64 {
        self.period
    }

    /// The count now.
    pub fn read(&self) -> u64 {
        const COUNTER: usize = 0xf0;
        match &self.source {
            // SAFETY: the registers are mapped and stay so; the offset is aligned and within them.
            Source::Hpet(registers) => unsafe {
                registers
                    .byte_add(COUNTER)
                    .cast::<u32>()
                    .read_volatile()
                    .into()
            },
            Source::PmTimer(port) => port.read().into(),
            Source::IntervalTimer => interval::read(),
            Source::Tsc => now_tsc(),
        }
    }

    /// Counts from one reading to a later one, less than a whole round apart.
    pub fn between(&self, start: u64, end: u64) -> u64 {
        end.wrapping_sub(start) & self.mask
    }
}

/// The 8254 interval timer.
mod interval {
    use super::Port;

    // SAFETY: ports of the interval timer and of the gate and speaker bits; they have no effect
    // on memory.
    pub const CHANNEL_2: Port<u8> = unsafe { Port::new(0x42) };
    // SAFETY: as above.
    pub const MODE: Port<u8> = unsafe { Port::new(0x43) };
    // SAFETY: as above.
    pub const CONTROL_B: Port<u8> = unsafe { Port::new(0x61) };

    /// Latches and reads channel 2. It counts down; the result counts up.
    pub fn read() -> u64 {
        MODE.write(0b1000_0000);
        let count = u16::from_le_bytes([CHANNEL_2.read(), CHANNEL_2.read()]);
        u64::from(!count)
    }
}

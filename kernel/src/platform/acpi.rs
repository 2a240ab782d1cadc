//! What the firmware says about the machine.
//!
//! Read once at boot into [`Machine`], which holds no reference to a table except the code that
//! [`super::power`] reads when it switches the machine off. A table that is missing or wrong is
//! told in a warning and leaves its part of the machine out; without any, there is one core.

use acpi::{
    address::{AddressSpace, GenericAddress},
    fadt::Fadt,
    sdt::Signature,
};
use spillway_abi::limits::MAX_CORES;
use spillway_bootinfo::BootInfo;
use spillway_kernel_core::list::List;

use super::{
    apic,
    tables::{Tables, read},
};

/// I/O interrupt controllers that are looked after.
const MAX_IO_APICS: usize = 16;
/// Ranges of PCI configuration space that are looked after.
const MAX_PCI_RANGES: usize = 16;

/// The hardware that no bus can report.
#[derive(Debug, Default)]
pub struct Machine {
    /// The interrupt controller numbers of the cores that may be used, the running one first.
    pub cores: List<u32, MAX_CORES>,
    /// The physical addresses of the I/O APICs.
    pub io_apics: List<u32, MAX_IO_APICS>,
    /// Whether there is a pair of 8259 interrupt controllers.
    pub has_8259: bool,
    /// The physical address of the HPET's registers.
    pub hpet: Option<u64>,
    /// The ACPI timer.
    pub pm_timer: Option<PmTimer>,
    /// Where PCI configuration space is mapped.
    pub pci: List<PciRange, MAX_PCI_RANGES>,
    /// The port and the value that reset the machine.
    pub reset: Option<(u16, u8)>,
    /// How the machine is switched off.
    pub power: Option<PowerPorts>,
}

/// The ACPI timer (ACPI 6.5, section 4.8.3.3).
#[derive(Clone, Copy, Debug)]
pub struct PmTimer {
    /// Its port.
    pub port: u16,
    /// Whether it counts to 2³² instead of 2²⁴.
    pub is_32bit: bool,
}

/// Memory-mapped configuration space of some PCI buses (PCI Firmware Specification 3.3, 4.1.2).
#[derive(Clone, Copy, Debug, Default)]
pub struct PciRange {
    /// The physical address where bus 0 is, or would be.
    pub base: u64,
    /// The segment group.
    pub segment: u16,
    /// The first bus.
    pub first_bus: u8,
    /// The last bus.
    pub last_bus: u8,
}

impl PciRange {
    /// The physical addresses: 1 MiB for each bus.
    pub fn addresses(&self) -> core::ops::Range<u64> {
        let bus = |number: u64| self.base.saturating_add(number << 20);
        bus(self.first_bus.into())..bus(u64::from(self.last_bus) + 1)
    }
}

/// The registers that switch the machine off, and where the value for them is.
#[derive(Clone, Copy, Debug)]
pub struct PowerPorts {
    /// PM1a_CNT.
    pub pm1a: u16,
    /// PM1b_CNT, if the machine splits the register.
    pub pm1b: Option<u16>,
    /// The port and the value that make the firmware hand these registers over.
    pub enable: Option<(u16, u8)>,
    /// The DSDT, with its header.
    pub dsdt: &'static [u8],
}

impl Machine {
    /// Reads the tables.
    pub fn read(info: &BootInfo) -> Self {
        let mut machine = Self {
            has_8259: true,
            ..Self::default()
        };
        machine.cores.push(apic::boot_id());
        match Tables::open(info) {
            Ok(tables) => {
                machine.read_madt(&tables);
                machine.read_fadt(&tables);
                machine.read_hpet(&tables);
                machine.read_mcfg(&tables);
            }
            Err(reason) => log::warn!("no ACPI tables, so one core and no power-off: {reason}"),
        }
        machine
    }

    /// Cores and I/O APICs (ACPI 6.5, section 5.2.12).
    fn read_madt(&mut self, tables: &Tables) {
        let Some(madt) = tables.find(Signature::MADT) else {
            return log::warn!("no ACPI MADT table, so only one core is used");
        };
        self.has_8259 = read::<u32>(madt, 40).is_some_and(|flags| flags & 1 != 0);
        let mut rest = madt.get(44..).unwrap_or_default();
        while let [kind, length, ..] = *rest {
            let Some((entry, next)) = rest.split_at_checked(length.into()) else {
                return log::warn!("the ACPI MADT ends within an entry");
            };
            if length < 2 {
                return log::warn!("the ACPI MADT has an entry of {length} bytes");
            }
            self.read_madt_entry(kind, entry);
            rest = next;
        }
    }

    fn read_madt_entry(&mut self, kind: u8, entry: &[u8]) {
        const LOCAL_APIC: u8 = 0;
        const IO_APIC: u8 = 1;
        const LOCAL_X2APIC: u8 = 9;
        const NOBODY: u8 = 0xff;
        let core: Option<(u32, u32)> = match kind {
            LOCAL_APIC if entry.get(3) == Some(&NOBODY) => None,
            LOCAL_APIC => entry.get(3).copied().map(u32::from).zip(read(entry, 4)),
            LOCAL_X2APIC => read(entry, 4).zip(read(entry, 8)),
            IO_APIC => {
                if let Some(address) = read(entry, 4)
                    && !self.io_apics.push(address)
                {
                    log::warn!("I/O APIC at {address:#x} is one too many and ignored");
                }
                None
            }
            _ => None,
        };
        // Bit 0: the core is enabled. Firmware lists cores that could be plugged in, too.
        if let Some((id, flags)) = core
            && flags & 1u32 != 0
            && !self.cores.contains(&id)
            && !self.cores.push(id)
        {
            log::warn!("core with APIC {id} is left asleep: {MAX_CORES} are the most");
        }
    }

    /// The timer, reset and power registers (ACPI 6.5, section 5.2.9).
    fn read_fadt(&mut self, tables: &Tables) {
        /// Not needed here, and the `acpi` crate overflows when it is too large.
        const PM1_CONTROL_LENGTH: usize = 89;
        let Some(table) = tables.find(Signature::FADT) else {
            return log::warn!("no ACPI FADT table, so no power-off");
        };
        // Older tables are shorter: what they do not have is 0.
        let mut padded = [0; size_of::<Fadt>()];
        let length = table.len().min(padded.len());
        padded[..length].copy_from_slice(&table[..length]);
        padded[PM1_CONTROL_LENGTH] = 0;
        let Some(fadt) = read::<Fadt>(&padded, 0) else {
            return;
        };
        let flags = fadt.flags;
        self.pm_timer = fadt
            .pm_timer_block()
            .ok()
            .flatten()
            .and_then(port)
            .map(|port| PmTimer {
                port,
                is_32bit: flags.pm_timer_is_32_bit(),
            });
        if flags.supports_system_reset_via_fadt() {
            let register = fadt.reset_register().ok().and_then(port);
            self.reset = register.map(|port| (port, fadt.reset_value));
        }
        self.power = power_ports(&fadt, tables);
    }

    /// The HPET's address (IA-PC HPET Specification 1.0a, section 3.2.4).
    fn read_hpet(&mut self, tables: &Tables) {
        const MEMORY: u8 = 0;
        let table = tables.find(Signature::HPET).unwrap_or_default();
        if table.get(40) == Some(&MEMORY) {
            self.hpet =
                read(table, 44).filter(|&address: &u64| address != 0 && address.is_multiple_of(8));
        }
    }

    /// PCI configuration space (PCI Firmware Specification 3.3, section 4.1.2).
    fn read_mcfg(&mut self, tables: &Tables) {
        let table = tables.find(Signature::MCFG).unwrap_or_default();
        for entry in table.get(44..).unwrap_or_default().chunks_exact(16) {
            let (Some(base), Some(segment)) = (read(entry, 0), read(entry, 8)) else {
                return;
            };
            let range = PciRange {
                base,
                segment,
                first_bus: entry[10],
                last_bus: entry[11],
            };
            if range.first_bus <= range.last_bus && self.pci.push(range) {
                log::debug!(
                    "PCI segment {}, buses {} to {}: configuration space at {:#x}",
                    range.segment,
                    range.first_bus,
                    range.last_bus,
                    range.base
                );
            } else {
                log::warn!("ignored ACPI MCFG entry: {range:x?}");
            }
        }
    }
}

fn power_ports(fadt: &Fadt, tables: &Tables) -> Option<PowerPorts> {
    let enable_port = u16::try_from(fadt.smi_cmd_port).ok()?;
    Some(PowerPorts {
        pm1a: port(fadt.pm1a_control_block().ok()?)?,
        pm1b: fadt.pm1b_control_block().ok().flatten().and_then(port),
        enable: (enable_port != 0 && fadt.acpi_enable != 0)
            .then_some((enable_port, fadt.acpi_enable)),
        dsdt: tables.at(fadt.dsdt_address().ok()? as u64)?,
    })
}

/// The port of a register that is one.
fn port(register: GenericAddress) -> Option<u16> {
    let number = u16::try_from(register.address)
        .ok()
        .filter(|&number| number != 0)?;
    (register.address_space == AddressSpace::SystemIo).then_some(number)
}

//! A machine whose firmware shares memory with devices. QEMU never says that of its own firmware, so
//! it makes no ACPI tables here: the firmware does, and adds a DMAR table of ours.

use std::{io::Write, time::Duration};

use anyhow::{Context, Result};

use crate::{
    qemu::Machine,
    test::{guest_suite, tally::Tally},
};

pub const KIND: &str = "device[reserved memory]";
/// Where QEMU's IOMMU has its registers.
const UNIT: u64 = 0xfed9_0000;
/// Places on the root bus that the test program knows: an edu and a port, which the firmware uses,
/// and another port.
const EDU: u8 = 0x1d;
const PORT: u8 = 0x1c;
const OTHER_PORT: u8 = 0x1b;
/// Kinds of structures, and of device scopes (VT-d 4.1, 8.2 and 8.3.1).
const REMAPPING_UNIT: u16 = 0;
const RESERVED_MEMORY: u16 = 1;
const FUNCTION: u8 = 1;
const BRIDGE: u8 = 2;
const IO_APIC: u8 = 3;

pub fn run(mut machine: Machine, limit: Duration, tally: &mut Tally) -> Result<()> {
    let mut table = tempfile::NamedTempFile::new().context("the ACPI table cannot be made")?;
    table.write_all(&dmar())?;
    machine.iommu = true;
    machine.cores = 2;
    let mut add = |option: &str, value: String| machine.extra.extend([option.into(), value]);
    add("-machine", "acpi=off".into());
    let place = table.path().display().to_string().replace(',', ",,");
    add("-acpitable", format!("sig=DMAR,data={place}"));
    // The manifest takes the first.
    add("-device", "edu".into());
    add("-device", "edu".into());
    add("-device", format!("edu,addr={EDU:#x}"));
    for port in [PORT, OTHER_PORT] {
        let id = format!("port{port}");
        let place = format!("id={id},bus=pcie.0,addr={port:#x},chassis={port}");
        add("-device", format!("pcie-root-port,{place}"));
        add("-device", format!("{},bus={id}", super::TWIN));
    }
    guest_suite::run(KIND, &machine, limit, tally)
}

/// The table behind its ACPI header, which QEMU makes: a unit that has all functions, and two ranges
/// of reserved memory (8.1, 8.3, 8.4).
fn dmar() -> Vec<u8> {
    let mut table = vec![47, 1]; // 48 address bits; interrupts are remapped
    table.resize(12, 0);
    let mut unit = vec![1, 0, 0, 0]; // all functions of segment 0
    unit.extend(UNIT.to_le_bytes());
    unit.extend(scope(IO_APIC, 0xff, 0));
    table.extend(structure(REMAPPING_UNIT, &unit));
    for (kind, device, start) in [(FUNCTION, EDU, 0x1000u64), (BRIDGE, PORT, 0x2000)] {
        let mut range = vec![0; 4]; // segment 0
        range.extend(start.to_le_bytes());
        range.extend((start + 0xfff).to_le_bytes());
        range.extend(scope(kind, 0, device));
        table.extend(structure(RESERVED_MEMORY, &range));
    }
    table
}

fn structure(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = content.len() as u16 + 4;
    [&kind.to_le_bytes(), &length.to_le_bytes(), content].concat()
}

/// A device scope whose path has one step.
fn scope(kind: u8, bus: u8, device: u8) -> [u8; 8] {
    [kind, 8, 0, 0, 0, bus, device, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_follow_each_other_to_the_end() {
        let table = dmar();
        let mut rest = &table[12..];
        let mut kinds = vec![];
        while let [kind, _, low, high, ..] = *rest {
            kinds.push(kind);
            rest = &rest[usize::from(u16::from_le_bytes([low, high]))..];
        }
        assert_eq!(kinds, [0, 1, 1]);
        assert!(rest.is_empty());
    }
}

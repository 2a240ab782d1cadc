//! Configuration space: read by the owner, written hardly at all.

use driver_sdk::{abi::device::FunctionMeta, prelude::*};
use guest_harness::harness::{Outcome, check, equal, tests};

use crate::machine::{disk, edu};

tests![
    configuration_space_is_read_by_aligned_registers,
    what_could_harm_others_is_not_written,
    a_message_is_not_written_by_its_owner,
    what_harms_nobody_is_written,
];

/// Offsets of PCI 3.0, 6.1.
const COMMAND: u16 = 0x04;
const CACHE_LINE_SIZE: u16 = 0x0c;
const BAR0: u16 = 0x10;
const EXPANSION_ROM: u16 = 0x30;
const CAPABILITIES: u16 = 0x34;
const INTERRUPT_LINE: u16 = 0x3c;
/// Identifiers of capabilities (PCI 3.0, appendix H; PCI Express 5.0, 7.5.3.1).
const POWER_MANAGEMENT: u32 = 0x01;
const EXPRESS: u32 = 0x10;
const MSI: u32 = 0x05;
const MSI_X: u32 = 0x11;

/// Where a capability is.
fn capability(function: &PciFunction, wanted: u32) -> Outcome<u16> {
    let mut at = function.config_read(CAPABILITIES, 1)? as u16;
    for _ in 0..48 {
        if at != 0 && function.config_read(at, 1)? == wanted {
            return Ok(at);
        }
        at = function.config_read(at + 1, 1)? as u16;
    }
    Err("the function lacks the capability".into())
}

fn configuration_space_is_read_by_aligned_registers() -> Outcome {
    let disk = disk()?;
    let identity = disk.meta(FunctionMeta::Identity)? as u32;
    equal!(disk.config_read(0, 4)?, identity);
    equal!(disk.config_read(0, 2)?, identity & 0xffff);
    equal!(disk.config_read(2, 2)?, identity >> 16);
    equal!(disk.config_read(1, 1)?, identity >> 8 & 0xff);
    equal!(
        disk.config_read(8, 4)?,
        disk.meta(FunctionMeta::Class)? as u32
    );
    disk.config_read(4092, 4)?;
    let wrong = [(0, 0), (0, 3), (2, 4), (1, 2), (4096, 1), (u16::MAX, 1)];
    for (offset, width) in wrong {
        let read = disk.config_read(offset, width);
        equal!(read, Err(Error::BadArgument), "{width} bytes at {offset}");
        let write = disk.config_write(offset, width, 0);
        equal!(write, Err(Error::BadArgument), "{width} bytes at {offset}");
    }
    Ok(())
}

fn what_could_harm_others_is_not_written() -> Outcome {
    let disk = disk()?;
    let power = capability(&disk, POWER_MANAGEMENT)? + 4;
    let express = capability(&disk, EXPRESS)? + 8;
    let vectors = capability(&disk, MSI_X)? + 2;
    let command = disk.config_read(COMMAND, 2)?;
    let forbidden = [
        ("BAR 0", BAR0, 4, 0xfe00_0000),
        ("the upper half of BAR 0", BAR0 + 4, 4, 1),
        ("BAR 5", BAR0 + 20, 4, 0xfe00_0000),
        ("the expansion ROM", EXPANSION_ROM, 4, 0xfe00_0001),
        ("the interrupt line", INTERRUPT_LINE, 1, 5),
        ("bus mastering", COMMAND, 2, command | 1 << 2),
        (
            "bus mastering, with the status",
            COMMAND,
            4,
            command | 1 << 2,
        ),
        ("I/O ports", COMMAND, 2, command ^ 1),
        ("memory decoding", COMMAND, 2, command ^ 2),
        ("interrupt lines", COMMAND, 2, command ^ 1 << 10),
        ("the power state", power, 2, 3),
        ("a reset", express, 2, 1 << 15),
        ("the message table", vectors, 2, 0xc000),
        ("the vendor", 0, 2, 0),
        ("extended space", 0x100, 4, 0),
    ];
    for (what, offset, width, value) in forbidden {
        let before = disk.config_read(offset, width)?;
        let written = disk.config_write(offset, width, value);
        equal!(
            written,
            Err(Error::Refused),
            "the answer to a write of {what}"
        );
        equal!(disk.config_read(offset, width)?, before, "{what}");
    }
    equal!(disk.meta(FunctionMeta::BusMaster), Ok(0));
    Ok(())
}

/// The edu has one message, in configuration space (PCI 3.0, 6.8.1).
fn a_message_is_not_written_by_its_owner() -> Outcome {
    let edu = edu()?;
    let at = capability(&edu, MSI)?;
    for (offset, width, value) in [(2, 2, 1), (4, 4, 0xfee0_0000), (8, 4, 0), (12, 2, 0x30)] {
        let before = edu.config_read(at + offset, width)?;
        let written = edu.config_write(at + offset, width, value);
        equal!(written, Err(Error::Refused), "register {offset}");
        equal!(edu.config_read(at + offset, width)?, before);
    }
    Ok(())
}

fn what_harms_nobody_is_written() -> Outcome {
    let disk = disk()?;
    let command = disk.config_read(COMMAND, 2)?;
    check!(command & 2 != 0, "the function does not answer to its BARs");
    for value in [command | 1 << 8, command] {
        disk.config_write(COMMAND, 2, value)?;
        equal!(disk.config_read(COMMAND, 2)?, value);
    }
    disk.config_write(CACHE_LINE_SIZE, 1, 16)?;
    equal!(disk.config_read(CACHE_LINE_SIZE, 1)?, 16);
    Ok(())
}

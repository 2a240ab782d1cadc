//! What the owner of a function may write into its configuration space.
//!
//! Little: what decides whether and at which addresses the function answers (with decoding off the
//! kernel could not mask its interrupts), where its interrupts go, whether
//! it masters the bus and in which power state it is stays the kernel's. An allow list, so that
//! what nobody thought of is refused. Register offsets: PCI Local Bus Specification 3.0, 6.1.

/// Offset of the command register.
pub const COMMAND: u16 = 0x04;
/// Offset of the status register, whose bits are cleared by writing ones.
pub const STATUS: u16 = 0x06;
/// Offset of the cache line size.
const CACHE_LINE_SIZE: u16 = 0x0c;
/// Offset of the latency timer.
const LATENCY_TIMER: u16 = 0x0d;
/// Bytes of a function's configuration space.
pub const CONFIG_SPACE: u16 = 4096;

/// Command register: the function answers to its I/O port BARs.
pub const COMMAND_PORTS: u16 = 1 << 0;
/// Command register: the function answers to its memory BARs.
pub const COMMAND_MEMORY: u16 = 1 << 1;
/// Command register: the function may master the bus.
pub const COMMAND_BUS_MASTER: u16 = 1 << 2;
/// Command register: parity and system error reporting.
const COMMAND_ERRORS: u16 = 1 << 6 | 1 << 8;
/// Command register: the function uses no interrupt lines.
pub const COMMAND_NO_LINES: u16 = 1 << 10;

/// Whether an owner may write `value`, of `width` bytes, at `offset`, while the command register
/// has the value `command`.
pub fn may_write(offset: u16, width: u8, value: u32, command: u16) -> bool {
    match (offset, width) {
        (COMMAND, 2) => {
            let changes = value as u16 ^ command;
            changes & !COMMAND_ERRORS == 0
        }
        (STATUS, 2) | (CACHE_LINE_SIZE | LATENCY_TIMER, 1) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn only_four_registers_can_be_written(
            offset in 0..CONFIG_SPACE, width in 0u8..10, value: u32, command: u16,
        ) {
            let known = [(COMMAND, 2), (STATUS, 2), (CACHE_LINE_SIZE, 1), (LATENCY_TIMER, 1)];
            if !known.contains(&(offset, width)) {
                prop_assert!(!may_write(offset, width, value, command));
            }
        }

        #[test]
        fn decoding_bus_mastering_and_lines_stay_as_they_are(value: u16, command: u16) {
            if may_write(COMMAND, 2, value.into(), command) {
                let kept = COMMAND_MEMORY | COMMAND_BUS_MASTER | COMMAND_NO_LINES | COMMAND_PORTS;
                prop_assert_eq!(value & kept, command & kept);
            }
        }
    }

    #[test]
    fn a_bar_is_never_moved() {
        for offset in (0x10..0x28).step_by(4) {
            assert!(!may_write(offset, 4, 0xfeb0_0000, COMMAND_MEMORY));
        }
    }
}

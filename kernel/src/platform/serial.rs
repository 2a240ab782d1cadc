//! The first serial port (COM1), write only.
//!
//! A machine without one is fine: everything is dropped. A port that stops taking bytes costs one
//! bounded wait; then what is written is dropped until it takes bytes again.

use core::sync::atomic::{AtomicU32, Ordering};

use uart_16550::{
    BaudRate, Config, Uart16550,
    spec::{FIFO_SIZE, registers::LSR},
};

use super::io::Port;

/// Where COM1 is, by convention since the IBM PC/AT.
const BASE: u16 = 0x3f8;

// SAFETY: the registers of a serial port; without a port nothing answers.
const DATA: Port<u8> = unsafe { Port::new(BASE) };
// SAFETY: as above.
const LINE_STATUS: Port<u8> = unsafe { Port::new(BASE + 5) };

/// How often the status is read before the port counts as stuck. A read takes about a
/// microsecond on real hardware, and 16 bytes at 115200 baud take 1.4 ms.
const PATIENCE: u32 = 100_000;

/// How often the status is read for the next burst: 0 without a port, 1 while it is stuck.
static PATIENCE_LEFT: AtomicU32 = AtomicU32::new(0);

/// Sets the port to 115200 baud, 8N1. Returns whether there is one.
pub fn init() -> bool {
    // SAFETY: the kernel is the only user of COM1, and its eight registers are at these ports.
    let Ok(mut uart) = (unsafe { Uart16550::new_port(BASE) }) else {
        return false;
    };
    let config = Config {
        baud_rate: BaudRate::Baud115200,
        ..Config::DEFAULT
    };
    let present = uart.init(config).is_ok();
    PATIENCE_LEFT.store(if present { PATIENCE } else { 0 }, Ordering::Relaxed);
    present
}

/// Writes bytes as they are. The caller sees to it that cores take turns.
pub fn write(bytes: &[u8]) {
    // An empty transmitter takes as many bytes as its FIFO has, so the status is read once for all.
    for burst in bytes.chunks(FIFO_SIZE) {
        if !wait_for(LSR::THR_EMPTY) {
            return;
        }
        for &byte in burst {
            DATA.write(byte);
        }
    }
}

/// Waits until the last byte has left, before the machine is switched off.
pub fn flush() {
    wait_for(LSR::TRANSMITTER_EMPTY);
}

fn wait_for(condition: LSR) -> bool {
    let patience = PATIENCE_LEFT.load(Ordering::Relaxed);
    for _ in 0..patience {
        if LINE_STATUS.read() & condition.bits() != 0 {
            if patience == 1 {
                PATIENCE_LEFT.store(PATIENCE, Ordering::Relaxed);
            }
            return true;
        }
        core::hint::spin_loop();
    }
    PATIENCE_LEFT.store(patience.min(1), Ordering::Relaxed);
    false
}

//! The end of the emulator, by the device that Spillway ends it with as well.

use std::{arch::asm, io};

use anyhow::{Result, bail};

/// The port of `isa-debug-exit`, and what is written there. The emulator's exit code is twice that,
/// plus 1.
const PORT: u16 = 0xf4;
const SUCCESS: u8 = 0x10;
const FAILURE: u8 = 0x11;

/// Ends the emulator.
///
/// # Errors
///
/// If the port may not be used, or nothing is there.
pub fn end(success: bool) -> Result<()> {
    // SAFETY: the call changes what this thread may do, and nothing in memory.
    if unsafe { libc::ioperm(PORT.into(), 1, 1) } != 0 {
        bail!("ioperm: {}", io::Error::last_os_error());
    }
    let byte = if success { SUCCESS } else { FAILURE };
    // SAFETY: the port is this thread's; a device there ends the machine, and does nothing else.
    unsafe { asm!("out dx, al", in("dx") PORT, in("al") byte, options(nomem, nostack)) };
    bail!("port {PORT:#x} does not end the machine")
}

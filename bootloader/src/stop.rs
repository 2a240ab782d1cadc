//! The end of the road: one line that says why, then nothing.

use core::{fmt, panic::PanicInfo};
use x86_64::instructions::{hlt, interrupts, port::Port};

/// QEMU's `isa-debug-exit` device, where the command line says that there is one.
const DEBUG_EXIT_PORT: u16 = 0xf4;
/// The loader's failure there: QEMU's exit status is `2 * 0x21 + 1`.
const DEBUG_EXIT_FAILURE: u8 = 0x21;

/// Says why the kernel is not started, and stops for ever.
pub fn fail(reason: impl fmt::Display, command_line: &[u8]) -> ! {
    crate::serial::line(format_args!("error: {reason}"));
    if command_line
        .split(u8::is_ascii_whitespace)
        .any(|word| word == b"exit=debug")
    {
        // SAFETY: whoever wrote `exit=debug` says that this port belongs to `isa-debug-exit`.
        unsafe { Port::new(DEBUG_EXIT_PORT).write(DEBUG_EXIT_FAILURE) };
    }
    loop {
        interrupts::disable();
        hlt();
    }
}

/// A mistake of the loader's own; its inputs cannot cause one.
#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    fail(format_args!("mistake in the loader: {info}"), &[])
}

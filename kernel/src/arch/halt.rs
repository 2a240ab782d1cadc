//! Waiting for an interrupt: the only places where the kernel lets interrupts in.

use core::arch::asm;

/// Sleeps until an interrupt has been handled.
///
/// `sti` takes effect after the next instruction, so nothing that arrives between the caller's
/// last look and the sleep is lost.
#[inline]
pub fn sleep() {
    // SAFETY: the handlers return to the instruction behind `hlt` and change nothing but what
    // they preserve or the clobbers name.
    unsafe { asm!("sti", "hlt", "cli", clobber_abi("C")) }
}

/// Lets pending interrupts be handled, without sleeping.
#[inline]
pub fn interrupt_window() {
    // SAFETY: as for `sleep`.
    unsafe { asm!("sti", "nop", "nop", "cli", clobber_abi("C")) }
}

/// Stops this core for good.
pub fn forever() -> ! {
    loop {
        // SAFETY: with interrupts off, only a non-maskable interrupt wakes the core, and its
        // handler returns here.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) }
    }
}

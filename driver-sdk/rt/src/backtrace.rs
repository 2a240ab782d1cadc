//! The chain of calls, by frame pointers, with names from the program's own file.

use core::arch::asm;

use rustc_demangle::demangle;
use spillway_abi::{Rights, startup as names};
use spillway_elf::symbols;

use crate::{eprintln, object::Memory, startup, thread};

/// More than this many frames are not shown: a runaway recursion says the same again and again.
const MAX_FRAMES: usize = 32;

/// Prints the return addresses on this thread's stack; with names if the program was given its
/// [`names::IMAGE`].
#[inline(never)]
pub(crate) fn print() {
    let image =
        startup::object::<Memory>(names::IMAGE).and_then(|image| image.map(Rights::READ).ok());
    // SAFETY: whoever started the program keeps its file as it is.
    let file = image.as_ref().map(|mapping| unsafe { mapping.as_slice() });
    for (number, address) in frames().take(MAX_FRAMES).enumerate() {
        // The call is before the address to which it returns.
        match file.and_then(|file| symbols::lookup(file, address - 1)) {
            Some((name, offset)) => {
                eprintln!(
                    "  {number:2}: {address:#x} {:#}+{:#x}",
                    demangle(name),
                    offset + 1
                );
            }
            None => eprintln!("  {number:2}: {address:#x}"),
        }
    }
}

/// The return addresses, the innermost first. Inlined, so that the frame where the chain begins
/// is still there when it is followed.
#[inline(always)]
fn frames() -> impl Iterator<Item = u64> {
    let (mut frame, low): (u64, u64);
    // SAFETY: only reads two registers.
    unsafe {
        asm!("mov {}, rbp", "mov {}, rsp", out(reg) frame, out(reg) low, options(nomem, nostack));
    }
    let high = thread::stack_top();
    let mut lowest = low;
    core::iter::from_fn(move || {
        // A frame lies on this stack, above the one that it called; anything else is damage.
        let inside = frame >= lowest && frame.checked_add(16)? <= high;
        if !inside || !frame.is_multiple_of(8) {
            return None;
        }
        // SAFETY: both words lie between the stack pointer and the stack's top, which is mapped.
        let [caller, address] = unsafe { *(frame as *const [u64; 2]) };
        lowest = frame + 16;
        frame = caller;
        (address != 0).then_some(address)
    })
}

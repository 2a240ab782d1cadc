//! Who called whom, by frame pointers, with names from the kernel's own file.
//!
//! It is used when something is already wrong, so nothing is believed: each address is checked
//! before it is read, and the number of frames is limited.

use core::{arch::asm, fmt};

use rustc_demangle::demangle;
use spillway_bootinfo::BootInfo;
use spillway_elf::symbols;
use spin::Once;

use crate::memory;

/// The most frames that are shown.
const MAX_FRAMES: usize = 32;
/// The kernel's own file among the modules.
const KERNEL_MODULE: &[u8] = b"kernel";

struct Settings {
    file: &'static [u8],
    is_stack: fn(u64) -> bool,
}

static SETTINGS: Once<Settings> = Once::new();

/// Remembers the kernel's file, and how to tell that the eight bytes at an address are on a
/// kernel stack that is mapped.
pub fn init(info: &BootInfo, is_stack: fn(u64) -> bool) {
    let modules = info
        .modules
        .get(..info.module_count as usize)
        .unwrap_or_default();
    let module = modules.iter().find(|module| {
        let (name, rest) = module.name.split_at(KERNEL_MODULE.len());
        name == KERNEL_MODULE && rest[0] == 0
    });
    let file = module.map_or(&[][..], |module| {
        // SAFETY: the loader put the module there, its memory stays as it is, and it is in the
        // direct map.
        unsafe {
            core::slice::from_raw_parts(memory::phys_to_virt(module.start), module.length as usize)
        }
    });
    SETTINGS.call_once(|| Settings { file, is_stack });
}

/// The frame pointer of the caller.
#[inline(always)]
pub fn frame_pointer() -> u64 {
    let value;
    // SAFETY: only reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes a line for `rip`, if it is not 0, and for each caller that the frames from `rbp` on
/// lead to.
pub fn write(out: &mut impl fmt::Write, rip: u64, rbp: u64) -> fmt::Result {
    if rip != 0 {
        write_frame(out, rip, rip)?;
    }
    let mut frame = rbp;
    for _ in 0..MAX_FRAMES {
        let Some((caller, return_address)) = read_frame(frame) else {
            return Ok(());
        };
        if return_address == 0 {
            return Ok(());
        }
        // The call is before the address to which it returns, maybe at the end of a function.
        write_frame(out, return_address, return_address.wrapping_sub(1))?;
        frame = caller;
    }
    writeln!(out, "  ... more than {MAX_FRAMES} frames")
}

/// The caller's frame pointer and the return address, if they are on a stack.
fn read_frame(frame: u64) -> Option<(u64, u64)> {
    let is_stack = SETTINGS.get()?.is_stack;
    let above = frame.checked_add(8)?;
    if !frame.is_multiple_of(8) || !is_stack(frame) || !is_stack(above) {
        return None;
    }
    // SAFETY: both words are aligned and on a stack that is mapped.
    unsafe {
        Some((
            (frame as *const u64).read_volatile(),
            (above as *const u64).read_volatile(),
        ))
    }
}

fn write_frame(out: &mut impl fmt::Write, shown: u64, inside: u64) -> fmt::Result {
    let file = SETTINGS.get().map_or(&[][..], |settings| settings.file);
    match symbols::lookup(file, inside) {
        Some((name, offset)) => {
            let offset = offset + (shown - inside);
            writeln!(out, "  {shown:016x} {:#}+{offset:#x}", demangle(name))
        }
        None => writeln!(out, "  {shown:016x}"),
    }
}

//! The names under which the compiler and `core` look for the functions.

use crate::block;

/// C `memcpy`.
///
/// # Safety
/// `source` must be readable and `target` writable for `length` bytes, and they must not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(target: *mut u8, source: *const u8, length: usize) -> *mut u8 {
    // SAFETY: what the caller promises is what `copy_up` asks for.
    unsafe { block::copy_up(target, source, length) };
    target
}

/// C `memmove`.
///
/// # Safety
/// `source` must be readable and `target` writable for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(target: *mut u8, source: *const u8, length: usize) -> *mut u8 {
    // SAFETY: what the caller promises is what `copy` asks for.
    unsafe { block::copy(target, source, length) };
    target
}

/// C `memset`.
///
/// # Safety
/// `target` must be writable for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(target: *mut u8, value: i32, length: usize) -> *mut u8 {
    // SAFETY: what the caller promises is what `fill` asks for.
    unsafe { block::fill(target, value as u8, length) };
    target
}

/// C `memcmp`.
///
/// # Safety
/// Both must be readable for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    // SAFETY: what the caller promises is what `compare` asks for.
    unsafe { block::compare(left, right, length) }
}

/// C `bcmp`: `memcmp` where only equal or not matters.
///
/// # Safety
/// Both must be readable for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    // SAFETY: what the caller promises is what `compare` asks for.
    unsafe { block::compare(left, right, length) }
}

/// C `strlen`.
///
/// # Safety
/// `text` must be readable up to and with its final zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strlen(text: *const u8) -> usize {
    // SAFETY: what the caller promises is what `length` asks for.
    unsafe { block::length(text) }
}

/// Named by the unwind tables of the precompiled `core`. Panics abort, so nobody calls it.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}

/// Named by the landing pads of the precompiled `core`. Panics abort, so nobody gets here.
#[allow(non_snake_case)]
#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_Resume() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

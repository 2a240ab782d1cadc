//! The memory functions that the compiler calls, for binaries without a C library.
//!
//! The loader, the kernel and programs link this crate (`use spillway_memops as _;`). The
//! functions are counted in instructions, not only in cycles: `rep movsb` counts one per byte
//! under emulation, so blocks move through 16-byte vector registers, eight at a time, and an odd
//! end is covered by a last load that overlaps what went before.
#![cfg_attr(not(test), no_std)]
// Without this the compiler may turn the loop in `memcpy` into a call of `memcpy`.
#![no_builtins]

mod block;
#[cfg(not(test))]
mod symbols;

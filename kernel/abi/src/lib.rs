//! What the kernel and programs share: handles, rights, errors, call numbers, data layouts.
//!
//! This crate knows nobody: the kernel, the SDK and host tools all depend on it. Every layout has
//! its size and offsets asserted at compile time, and every value that crosses the border has a
//! checked way back from its raw form.
//!
//! A system call looks like a function call. The number is in `rax`, the arguments are in `rdi`,
//! `rsi`, `rdx`, `r10`, `r8`, `r9`. On return `rax` is 0 or an [`Error`], and `rdx` is the value.
//! Every other register that the C calling convention lets a function change is changed: `rcx` and
//! `r11` are what `syscall` puts there (the next instruction and the flags), `rdi`, `rsi`, `r8` to
//! `r10` and all vector registers come back cleared, but for the message that [`Call::Serve`] returns
//! in them.
#![no_std]
#![forbid(unsafe_code)]

pub mod call;
pub mod counters;
pub mod device;
pub mod error;
pub mod handle;
pub mod layout;
pub mod limits;
pub mod note;
pub mod object;
pub mod queue;
pub mod service;
pub mod startup;
pub mod status;
pub mod time;

pub use call::Call;
pub use error::Error;
pub use handle::{Handle, Rights};
pub use status::{ExitStatus, Fault};

/// The version of everything in this crate. A program carries it in its ELF note, the kernel
/// returns it from [`Call::Version`]; they must be equal.
pub const ABI_VERSION: u32 = 2;

/// Bytes in a page, the unit in which memory is created, mapped and protected.
pub const PAGE_SIZE: u64 = 4096;

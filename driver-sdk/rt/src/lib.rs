//! The run time of a Spillway program: what stands between the kernel's system calls and a
//! `main` that looks like any other.
//!
//! | module | what it is |
//! |---|---|
//! | [`entry`] | the first instruction, `main!` |
//! | [`startup`](mod@startup) | handles by name, arguments |
//! | [`object`] | the kernel's objects, typed |
//! | [`syscall`] | the system calls, raw |
//! | [`thread`], [`sync`], [`time`] | what their names say |
//! | [`process`] | starting other programs |
//! | [`serve`] | serving objects to other programs |
//! | [`task`] | futures on one thread, whose reactor is the IoQueue |
//!
//! A heap and a panic report come with it: `alloc` works, and a panic ends the process with
//! [`spillway_abi::ExitStatus::PANIC_CODE`] after it told why and where.
#![no_std]

extern crate alloc;
// memcpy and its family, which the compiler takes for granted.
extern crate spillway_memops as _;

mod backtrace;
pub mod entry;
mod heap;
pub mod object;
mod panic;
#[doc(hidden)]
pub mod print;
pub mod process;
pub mod serve;
pub mod startup;
pub mod sync;
pub mod syscall;
pub mod task;
pub mod thread;
pub mod time;

pub use startup::{arguments, own_process, startup};

//! The Spillway microkernel.
//!
//! A request enters in [`arch::entry`] (a system call) or [`arch::traps`] (an exception or an
//! interrupt), is handled in [`syscall`] on the objects of [`object`], and leaves through
//! [`sched`], which goes on with a program. [`memory`] and [`platform`] are below all of them.
//! `docs/` has a page on each.
#![no_std]
#![no_main]

extern crate alloc;
extern crate spillway_memops as _;

mod arch;
mod first;
mod iommu;
mod ipc;
mod kernel;
mod memory;
mod object;
mod pci;
mod platform;
mod sched;
mod selftest;
mod start;
mod sync;
mod syscall;
mod time_page;

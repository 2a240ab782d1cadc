//! The second boot stage. A hypervisor (PVH) or GRUB (Multiboot2) starts it; it makes sense of
//! what they left in memory, loads the kernel, builds the page tables and enters the kernel with
//! one [`BootInfo`](spillway_bootinfo::BootInfo).
//!
//! The decisions are in `spillway-bootloader-core` and tested on the host; here is what touches
//! the machine.
#![no_std]
#![no_main]

mod entry;
mod features;
mod identity;
mod kernel;
mod memory;
mod multiboot;
mod serial;
mod start;
mod stop;

// The compiler's calls of `memcpy` and its family end there.
use spillway_memops as _;

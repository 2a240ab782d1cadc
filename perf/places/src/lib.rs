//! A plugin for QEMU (9.1 or newer) that says where the instructions of a measured region went: the
//! program that measures, other programs, or the kernel. It counts from outside, so the guest executes
//! nothing for it, and what it says can be held against what the guest counted itself.
//!
//! A region lies between two markers, `xchg bx, bx`, of a program (`perf/guest/harness`). One whose first
//! marker finds a number in `rax` gets a line in the file that the argument `out=` names:
//!
//! ```text
//! number app others kernel mmio_writes iotlb_flushes
//! ```
//!
//! The program is told by its address space: the value of CR3 at the first marker. `perf/report` reads the
//! lines. The machine must have one processor.
//!
//! | file | what it is |
//! |---|---|
//! | `decode.rs` | the few instructions that matter |
//! | `books.rs` | from ever growing counts to a region's |
//! | `plugin.rs` | what QEMU calls, and the unsafe code |
mod books;
mod decode;
#[cfg(not(test))]
mod plugin;

//! Serves any block driver to other processes: by calls (level 1), by queues (level 2) and by shared
//! memory (level 3), on one thread and without locks.
//!
//! | file | what it is |
//! |---|---|
//! | `server.rs` | the loop, and how the time is passed |
//! | `hot.rs`, `usual.rs` | the path of a request |
//! | `pending.rs`, `wake.rs`, `out.rs` | who waits, who is woken, what is answered |
//! | `control.rs` | connecting, sharing, going |
//! | `client.rs`, `flights.rs` | what the server remembers |
//! | `backend.rs` | drivers: NVMe, and a RAM-disk |
//!
//! An object of the service is a range of blocks, by the numbers that the arguments say
//! (`arguments.rs`). Opening it gives a connection, which is the client's own: its rights, its
//! memory, its rings. `docs/blk-server.md` has the protocol and the promises.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod arguments;
pub mod backend;
mod client;
mod control;
mod flights;
mod hot;
mod out;
mod pending;
mod server;
mod usual;
mod wake;

pub use client::{MAX_LINKS, MAX_PENDING, MAX_POOLS, Range};
pub use control::{MAX_ALL_LINKS, MAX_CLIENTS};
pub use server::{BlkServer, Failure, Options};

//! An NVMe driver as a library: a controller, and any number of queue pairs that are polled or
//! waited for.
//!
//! ```no_run
//! # fn example<D: spillway_hal::Device>(device: D, address: spillway_hal::IoAddress)
//! # -> Result<(), spillway_hal::DriverError> {
//! use spillway_hal::block::*;
//! use spillway_nvme::{Nvme, Options};
//!
//! let mut controller = Nvme::new(device, Options::default())?;
//! let namespace = controller.namespaces()[0];
//! let mut queue = controller.open_queue(QueueOptions { depth: 32, interrupt: false })?;
//! queue.submit(&Request {
//!     operation: Operation::Read,
//!     namespace,
//!     lba: Lba(0),
//!     blocks: BlockCount(1),
//!     segments: &[Segment { address, bytes: 512 }],
//!     flags: RequestFlags::default(),
//!     tag: 1,
//! })?;
//! queue.kick();
//! while queue.in_flight() > 0 {
//!     queue.reap(|tag, result| assert!(tag == 1 && result.is_ok()));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! **Where to look.** `hot.rs` is the hot path, all of it. `split.rs` submits what is not simple, `recover.rs`
//! handles what goes wrong, `controller.rs` starts the device. `docs/nvme.md` lists what is
//! supported, with the sections of the specification and the tests.
//!
//! **The device is not trusted.** Commands are remembered on the driver's side; completions are read
//! once and compared. A device that breaks the rules, is late or dies is halted, and then every
//! request is given back with the reason.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod admin;
mod command;
mod completion;
mod controller;
mod hot;
mod identify;
mod limits;
mod prepared;
mod prp;
mod queue;
mod recover;
mod registers;
mod ring;
mod shared;
mod split;
mod status;

pub use controller::{MAX_DEPTH, MAX_NAMESPACES, MAX_QUEUES, Nvme, Options};
pub use identify::{ControllerInfo, Namespace};
pub use prepared::Prepared;
pub use queue::{Batch, Queue};
pub use status::StatusField;

//! An executor for one thread whose tasks wait for requests: completions of a [`Queue`].
//!
//! ```text
//!   task ──start──► slot, with the buffers ──submit──► queue
//!    ▲                │                                  │
//!    └──── wake ──────┴───────── completion ◄────────────┘
//! ```
//!
//! # What it promises
//!
//! - **A request starts when it is submitted**, and ends with one completion.
//! - **Buffers are owned.** A request takes them by value. Its slot keeps them until the completion,
//!   whoever drops what meanwhile, and then the [`Operation`] has them back.
//! - **Dropping a future does not cancel.** The request goes on; its result is discarded when it
//!   comes, and its buffers are freed then. [`Operation::cancel`] cancels.
//! - **Time-outs report.** [`Handle::within`] gives the future back when the time is up, so that it
//!   can be waited for again, cancelled or dropped. No buffer comes back early.
//! - **`join` and `select` lose nothing**: what did not win is given back by [`select`], as it is.
//! - **An executor that is dropped** cancels what is under way and waits for it, for as long as its
//!   patience lasts ([`Executor::set_patience`]). What has not come back then is leaked with its
//!   buffers: something may still write to them.
//! - **Batches scale by themselves**: what all tasks submit before they wait is handed over at
//!   once.
//!
//! It has no unsafe code, and knows nothing of the system that it runs on.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod executor;
mod inner;
mod operation;
mod queue;
mod root;
mod slots;
mod task;
mod time;

pub use executor::{DEFAULT_PATIENCE, Executor, Handle};
pub use futures_util::future::{Either, join, join_all, select};
pub use operation::{Operation, Rejected};
pub use queue::{Full, Next, Popped, Queue};
pub use task::Task;
pub use time::Sleep;

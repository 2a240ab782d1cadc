//! Block devices for applications: one interface and one kind of buffer, whatever the path to the
//! driver.
//!
//! | level | source | the path |
//! |---|---|---|
//! | 1 | `sync.rs`: `Sync` | a system call, and a server |
//! | 2 | `async_.rs`: `Async` | rings shared with the kernel, and a server |
//! | 3 | `shared.rs`: `Shared` | rings shared with a server |
//! | 4 | `integrated.rs`: [`Integrated`] | the driver, linked into the application |
//! | none | `memory.rs`: [`MemoryDevice`] | a device that is only memory, for tests of applications, with faults on request |
//!
//! Levels 1 to 3 reach a driver in another process by a [`protocol`]; they need the feature `native`,
//! and the kernel. An application is
//! written against [`BlockDevice`] and [`BlockQueue`], and moves from one level to another by
//! opening another device:
//!
//! ```
//! use spillway_io::{BlockDevice, BlockQueue, Buffer, ByteOffset, Error, MemoryDevice, Request};
//!
//! fn copy(device: &impl BlockDevice, from: ByteOffset, to: ByteOffset) -> Result<(), Error> {
//!     let pool = device.create_pool(64 * 1024)?;
//!     let mut queue = device.open_queue(Default::default())?;
//!     let mut done = Vec::new();
//!
//!     queue.submit(Request::read(from, pool.allocate(4096)?))?;
//!     let deadline = queue.now() + 1_000_000_000;
//!     queue.wait(deadline, |completion| done.push(completion))?;
//!     let completion = done.remove(0);
//!     completion.result?;
//!     let page: Buffer = completion.buffers.into_buffer().expect("one went in");
//!
//!     queue.submit(Request::write(to, page).with_fua())?;
//!     queue.wait(deadline, |completion| done.push(completion))?;
//!     done.remove(0).result
//! }
//!
//! copy(&MemoryDevice::new(1 << 20)?, ByteOffset(0), ByteOffset(8192))?;
//! # Ok::<(), Error>(())
//! ```
//!
//! # Completion, and owned buffers
//!
//! A request takes its buffers by value. They come back with its completion, when the device has let
//! go of them, and in no other way: not by a time-out, not by a cancellation, not by dropping the
//! queue. So no [`Buffer`] can be freed or touched while a device may write to it.
//!
//! `docs/io.md` says why the interface is as it is, and what it costs.
//!
//! Unsafe code is in `buffer.rs`, `pool.rs` and `heap.rs`, with the arguments why it is sound.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "native")]
mod async_;
mod block;
mod buffer;
mod error;
mod fate;
mod granules;
mod heap;
#[cfg(test)]
mod hostile;
mod integrated;
#[cfg(feature = "native")]
mod link;
mod memory;
mod pool;
pub mod protocol;
#[cfg(feature = "native")]
mod remote;
mod request;
#[cfg(feature = "native")]
mod shared;
mod slots;
mod statistics;
#[cfg(feature = "native")]
mod sync;

#[cfg(feature = "native")]
pub use async_::Async;
pub use block::{BlockDevice, BlockQueue, Cancel, QueueOptions, WaitMode};
pub use buffer::{Buffer, SharedBuffer};
pub use error::{Error, ErrorKind};
pub use fate::Fate;
pub use heap::HeapMemory;
pub use integrated::{Integrated, IntegratedQueue};
#[cfg(feature = "native")]
pub use link::ServerRings;
pub use memory::{MemoryDevice, MemoryQueue};
pub use pool::{Pool, PoolMemory};
#[cfg(feature = "native")]
pub use remote::{Connection, Level, Mapped, Path, RemoteQueue};
pub use request::{Buffers, Completion, Rejected, Request, RequestId, TraceId};
#[cfg(feature = "native")]
pub use shared::Shared;
pub use spillway_hal::block::{
    BlockCount, BlockLimits, BlockSize, ByteOffset, Lba, NamespaceId, Operation,
};
pub use statistics::Statistics;
#[cfg(feature = "native")]
pub use sync::Sync;

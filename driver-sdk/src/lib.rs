//! What a Spillway program depends on: this one crate.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! use driver_sdk::prelude::*;
//!
//! driver_sdk::main!(main);
//!
//! fn main() {
//!     println!("Hello.");
//! }
//! ```
//!
//! `cargo xtask` builds programs with the flags and the linker script that they need, in this
//! workspace and outside of it.
#![no_std]
#![forbid(unsafe_code)]

pub use spillway_abi as abi;
pub use spillway_hal as hal;
pub use spillway_io as io;
pub use spillway_native as native;
pub use spillway_rt as rt;

pub use rt::{eprintln, main, print, println};

/// What most programs use.
pub mod prelude {
    pub use crate::{
        abi::{Error, ExitStatus, Fault, Rights},
        rt::{
            object::{
                Clock, Counters, Devices, Event, IoQueue, Log, Memory, Object, Operations,
                PciFunction, Power, Process, Processes, Remote, Service, Thread, Timer,
            },
            process::{Command, Program},
            serve::{Answer, Ask, Request, Server},
            startup::{arguments, object, own_process, startup},
            sync::{ChannelError, Condvar, Mutex, OnceLock, Semaphore, channel},
            thread,
            time::{self, Deadline, Instant},
        },
    };
    pub use crate::{eprintln, print, println};
}

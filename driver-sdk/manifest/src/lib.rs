//! The manifest: which processes `init` starts, and everything that each of them is given.
//!
//! People write it in TOML ([`source`], on the host). The boot image carries the compact form
//! ([`Manifest::encode`]), which `init` reads with [`Manifest::decode`]. Both ways end in the same
//! check ([`Manifest::check`]), so a manifest that exists as a value keeps the limits below.
//! Nothing has any right that its manifest does not name.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "toml"))]
extern crate std;

mod check;
mod compact;
#[cfg(feature = "toml")]
mod entry;
mod services;
pub mod size;
#[cfg(feature = "toml")]
pub mod source;

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};
use spillway_abi::{
    Rights,
    limits::{DEFAULT_PRIORITY, Limits},
    startup,
};

pub use check::Invalid;
pub use compact::{DecodeError, MAGIC, VERSION};

/// Processes in a manifest.
pub const MAX_PROCESSES: usize = 128;
/// Bytes in the name of a process.
pub const MAX_NAME: usize = 31;
/// Bytes in the name of a module.
pub const MAX_MODULE_NAME: usize = 47;
/// Arguments of one process.
pub const MAX_ARGUMENTS: usize = 64;
/// Bytes in one argument.
pub const MAX_ARGUMENT: usize = 4096;
/// Devices of one process.
pub const MAX_DEVICES: usize = 32;
/// Services that one process provides.
pub const MAX_PROVIDES: usize = 16;
/// Objects of services that one process gets.
pub const MAX_SERVICES: usize = 32;
/// Grants of one process.
pub const MAX_GRANTS: usize = 64;
/// Bytes in the compact form, header included.
pub const MAX_ENCODED: usize = 256 << 10;

/// What `init` is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// When the machine is switched off.
    pub shutdown: Shutdown,
    /// Started in this order.
    pub processes: Vec<Process>,
}

/// When `init` switches the machine off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shutdown {
    /// When every process has ended that is not in the background. The machine's exit code is that
    /// of the first process of the manifest that failed until then, or 0.
    #[default]
    WhenAllExit,
    /// Never; only a process with [`Grant::Power`] does it.
    Never,
}

/// One process and all that it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// For people: the log, panics, lists. Unique in the manifest.
    pub name: String,
    /// The module of the boot image that holds its ELF file.
    pub program: String,
    /// What the program sees as its arguments.
    pub arguments: Vec<String>,
    /// Bytes of memory that it may have.
    pub memory: u64,
    /// Handles that it may have.
    pub handles: u32,
    /// Threads that it may have.
    pub threads: u32,
    /// Child processes that it may have.
    pub processes: u32,
    /// Requests of its queues, and timers, that can be under way.
    pub requests: u32,
    /// A bit per core on which it may run; 0 stands for all.
    pub cores: u64,
    /// The priority of its first thread, and the highest that its threads may have.
    pub priority: u32,
    /// The handles that it finds when it starts, besides the one to itself.
    pub grants: Vec<Grant>,
    /// The PCI functions that it owns.
    pub devices: Vec<Device>,
    /// The services that it is to serve, by names that are unique in the manifest. It finds each
    /// as `service:` and the name.
    pub provides: Vec<String>,
    /// The objects of services that it finds when it starts.
    pub services: Vec<ServedObject>,
    /// It runs for others: nobody waits for its end.
    pub background: bool,
}

/// An object that another process serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedObject {
    /// What the process calls it: its handle has this name.
    pub name: String,
    /// The service, as its server's `provides` has it.
    pub from: String,
    /// The server's number of the object.
    pub object: u64,
    /// What the handle allows, besides being passed on.
    pub rights: Vec<ServiceRight>,
}

/// What a handle to a served object can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceRight {
    /// Open, read and get-meta.
    Read,
    /// Write.
    Write,
    /// Share.
    Map,
    /// Create, destroy and set-meta.
    Manage,
}

impl ServiceRight {
    /// What a handle allows if nothing is said.
    pub const DEFAULT: [Self; 3] = [Self::Read, Self::Write, Self::Map];

    /// The kernel's right.
    pub const fn right(self) -> Rights {
        match self {
            Self::Read => Rights::READ,
            Self::Write => Rights::WRITE,
            Self::Map => Rights::MAP,
            Self::Manage => Rights::MANAGE,
        }
    }
}

/// A PCI function that a process owns from its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// What the process calls it: its handle is `device:` and this.
    pub name: String,
    /// What the kernel calls it: `pci:SSSS:BB:DD.F`, `class:CCSSII` or `id:VVVV:DDDD`, the last two
    /// with an optional `#N`.
    pub device: String,
}

impl Process {
    /// A process with modest limits, no arguments and no grants.
    pub fn new(name: &str, program: &str) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            arguments: Vec::new(),
            memory: Limits::DEFAULT.memory,
            handles: Limits::DEFAULT.handles,
            threads: Limits::DEFAULT.threads,
            processes: Limits::DEFAULT.processes,
            requests: Limits::DEFAULT.requests,
            cores: 0,
            priority: DEFAULT_PRIORITY,
            grants: Vec::new(),
            devices: Vec::new(),
            provides: Vec::new(),
            services: Vec::new(),
            background: false,
        }
    }
}

/// A handle that a process finds when it starts, by the name in [`spillway_abi::startup`].
///
/// New kinds are only ever added at the end, together with a new [`VERSION`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grant {
    /// Writes lines to the system log.
    Log,
    /// Reads the clock.
    Clock,
    /// Reads the system's counters.
    Counters,
    /// Switches the machine off.
    Power,
    /// Reads the ELF file that the program was loaded from.
    Image,
    /// Reads a module of the boot image; the handle has the module's name.
    Module(String),
    /// Lists the PCI functions, and opens any of them.
    Devices,
    /// Lists and opens its own descendants, and makes more.
    Processes,
}

impl Grant {
    /// What the process calls the handle.
    pub fn name(&self) -> &str {
        match self {
            Self::Log => startup::LOG,
            Self::Clock => startup::CLOCK,
            Self::Counters => startup::COUNTERS,
            Self::Power => startup::POWER,
            Self::Image => startup::IMAGE,
            Self::Module(name) => name,
            Self::Devices => startup::DEVICES,
            Self::Processes => startup::PROCESSES,
        }
    }
}

//! The kernel's objects.

pub mod dma;
pub mod grant;
pub mod interrupt;
pub mod memory;
pub mod process;
pub mod reach;
pub mod thread;

pub use dma::{DmaSpace, Pin};
pub use grant::Grant;
pub use interrupt::Interrupt;
pub use memory::Memory;
pub use process::Process;
pub use thread::Thread;

use alloc::sync::Arc;
use spillway_abi::{Error, Rights};

/// What a handle leads to.
#[derive(Clone, Debug)]
pub enum Object {
    /// A process.
    Process(Arc<Process>),
    /// A thread.
    Thread(Arc<Thread>),
    /// Pages.
    Memory(Arc<Memory>),
    /// The system log.
    Log,
    /// The monotonic clock.
    Clock,
    /// The counters of a process, or of the system.
    Counters(Option<Arc<Process>>),
    /// The power switch.
    Power,
    /// The table of PCI functions.
    Devices,
    /// A PCI function that was granted.
    PciFunction(Arc<Grant>),
    /// What a function may reach by DMA.
    DmaSpace(Arc<DmaSpace>),
    /// A range of memory in a DmaSpace.
    Pin(Arc<Pin>),
    /// A function's vector.
    Interrupt(Arc<Interrupt>),
}

/// The rights of a new process or thread object.
pub const OBJECT_RIGHTS: Rights = Rights::READ
    .union(Rights::MANAGE)
    .union(Rights::WAIT)
    .union(Rights::PASS);
/// The rights of a new Memory.
pub const MEMORY_RIGHTS: Rights = Rights::ACCESS
    .union(Rights::MAP)
    .union(Rights::DMA)
    .union(Rights::PASS);

impl Object {
    /// The process, or [`Error::WrongObject`].
    pub fn process(&self) -> Result<&Arc<Process>, Error> {
        match self {
            Self::Process(process) => Ok(process),
            _ => Err(Error::WrongObject),
        }
    }

    /// The memory, or [`Error::WrongObject`].
    pub fn memory(&self) -> Result<&Arc<Memory>, Error> {
        match self {
            Self::Memory(memory) => Ok(memory),
            _ => Err(Error::WrongObject),
        }
    }
}

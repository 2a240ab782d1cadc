//! The kernel's objects.

pub mod dma;
pub mod event;
pub mod grant;
pub mod interrupt;
pub mod memory;
pub mod process;
pub mod queue;
pub mod reach;
pub mod service;
pub mod thread;
pub mod timer;

pub use dma::{DmaSpace, Pin};
pub use event::Event;
pub use grant::Grant;
pub use interrupt::Interrupt;
pub use memory::Memory;
pub use process::Process;
pub use queue::IoQueue;
pub use service::{Remote, Service};
pub use thread::Thread;
pub use timer::Timer;

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
    /// Where requests on the objects of a server arrive.
    Service(Arc<Service>),
    /// An object that a process serves.
    Remote(Arc<Remote>),
    /// Submission and completion rings.
    IoQueue(Arc<IoQueue>),
    /// A wake-up.
    Event(Arc<Event>),
    /// A wake-up by the clock.
    Timer(Arc<Timer>),
    /// The table of a process's descendants.
    Processes(Arc<Process>),
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

/// The rights of a new Service.
pub const SERVICE_RIGHTS: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MANAGE)
    .union(Rights::WAIT)
    .union(Rights::PASS);
/// The rights of a new IoQueue. It can be used by its owner only, so it is not passed.
pub const QUEUE_RIGHTS: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MANAGE)
    .union(Rights::WAIT)
    .union(Rights::DUPLICATE);
/// The rights of a new Event.
pub const EVENT_RIGHTS: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::WAIT)
    .union(Rights::PASS);
/// The rights of a new Timer.
pub const TIMER_RIGHTS: Rights = Rights::READ
    .union(Rights::MANAGE)
    .union(Rights::WAIT)
    .union(Rights::PASS);
/// The rights of a new table of processes.
pub const TABLE_RIGHTS: Rights = Rights::READ.union(Rights::MANAGE).union(Rights::PASS);

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

    /// The service, or [`Error::WrongObject`].
    pub fn service(&self) -> Result<&Arc<Service>, Error> {
        match self {
            Self::Service(service) => Ok(service),
            _ => Err(Error::WrongObject),
        }
    }

    /// The queue, or [`Error::WrongObject`].
    pub fn queue(&self) -> Result<&Arc<IoQueue>, Error> {
        match self {
            Self::IoQueue(queue) => Ok(queue),
            _ => Err(Error::WrongObject),
        }
    }

    /// The event, or [`Error::WrongObject`].
    pub fn event(&self) -> Result<&Arc<Event>, Error> {
        match self {
            Self::Event(event) => Ok(event),
            _ => Err(Error::WrongObject),
        }
    }
}

//! The kernel's objects, each behind a type that knows its operations.
//!
//! Owning one of these values means owning a handle, not the object: dropping it gives the
//! handle back, and what the object stands for lives on as the object's own rules say. That a
//! handle has the kind and rights which its type suggests is checked by the kernel at each use.

mod device;
mod dma;
mod event;
mod memory;
mod process;
mod processes;
mod queue;
mod remote;
mod rings;
mod service;
mod small;
mod thread;
mod timer;

pub use device::{Devices, PciFunction};
pub use dma::{DmaSpace, Interrupt, Pin};
pub use event::Event;
pub use memory::{Mapping, Memory};
pub use process::{FaultReport, Process};
pub use processes::Processes;
pub use queue::{IoQueue, Registered, message};
pub use remote::{Operations, Remote, With};
pub use service::{Service, Slot, Window};
pub use small::{Clock, Counters, Log, Power, Snapshot};
pub use spillway_ring::PushError;
pub use thread::Thread;
pub use timer::Timer;

use spillway_abi::{Error, Handle, Rights, object::CreateKind};

use crate::syscall;

/// A handle that is given back when it is dropped.
#[derive(Debug, PartialEq, Eq)]
pub struct OwnedHandle(Handle);

impl OwnedHandle {
    /// Takes over a handle; nobody else may give it back.
    pub const fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// The handle, for a look or for a raw call.
    pub const fn get(&self) -> Handle {
        self.0
    }

    /// Lets go of it without giving it back.
    pub const fn into_raw(self) -> Handle {
        let handle = self.0;
        core::mem::forget(self);
        handle
    }

    /// A second handle in this process, with these rights or fewer.
    ///
    /// # Errors
    ///
    /// See [`syscall::duplicate`].
    pub fn duplicate(&self, rights: Rights) -> Result<Self, Error> {
        syscall::duplicate(self.0, rights, Handle::NULL).map(Self)
    }

    /// A handle in another process; its number there.
    ///
    /// # Errors
    ///
    /// See [`syscall::duplicate`].
    pub fn duplicate_into(&self, rights: Rights, process: &Process) -> Result<Handle, Error> {
        syscall::duplicate(self.0, rights, process.handle())
    }
}

impl AsRef<OwnedHandle> for OwnedHandle {
    fn as_ref(&self) -> &OwnedHandle {
        self
    }
}

impl Drop for OwnedHandle {
    fn drop(&mut self) {
        // The handle may be stale if its owner closed it by a raw call: nothing is left to do.
        let _ = syscall::close(self.0);
    }
}

/// An object type: a handle with the operations of its kind.
pub trait Object: From<OwnedHandle> + AsRef<OwnedHandle> {
    /// The handle, for a raw call.
    fn handle(&self) -> Handle {
        self.as_ref().get()
    }

    /// A second handle in this process, with these rights or fewer.
    ///
    /// # Errors
    ///
    /// See [`syscall::duplicate`].
    fn duplicate(&self, rights: Rights) -> Result<Self, Error> {
        self.as_ref().duplicate(rights).map(Self::from)
    }
}

/// `Create` on a process, of a kind whose arguments are no addresses.
fn create_on(process: &Process, kind: CreateKind, b: u64, c: u64) -> Result<OwnedHandle, Error> {
    debug_assert!(!matches!(kind, CreateKind::Thread | CreateKind::Process));
    // SAFETY: nothing but a handle comes to be.
    unsafe { syscall::create(process.handle(), kind, b, c) }.map(OwnedHandle::new)
}

macro_rules! object {
    ($name:ident) => {
        impl From<$crate::object::OwnedHandle> for $name {
            fn from(handle: $crate::object::OwnedHandle) -> Self {
                Self(handle)
            }
        }

        impl From<$name> for $crate::object::OwnedHandle {
            fn from(object: $name) -> Self {
                object.0
            }
        }

        impl AsRef<$crate::object::OwnedHandle> for $name {
            fn as_ref(&self) -> &$crate::object::OwnedHandle {
                &self.0
            }
        }

        impl $crate::object::Object for $name {}
    };
}
use object;

//! What a client shares with an object, on its way to the server.
//!
//! Until the server takes it, it is held as if the client still had its handle, which it can close
//! meanwhile: so a memory is paid for, a timer stays set, and nobody is told that the last handle
//! is gone.

use alloc::sync::Arc;
use spillway_abi::{Error, Handle, Rights};

use crate::{
    kernel::Kernel,
    object::{Object, Process, Service, service::MAX_EVENTS},
    sched::work,
    syscall::{hold, insert},
};

/// An object with rights, on its way.
#[derive(Debug)]
pub struct Gift {
    object: Object,
    rights: Rights,
    /// Whose handle it was.
    from: Arc<Process>,
}

impl Gift {
    /// What a handle of a process leads to, with these rights.
    pub const fn new(object: Object, rights: Rights, from: Arc<Process>) -> Self {
        Self {
            object,
            rights,
            from,
        }
    }

    /// It is on its way from here on, until [`Self::give`] or [`Self::release`]. The client has a
    /// handle still.
    pub fn hold(&self, kernel: &mut Kernel) {
        if self.is_counted() {
            // The client is among the holders, so there is room for it.
            let held = hold(kernel, &self.from, &self.object);
            debug_assert_eq!(held, Ok(()));
        }
    }

    /// It does not get there.
    pub fn release(self, kernel: &mut Kernel) {
        if self.is_counted() {
            let _ = work::close(kernel, &self.from, self.object);
        }
    }

    /// A service ends with the last handle of its server, whatever is on its way.
    const fn is_counted(&self) -> bool {
        !matches!(self.object, Object::Service(_))
    }

    /// Puts it into the server's table. An event that was shared with an object of this number is
    /// remembered.
    pub fn give(
        self,
        kernel: &mut Kernel,
        service: &Service,
        number: u64,
    ) -> Result<Handle, Error> {
        let inserted = insert(kernel, &service.owner, self.object.clone(), self.rights);
        if let (Ok(_), Object::Event(event)) = (&inserted, &self.object) {
            let events = &mut service.state.get_mut(kernel).events;
            let of_object = events.iter().filter(|(other, _)| *other == number).count();
            if of_object < MAX_EVENTS && events.try_reserve(1).is_ok() {
                events.push((number, event.clone()));
            }
        }
        self.release(kernel);
        inserted
    }
}

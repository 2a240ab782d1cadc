//! Data through the window of a service, copied once, by the thread whose memory it is.
//!
//! The copies run without the kernel lock. What is copied can change meanwhile, and so can what is
//! mapped where it goes: that is the problem of who does it. A slot has at most
//! [`spillway_abi::limits::MAX_WINDOW_SLOT`] bytes, so each copy is one bounded step.

use alloc::sync::Arc;
use spillway_abi::Error;

use super::window::release_slot;
use crate::{
    arch::user_copy::UserRange,
    kernel::{Guard, Kernel},
    object::Service,
};

/// Copies a program's memory, address and bytes, into a slot. The program's address space is
/// loaded. [`Error::BadPointer`], [`Error::ServerGone`].
pub fn copy_in(
    guard: &mut Guard,
    service: &Service,
    slot: u16,
    source: (u64, u64),
) -> Result<(), Error> {
    copy(guard, service, slot, source, |range, pages| {
        range.read_into(pages)
    })
}

/// Copies a slot into a program's memory, like [`copy_in`].
pub fn copy_out(
    guard: &mut Guard,
    service: &Service,
    slot: u16,
    destination: (u64, u64),
) -> Result<(), Error> {
    copy(guard, service, slot, destination, |range, pages| {
        range.write_from(pages)
    })
}

fn copy(
    guard: &mut Guard,
    service: &Service,
    slot: u16,
    (address, bytes): (u64, u64),
    copy: impl Fn(UserRange, *mut [u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    UserRange::new(address, bytes)?;
    let window = service.state.get(guard).window.as_ref();
    // The pages stay as long as the memory is held, also if the service ends meanwhile.
    let (memory, offset) = match window {
        Some(window) => (window.memory.clone(), u64::from(slot) * window.slot_bytes),
        None => return Err(Error::ServerGone),
    };
    lock_api::MutexGuard::unlocked(guard, || {
        let mut at = address;
        memory.stretches(offset, bytes, |pages| {
            let length = pages.len() as u64;
            copy(UserRange::new(at, length)?, pages)?;
            at += length;
            Ok(())
        })
    })
}

/// What is left to be copied out after an answer, before the thread that asked goes on.
#[derive(Debug)]
pub struct CopyOut {
    service: Arc<Service>,
    slot: u16,
    destination: (u64, u64),
}

impl CopyOut {
    /// Bytes of a slot, to an address of the thread that does it.
    pub fn new(service: Arc<Service>, slot: u16, destination: (u64, u64)) -> Self {
        Self {
            service,
            slot,
            destination,
        }
    }

    /// Does it; the result of the request. The thread's address space is loaded.
    pub fn run(self, guard: &mut Guard) -> Result<u64, Error> {
        let copied = copy_out(guard, &self.service, self.slot, self.destination);
        release_slot(guard, &self.service, self.slot);
        copied.map(|()| self.destination.1)
    }

    /// Nobody wants the data any more.
    pub fn abandon(&self, kernel: &mut Kernel) {
        release_slot(kernel, &self.service, self.slot);
    }
}

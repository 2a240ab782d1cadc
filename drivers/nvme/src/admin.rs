//! The admin queue: one command at a time, polled, with a deadline.

use alloc::{boxed::Box, sync::Arc};

use spillway_hal::{Clock, Device, DmaBuffer, DriverError, DriverErrorKind, FromDevice};

use crate::command::{AdminCommand, COMPLETION_BYTES};
use crate::identify::{IDENTIFY_BYTES, Page};
use crate::recover::ABORTED;
use crate::ring::{ADMIN_ENTRIES, Memory, Ring};
use crate::shared::{CONSTRAINTS, Core, Epoch};

/// The admin queue pair of a controller that was started, and a page for what it returns.
pub(crate) struct Admin<D: Device> {
    ring: Ring<D>,
    page: Arc<DmaBuffer<D::Dma, FromDevice>>,
    identifier: u16,
    epoch: Epoch,
    timeout: u64,
}

impl<D: Device> Admin<D> {
    /// Starts a stopped controller with a new admin queue.
    pub(crate) fn start(core: &Core<D>, timeout: u64) -> Result<Self, DriverError> {
        let memory = Arc::new(Memory::allocate(&core.device, ADMIN_ENTRIES, 0)?);
        let page = core.device.allocate(IDENTIFY_BYTES, CONSTRAINTS)?;
        let epoch = core.start(&memory).inspect_err(|_| {
            if !core.is_halted() {
                core::mem::forget(memory.clone());
            }
        })?;
        Ok(Self {
            ring: Ring::new(core, 0, ADMIN_ENTRIES, memory),
            page: Arc::new(page),
            identifier: 0,
            epoch,
            timeout,
        })
    }

    /// Since when the controller has been running.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Carries out a command and returns dword 0 of its completion.
    ///
    /// # Errors
    ///
    /// The command's own; `Protocol` and `TimedOut`, after which the controller is halted;
    /// `Aborted` when it was halted meanwhile.
    pub(crate) fn execute(
        &mut self,
        core: &Core<D>,
        command: AdminCommand,
    ) -> Result<u32, DriverError> {
        if !core.is_running(self.epoch) {
            return Err(ABORTED);
        }
        self.identifier = self.identifier.wrapping_add(1) & 0x7fff;
        let completion = self.ring.head() as usize * COMPLETION_BYTES;
        self.ring.push(command.entry(self.identifier));
        self.ring.ring();
        let deadline = core.clock.now().saturating_add(self.timeout);
        let entry = core
            .clock
            .poll_until(deadline, || match self.ring.next() {
                Some(entry) => Some(Ok(entry)),
                None => (!core.is_running(self.epoch)).then_some(Err(ABORTED)),
            })
            .unwrap_or(Err(TIMED_OUT));
        let checked = entry.and_then(|entry| {
            if entry.identifier() == self.identifier && entry.is_inside(self.ring.mask) {
                Ok(entry.status())
            } else {
                Err(PROTOCOL.with_status(entry.raw()))
            }
        });
        match checked {
            Ok(status) => {
                let dword0 = self.ring.memory.completions.load(completion);
                status.result().map(|()| dword0)
            }
            Err(error) => {
                // A dead controller is more than a late one.
                let error = core.check_alive().err().unwrap_or(error);
                core.halt(self.epoch);
                Err(error)
            }
        }
    }

    /// Carries out Identify and returns a private copy of the structure.
    pub(crate) fn identify(
        &mut self,
        core: &Core<D>,
        cns: u8,
        namespace: u32,
    ) -> Result<Box<Page>, DriverError> {
        // What the device does not write reads as zero.
        self.page.clear();
        let address = self.page.io_address(0);
        self.execute(core, AdminCommand::identify(cns, namespace, address))?;
        let mut page = Box::new([0; IDENTIFY_BYTES]);
        self.page.copy_to_slice(0, &mut page[..]);
        Ok(page)
    }

    /// Gives up the memory, without ever giving it back: for a controller that cannot be stopped.
    pub(crate) fn leak(&self) {
        core::mem::forget((self.page.clone(), self.ring.memory.clone()));
    }
}

const TIMED_OUT: DriverError = DriverError::new(
    DriverErrorKind::TimedOut,
    "the controller did not complete an admin command in time; it was halted",
);
const PROTOCOL: DriverError = DriverError::new(
    DriverErrorKind::Protocol,
    "the controller completed an admin command that was not submitted",
);

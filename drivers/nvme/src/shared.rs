//! What a controller and its queues share: the registers, and whether the device may still reach
//! their memory.
//!
//! There is no lock. Whoever finds the controller misbehaving, the owner of a queue or of the
//! controller, halts it; an atomic decides who. Everybody else sees the state change the next time
//! they look, and no request is given back before the device has let go of its memory.

use core::sync::atomic::{AtomicU32, Ordering};

use spillway_hal::{
    Clock, Device, DmaConstraints, DriverError, DriverErrorKind, HalErrorKind, Registers,
};

use crate::registers::{
    ACQ, AQA, ASQ, CAP, CC, CSTS, Capabilities, MINIMUM_BAR, Status, VS, cc, doorbells,
};
use crate::ring::{ADMIN_ENTRIES, Memory};

/// How the controller was found to be, in the low two bits of the state word. The rest counts
/// how often it was started.
const RUNNING: u32 = 0;
/// Somebody is about to stop it; the device may still write.
const HALTING: u32 = 1;
/// Stopped: the device reaches no memory.
const HALTED: u32 = 2;
/// Could not be stopped in any way: its memory is never given back.
const STUCK: u32 = 3;
const PHASE: u32 = 3;

/// What resetting the function may take beyond `CAP.TO`, in nanoseconds.
const HALT_MARGIN: u64 = 1_000_000_000;

/// How long to sleep between looks at `CSTS`, in nanoseconds: a controller becomes ready within
/// microseconds, or takes seconds.
const FIRST_PAUSE: u64 = 1_000;
const LONGEST_PAUSE: u64 = 1_000_000;

/// The state word of a controller that was started, as a queue remembers it: while it has not
/// changed, the queue is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u32);

/// The device, its registers and its state.
pub(crate) struct Core<D: Device> {
    pub(crate) registers: D::Registers,
    pub(crate) clock: D::Clock,
    pub(crate) capabilities: Capabilities,
    pub(crate) device: D,
    state: AtomicU32,
}

impl<D: Device> Core<D> {
    /// Takes a device in whatever state it is, without changing it.
    pub(crate) fn new(device: D) -> Result<Self, DriverError> {
        let unsupported = |reason| Err(DriverError::new(DriverErrorKind::Unsupported, reason));
        let id = device.id();
        // Mass storage, non-volatile memory, NVM Express I/O controller (PCI Code and ID
        // Assignment 1.11, 1.2).
        if (id.class, id.subclass, id.interface) != (0x01, 0x08, 0x02) {
            return Err(DriverError::new(
                DriverErrorKind::WrongDevice,
                "not an NVMe controller: its class is not 01h, 08h, 02h",
            ));
        }
        let registers = device.bar(0, MINIMUM_BAR)?;
        if Status(registers.read(CSTS)).is_gone() {
            return Err(GONE);
        }
        let capabilities = Capabilities(registers.read(CAP));
        if !capabilities.has_nvm_commands() {
            return unsupported("the controller does not have the NVM command set");
        }
        if !capabilities.takes_4k_pages() {
            return unsupported("the controller does not take memory pages of 4 KiB");
        }
        if capabilities.max_entries() < 2 {
            return unsupported("the controller's queues have fewer than two entries");
        }
        if !registers.contains(doorbells(capabilities, 0).1) {
            return unsupported("the controller's doorbells are not in its BAR");
        }
        Ok(Self {
            clock: device.clock(),
            registers,
            capabilities,
            device,
            state: AtomicU32::new(STUCK), // until it was stopped for the first time
        })
    }

    /// Whether the controller has been running without a break since `epoch`.
    #[inline]
    pub(crate) fn is_running(&self, epoch: Epoch) -> bool {
        self.state.load(Ordering::Acquire) == epoch.0
    }

    /// Whether the device can no longer reach what it was given during `epoch`.
    pub(crate) fn is_quiet(&self, epoch: Epoch) -> bool {
        let state = self.state.load(Ordering::Acquire);
        state & !PHASE != epoch.0 & !PHASE || state & PHASE == HALTED
    }

    /// Whether the device reaches no memory at all.
    pub(crate) fn is_halted(&self) -> bool {
        self.state.load(Ordering::Acquire) & PHASE == HALTED
    }

    /// Stops a controller that was running since `epoch`, unless somebody else already has, or is
    /// about to.
    #[cold]
    pub(crate) fn halt(&self, epoch: Epoch) {
        let halting = epoch.0 | HALTING;
        let exchanged =
            self.state
                .compare_exchange(epoch.0, halting, Ordering::AcqRel, Ordering::Acquire);
        if exchanged.is_ok() {
            self.disable();
        }
    }

    /// Stops the controller, whatever it is doing.
    ///
    /// # Errors
    ///
    /// `Gone` when it could not be stopped in any way.
    pub(crate) fn stop(&self) -> Result<(), DriverError> {
        let state = || self.state.load(Ordering::Acquire);
        match state() & PHASE {
            RUNNING => self.halt(Epoch(state())),
            STUCK => self.disable(),
            _ => {}
        }
        // Somebody else may be halting it right now, which takes at most the time to get ready.
        let settled = || (state() & PHASE != HALTING).then_some(());
        let deadline = self.ready_deadline().saturating_add(HALT_MARGIN);
        self.clock.poll_until(deadline, settled);
        if self.is_halted() {
            return Ok(());
        }
        Err(DriverError::new(
            DriverErrorKind::Gone,
            "the controller cannot be stopped; its memory stays out of use",
        ))
    }

    /// Clears `CC.EN` and waits for `CSTS.RDY` to follow (Base 2.0, 3.5.1 and 3.7.2); failing that,
    /// cuts the function off and resets it.
    fn disable(&self) {
        let Self {
            registers, device, ..
        } = self;
        registers.write(CC, registers.read(CC) & !(cc::ENABLE | 3 << 14));
        let stopped = self.await_status(|status| match status {
            status if status.is_gone() => Some(false),
            status if status.is_ready() => None,
            // A fatal error that outlives a controller reset needs more than that.
            status => Some(!status.is_fatal()),
        });
        let quiet = stopped == Some(true)
            || [device.set_bus_master(false), device.reset()]
                .iter()
                // A function that was revoked has been cut off before.
                .any(|result| match result {
                    Ok(()) => true,
                    Err(error) => error.kind == HalErrorKind::Gone,
                });
        let phase = if quiet { HALTED } else { STUCK };
        let state = self.state.load(Ordering::Acquire);
        self.state.store(state & !PHASE | phase, Ordering::Release);
    }

    /// Starts a stopped controller with an admin queue in `memory` (Base 2.0, 3.5.1).
    ///
    /// # Errors
    ///
    /// `TimedOut` when it does not become ready, `Device` when it reports a fatal error; it is
    /// stopped then.
    pub(crate) fn start(&self, memory: &Memory<D>) -> Result<Epoch, DriverError> {
        let registers = &self.registers;
        let state = self.state.load(Ordering::Acquire);
        let epoch = Epoch((state | PHASE).wrapping_add(1));
        self.device.set_bus_master(true)?;
        let entries = ADMIN_ENTRIES - 1;
        registers.write(AQA, entries | entries << 16);
        registers.write(ASQ, memory.submissions.io_address(0).0);
        registers.write(ACQ, memory.completions.io_address(0).0);
        self.state.store(epoch.0, Ordering::Release);
        registers.write(CC, cc::SETUP | cc::ENABLE);
        let ready = self.await_status(|status| match status {
            status if status.is_gone() => Some(Err(GONE)),
            status if status.is_fatal() => Some(Err(FATAL)),
            status if status.is_ready() => Some(Ok(())),
            _ => None,
        });
        match ready.unwrap_or(Err(NEVER_READY)) {
            Ok(()) => Ok(epoch),
            Err(error) => {
                self.halt(epoch);
                Err(error)
            }
        }
    }

    /// Announces a normal shutdown and waits until the device is done (Base 2.0, 3.6.1).
    ///
    /// # Errors
    ///
    /// `TimedOut` when it is not in time.
    pub(crate) fn shut_down(&self) -> Result<(), DriverError> {
        let registers = &self.registers;
        registers.write(CC, registers.read(CC) & !(3 << 14) | cc::SHUTDOWN);
        let done = self.await_status(|status| status.is_shut_down().then_some(()));
        done.ok_or(DriverError::new(
            DriverErrorKind::TimedOut,
            "the controller did not finish its shutdown",
        ))
    }

    /// An error if the device reports a fatal one, or does not answer at all.
    #[cold]
    pub(crate) fn check_alive(&self) -> Result<(), DriverError> {
        match Status(self.registers.read(CSTS)) {
            status if status.is_gone() => Err(GONE),
            status if status.is_fatal() => Err(FATAL),
            _ => Ok(()),
        }
    }

    /// How many of `pairs` I/O queue pairs have their doorbells in the BAR.
    pub(crate) fn reachable_pairs(&self, pairs: u16) -> u16 {
        let reachable = |pair| {
            self.registers
                .contains(doorbells(self.capabilities, pair).1)
        };
        (1..=pairs).take_while(|&pair| reachable(pair)).count() as u16
    }

    /// The version of the specification that the controller follows.
    pub(crate) fn version(&self) -> u32 {
        self.registers.read(VS)
    }

    /// Looks at `CSTS` until there is an answer, more and more seldom, for as long as `CAP.TO` says.
    fn await_status<T>(&self, answer: impl Fn(Status) -> Option<T>) -> Option<T> {
        let deadline = self.ready_deadline();
        let mut pause = FIRST_PAUSE;
        loop {
            let late = self.clock.now() >= deadline;
            let answer = answer(Status(self.registers.read(CSTS)));
            if answer.is_some() || late {
                return answer;
            }
            self.clock.delay(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    fn ready_deadline(&self) -> u64 {
        let timeout = self.capabilities.ready_timeout();
        self.clock.now().saturating_add(timeout)
    }
}

/// Whoever gets the device next finds it cut off. The controller has been stopped before, or nothing
/// helps, so an error changes nothing.
impl<D: Device> Drop for Core<D> {
    fn drop(&mut self) {
        let _ = self.device.set_bus_master(false);
    }
}

/// What the device's DMA memory must be: any page will do.
pub(crate) const CONSTRAINTS: DmaConstraints = DmaConstraints::bits(64);

const GONE: DriverError = DriverError::new(
    DriverErrorKind::Gone,
    "the device does not answer: it was unplugged or revoked",
);
const FATAL: DriverError = DriverError::new(
    DriverErrorKind::Device,
    "the controller reports a fatal error (CSTS.CFS); reset it",
);
const NEVER_READY: DriverError = DriverError::new(
    DriverErrorKind::TimedOut,
    "the controller did not become ready within CAP.TO",
);

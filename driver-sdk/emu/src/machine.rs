//! The test's side: one emulated device, and what happened on its bus.

use std::cell::RefCell;
use std::rc::Rc;

use spillway_hal::{HalError, HalErrorKind};

use crate::bus::{Bus, Shared};
use crate::device::EmulatedDevice;
use crate::faults::Faults;
use crate::function::Function;
use crate::violation::Violation;

/// A device and the shared state around it.
pub(crate) struct Core<E> {
    pub(crate) shared: Rc<Shared>,
    pub(crate) device: RefCell<E>,
}

impl<E: EmulatedDevice> Core<E> {
    /// Lets `nanoseconds` pass, and the device do what is due.
    #[inline]
    pub(crate) fn advance(&self, nanoseconds: u64) {
        self.advance_to(self.shared.now.get().saturating_add(nanoseconds));
    }

    #[inline]
    pub(crate) fn advance_to(&self, time: u64) {
        self.shared.now.set(time);
        if self.shared.unplugged.get() {
            return;
        }
        self.device.borrow_mut().step(&Bus::new(&self.shared));
        if let Some(vector) = self.shared.faulty(None, |faults| faults.spurious()) {
            self.shared.raise(vector);
        }
    }

    /// Jumps to the device's next event, but not past `deadline`.
    pub(crate) fn advance_towards(&self, deadline: u64) {
        let now = self.shared.now.get();
        let event = match self.shared.unplugged.get() {
            true => None,
            false => self.device.borrow().next_event(),
        };
        match event.filter(|event| *event > now && *event < deadline) {
            Some(event) => self.advance_to(event),
            None if deadline == u64::MAX => {
                panic!("the driver waits for ever: it has no deadline, and the device no event")
            }
            None => self.advance_to(deadline.max(now)),
        }
    }
}

/// One emulated device, as the test sees it. See the [crate's documentation](crate).
///
/// # Panics
///
/// When it is dropped with violations that nobody took with
/// [`take_violations`](Self::take_violations), unless it is [`tolerant`](Self::tolerant).
pub struct Machine<E: EmulatedDevice> {
    core: Rc<Core<E>>,
    tolerant: bool,
}

impl<E: EmulatedDevice> Machine<E> {
    /// Plugs a device in.
    pub fn new(device: E) -> Self {
        let shared = Rc::new(Shared::new(device.config()));
        Self {
            core: Rc::new(Core {
                shared,
                device: RefCell::new(device),
            }),
            tolerant: false,
        }
    }

    /// Violations no longer fail the test: for devices that are meant to misbehave. They are
    /// blocked and recorded all the same.
    pub fn tolerant(mut self) -> Self {
        self.tolerant = true;
        self
    }

    /// The driver's side. There is one at a time, as there is one owner of a granted device.
    ///
    /// # Errors
    ///
    /// `Busy` until the last one was dropped.
    pub fn function(&self) -> Result<Function<E>, HalError> {
        if self.core.shared.owned.replace(true) {
            return Err(HalError::new(
                HalErrorKind::Busy,
                "the function has an owner",
            ));
        }
        Ok(Function::new(self.core.clone()))
    }

    /// Looks into the device, or changes it, behind the driver's back.
    pub fn with<T>(&self, look: impl FnOnce(&mut E) -> T) -> T {
        look(&mut self.core.device.borrow_mut())
    }

    /// The device does something by itself: `act` gets its bus.
    pub fn act<T>(&self, act: impl FnOnce(&mut E, &Bus<'_>) -> T) -> T {
        act(
            &mut self.core.device.borrow_mut(),
            &Bus::new(&self.core.shared),
        )
    }

    /// From now on things go wrong in this way.
    pub fn set_faults(&self, faults: impl Faults + 'static) {
        *self.core.shared.faults.borrow_mut() = Some(Box::new(faults));
    }

    /// From now on nothing goes wrong that the device does not do by itself.
    pub fn clear_faults(&self) {
        *self.core.shared.faults.borrow_mut() = None;
    }

    /// Takes the device away, as a hand or a revocation does: registers read as all ones, writes
    /// are lost, everything that can fail does, with `Gone`.
    pub fn unplug(&self) {
        self.core.shared.unplugged.set(true);
        self.core.shared.bus_master.set(false);
    }

    /// Virtual time in nanoseconds.
    pub fn now(&self) -> u64 {
        self.core.shared.now.get()
    }

    /// Lets time pass without the driver.
    pub fn advance(&self, nanoseconds: u64) {
        self.core.advance(nanoseconds);
    }

    /// Pins that the driver holds.
    pub fn pins(&self) -> usize {
        self.core.shared.pins.borrow().count()
    }

    /// How many violations there were since the last call, and the first of them (at most 64).
    pub fn take_violations(&self) -> Vec<Violation> {
        self.core.shared.violation_count.set(0);
        self.core.shared.violations.take()
    }
}

impl<E: EmulatedDevice> Drop for Machine<E> {
    fn drop(&mut self) {
        let count = self.core.shared.violation_count.get();
        if self.tolerant || count == 0 || std::thread::panicking() {
            return;
        }
        let list = self.core.shared.violations.borrow();
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        panic!(
            "{count} violations on the emulated bus:\n  {}",
            list.join("\n  ")
        );
    }
}

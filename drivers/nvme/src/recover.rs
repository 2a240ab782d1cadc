//! Completions off the hot path: failed commands, parts of requests, and a device that breaks its
//! rules, is late or dies.
//!
//! Whatever happens, each request is given back once, and not before the device has let go of its
//! memory: after a violation the controller is halted first.

use spillway_hal::block::BlockDriverQueue;
use spillway_hal::{Clock, Device, DriverError, DriverErrorKind, HalErrorKind, Interrupt};

use crate::queue::{DONE, IDLE, NONE, PART, Queue, Slot};
use crate::status::StatusField;

/// Ticks after which a command is late.
const LATE: u16 = 8;

type Completed<'a> = &'a mut dyn FnMut(u64, Result<(), DriverError>);

/// Who is late? Commands are stamped with a tick, an eighth of the time-out, and looked through
/// once in each: so the hot path reads no clock.
pub(crate) struct Watch {
    /// Calls of `reap`.
    pub(crate) count: u32,
    /// Nanoseconds.
    tick: u64,
    /// When the next tick begins.
    next: u64,
    /// Why the controller was halted, if this queue did it.
    failure: Option<DriverError>,
}

impl Watch {
    /// How many calls of `reap` there are between two looks at the clock.
    pub(crate) const INTERVAL: u32 = 64;

    pub(crate) fn new(now: u64, timeout: u64) -> Self {
        let tick = timeout.div_ceil(u64::from(LATE)).max(1);
        Self {
            count: 0,
            tick,
            next: now.saturating_add(tick),
            failure: None,
        }
    }
}

impl<D: Device> Queue<D> {
    /// Handles any completion, as [`Cursor::look`](crate::queue::Cursor) returned it; false if it was not one, and the device is halted.
    #[inline(never)]
    pub(crate) fn reap_other(
        &mut self,
        difference: u64,
        count: &mut u32,
        completed: Completed<'_>,
    ) -> bool {
        if !self.ring.owns(difference) {
            let reason = "a completion of another queue, or with a head outside of it";
            return self.violation(reason, difference);
        }
        let identity = (difference >> 16) as u32 & 0xffff_0000;
        let index = (difference >> 32) as u16 & self.ring.mask as u16;
        let slot = match self.slots.get(usize::from(index)) {
            Some(slot) if slot.identity == identity || slot.identity == identity | PART => *slot,
            _ => return self.violation("a completion for no command in flight", difference),
        };
        let status = StatusField::from_entry(difference);
        if slot.identity == identity {
            self.release(index);
            *count += 1;
            completed(slot.tag, status.result());
            return true;
        }
        let group = &mut self.groups[usize::from(slot.link)];
        group.left -= 1;
        if group.status.is_success() {
            group.status = status;
        }
        let group = *group;
        if index == slot.link {
            self.slots[usize::from(index)].identity = identity | DONE;
        } else {
            self.release(index);
            self.extra -= 1;
        }
        if group.left == 0 {
            self.release(slot.link);
            *count += 1;
            completed(slot.tag, group.status.result());
        }
        true
    }

    /// Makes a slot idle.
    fn release(&mut self, index: u16) {
        let list = match index < self.depth {
            true => &mut self.idle,
            false => &mut self.spare,
        };
        let slot = &mut self.slots[usize::from(index)];
        slot.identity = slot.identity & 0xffff_0000 | IDLE;
        slot.link = core::mem::replace(list, index);
    }

    #[cold]
    fn violation(&mut self, reason: &'static str, difference: u64) -> bool {
        let error = DriverError::new(DriverErrorKind::Protocol, reason).with_status(difference);
        self.fail(error);
        false
    }

    /// Halts the controller because of `error`.
    #[cold]
    fn fail(&mut self, error: DriverError) {
        self.watch.failure.get_or_insert(error);
        self.core.halt(self.epoch);
    }

    /// Looks at the clock, and once in a tick for commands that are late and for a controller that
    /// is dead.
    #[cold]
    pub(crate) fn look(&mut self) {
        let now = self.core.clock.now();
        if now < self.watch.next || !self.core.is_running(self.epoch) {
            return;
        }
        self.watch.next = now.saturating_add(self.watch.tick);
        self.tick = self.tick.wrapping_add(1);
        if self.in_flight() == 0 {
            return;
        }
        let late = |slot: &Slot| is_in_flight(slot) && self.is_late(slot.tick);
        if let Err(error) = self.core.check_alive() {
            self.fail(error);
        } else if self.slots.iter().any(late) {
            self.fail(TIMED_OUT);
        }
    }

    fn is_late(&self, tick: u16) -> bool {
        self.tick.wrapping_sub(tick) > LATE
    }

    /// Gives back all requests, if the device has let go of them.
    #[cold]
    pub(crate) fn give_back(&mut self, count: &mut u32, completed: Completed<'_>) {
        if !self.core.is_quiet(self.epoch) {
            return;
        }
        let failure = self.watch.failure.unwrap_or(ABORTED);
        // Nothing can be submitted any more.
        (self.idle, self.spare) = (NONE, NONE);
        for index in 0..self.slots.len() {
            let slot = self.slots[index];
            // A part's request is given back by the slot that stands for it.
            let stands_for_itself = match slot.identity & 0xffff {
                0 => true,
                PART | DONE => usize::from(slot.link) == index,
                _ => false,
            };
            self.slots[index].identity = IDLE;
            if !stands_for_itself {
                continue;
            }
            *count += 1;
            let timed_out = failure.kind == DriverErrorKind::TimedOut;
            completed(
                slot.tag,
                Err(match timed_out && !self.is_late(slot.tick) {
                    true => ABORTED,
                    false => failure,
                }),
            );
        }
    }

    /// Sleeps until there is something to reap, also because the device was lost.
    pub(crate) fn wait_until(&mut self, deadline: u64) -> Result<(), DriverError> {
        loop {
            if !self.core.is_running(self.epoch) {
                return Ok(());
            }
            // With a single MSI message, a controller interrupts again only after it was told that
            // the completions before were taken.
            self.ring.acknowledge();
            if self.ring.has_next() {
                return Ok(());
            }
            let tick = self.watch.next.min(deadline);
            let interrupt = self.interrupt.as_mut().ok_or(NO_INTERRUPT)?;
            match interrupt.wait(tick) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind == HalErrorKind::TimedOut && tick < deadline => {
                    self.look();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn is_in_flight(slot: &Slot) -> bool {
    matches!(slot.identity & 0xffff, 0 | PART)
}

/// What a request gets that was in flight when the device was reset.
pub(crate) const ABORTED: DriverError = DriverError::new(
    DriverErrorKind::Aborted,
    "the controller was reset; open a new queue",
);
const TIMED_OUT: DriverError = DriverError::new(
    DriverErrorKind::TimedOut,
    "the device did not complete the command in time; the controller was halted",
);
const NO_INTERRUPT: DriverError = DriverError::new(
    DriverErrorKind::Unsupported,
    "the queue was opened without an interrupt",
);

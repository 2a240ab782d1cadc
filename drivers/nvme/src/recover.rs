//! Completions off the hot path: failed commands, parts of requests, and a device that breaks its
//! rules, is late or dies.
//!
//! Whatever happens, each request is given back once, and not before the device has let go of its
//! memory: after a violation the controller is halted first.

use alloc::{boxed::Box, vec};
use spillway_hal::block::{BlockDriverQueue, Completed};
use spillway_hal::{Clock, Device, DriverError, DriverErrorKind, HalErrorKind, Interrupt};

use crate::completion::Difference;
use crate::queue::{DONE, FLAGS, IDLE, NONE, OLD, PART, Queue};

/// Ticks after which a command is late.
const LATE: u16 = 8;

/// Who is late? Commands are looked through once in a tick, an eighth of the time-out, and those
/// that are new are marked. So the hot path neither reads a clock nor writes anything down; a
/// command that has been marked completes off it.
pub(crate) struct Watch {
    /// Calls of `reap`.
    pub(crate) count: u32,
    /// Nanoseconds of a tick.
    length: u64,
    /// When the next tick begins.
    next: u64,
    /// Ticks so far, with wrap-around.
    tick: u16,
    /// For each slot that is marked [`OLD`]: in which tick its command was submitted.
    since: Box<[u16]>,
    /// Why the controller was halted, if this queue did it.
    failure: Option<DriverError>,
}

impl Watch {
    /// How many calls of `reap` there are between two looks at the clock.
    pub(crate) const INTERVAL: u32 = 64;

    /// A watch over so many slots.
    pub(crate) fn new(now: u64, timeout: u64, slots: u16) -> Self {
        let length = timeout.div_ceil(u64::from(LATE)).max(1);
        Self {
            count: 0,
            length,
            next: now.saturating_add(length),
            tick: 0,
            since: vec![0; slots.into()].into(),
            failure: None,
        }
    }

    /// Whether the command in a slot of this state is late.
    fn is_late(&self, index: usize, state: u64) -> bool {
        let is_old = is_in_flight(state) && state & OLD == OLD;
        is_old && self.tick.wrapping_sub(self.since[index]) > LATE
    }
}

impl<D: Device> Queue<D> {
    /// Handles any completion; false if it was not one, and the device is halted.
    #[inline(never)]
    pub(crate) fn reap_other(
        &mut self,
        completion: Difference,
        count: &mut u32,
        completed: &mut dyn Completed,
    ) -> bool {
        if !completion.is_inside(self.ring.mask) {
            let reason = "a completion of another queue, or with a head outside of it";
            return self.violation(reason, completion);
        }
        let index = completion.identifier() & self.ring.mask as u16;
        let identity = u64::from(completion.identifier()) << 48;
        let slot = match self.slots.get(usize::from(index)) {
            Some(slot) if is_in_flight(slot.state) && slot.state & !FLAGS == identity => *slot,
            _ => return self.violation("a completion for no command in flight", completion),
        };
        let status = completion.status();
        if slot.state & PART != PART {
            self.release(index);
            *count += 1;
            tell(completed, slot.tag, status.result());
            return true;
        }
        let first = self.groups[usize::from(index)].first;
        let group = &mut self.groups[usize::from(first)];
        group.left -= 1;
        if group.status.is_success() {
            group.status = status;
        }
        let group = *group;
        if index == first {
            self.slots[usize::from(index)].state = identity | DONE;
        } else {
            self.release(index);
            self.extra -= 1;
        }
        if group.left == 0 {
            self.release(first);
            *count += 1;
            tell(completed, slot.tag, group.status.result());
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
        slot.state = slot.state & !FLAGS | IDLE;
        slot.tag = core::mem::replace(list, index.into()) as u64;
    }

    #[cold]
    fn violation(&mut self, reason: &'static str, completion: Difference) -> bool {
        let error = DriverError::new(DriverErrorKind::Protocol, reason);
        self.fail(error.with_status(completion.raw()));
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
        self.watch.next = now.saturating_add(self.watch.length);
        let ended = self.watch.tick;
        self.watch.tick = ended.wrapping_add(1);
        if self.in_flight() == 0 {
            return;
        }
        let mut is_late = false;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            is_late |= self.watch.is_late(index, slot.state);
            if is_in_flight(slot.state) && slot.state & OLD != OLD {
                slot.state |= OLD;
                self.watch.since[index] = ended;
            }
        }
        if let Err(error) = self.core.check_alive() {
            self.fail(error);
        } else if is_late {
            self.fail(TIMED_OUT);
        }
    }

    /// Gives back all requests, if the device has let go of them.
    #[cold]
    pub(crate) fn give_back(&mut self, count: &mut u32, completed: &mut dyn Completed) {
        if !self.core.is_quiet(self.epoch) {
            return;
        }
        let failure = self.watch.failure.unwrap_or(ABORTED);
        // Nothing can be submitted any more.
        (self.idle, self.spare) = (NONE, NONE);
        for index in 0..self.slots.len() {
            let slot = self.slots[index];
            let is_late = self.watch.is_late(index, slot.state);
            self.slots[index].state = IDLE;
            // A request is given back by the slot that stands for it.
            let is_first = || usize::from(self.groups[index].first) == index;
            let stands_for_a_request = match slot.state & FLAGS {
                DONE => index < self.groups.len() && is_first(),
                flags if flags & PART == PART => is_first(),
                _ => is_in_flight(slot.state),
            };
            if !stands_for_a_request {
                continue;
            }
            *count += 1;
            let timed_out = failure.kind == DriverErrorKind::TimedOut;
            let error = match timed_out && !is_late {
                true => ABORTED,
                false => failure,
            };
            completed.failed(slot.tag, error);
        }
    }

    /// The vector that comes with completions, for who waits for other things as well: see
    /// [`may_sleep`](Self::may_sleep). `None` if the queue was opened without.
    pub fn interrupt(&self) -> Option<&D::Interrupt> {
        self.interrupt.as_ref()
    }

    /// Whether there is nothing to reap, so that whoever waits for the [`interrupt`](Self::interrupt)
    /// from now on hears of the next completion. A command that is late is noticed by
    /// [`reap`](spillway_hal::block::BlockDriverQueue::reap) only, so the wait should have an end.
    pub fn may_sleep(&mut self) -> bool {
        if !self.core.is_running(self.epoch) {
            return false;
        }
        // With a single MSI message, a controller interrupts again only after it was told that the
        // completions before were taken.
        self.ring.acknowledge();
        !self.ring.has_next()
    }

    /// Sleeps until there is something to reap, also because the device was lost.
    pub(crate) fn wait_until(&mut self, deadline: u64) -> Result<(), DriverError> {
        loop {
            if !self.may_sleep() {
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

fn tell(completed: &mut dyn Completed, tag: u64, result: Result<(), DriverError>) {
    match result {
        Ok(()) => completed.done(tag),
        Err(error) => completed.failed(tag, error),
    }
}

/// Whether a slot of this state has a command in flight.
fn is_in_flight(state: u64) -> bool {
    let flags = state & FLAGS;
    flags == 0 || flags & (PART | OLD) > IDLE
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

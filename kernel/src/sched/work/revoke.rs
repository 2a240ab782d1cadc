//! Taking a function back from its owner.
//!
//! The order is what makes it safe: nobody reaches the registers; nothing interrupts; the function
//! masters the bus no more; it is reset, and has the time that it may need; it is cut off, and what
//! the IOMMU remembered is forgotten; only then the memory that it could reach is let go, and the
//! function is free for the next. Until then that memory is in quarantine: a pin holds it.
//!
//! Each stage can be done again, so a revocation that its thread could not finish begins anew when
//! the owner is taken apart. The functions of an owner that ends are silenced, and their resets
//! begun, one after the other without a wait between them; so they settle side by side.

use alloc::sync::Arc;

use lock_api::MutexGuard;

use super::{Progress, UnmapPages, Work};
use crate::{
    kernel::Guard,
    object::{Grant, Process},
    pci::{
        State,
        reset::{ANSWER_TIME, POWER_UP_TIME, RESET_TIME},
    },
    platform::clock,
};

/// Pins let go of per step.
const PINS: usize = 16;
/// How long something else may take between two looks at it, in nanoseconds.
const PAUSE: u64 = 1_000_000;

/// A revocation.
#[derive(Debug)]
pub struct Revoke {
    grant: Arc<Grant>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Registers,
    /// A mapping of registers that is being taken away.
    Unmap(UnmapPages),
    Quiet,
    /// Until this time, in nanoseconds, the function must be left alone.
    Settle(u64),
    /// It must answer before this time, in nanoseconds.
    Answer(u64),
    Unpin(End),
    /// Another thread takes the function back: wait until it has.
    Follow,
}

/// How a function is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// In its initial state, for the next owner.
    Free,
    /// Not reset, but cut off: nobody gets it any more, and it reaches nothing.
    Blocked,
    /// It may still reach what was pinned for it, which nobody gets any more either.
    Loose,
}

/// What a step of a revocation came to.
#[derive(Debug)]
pub enum Revoked {
    /// The function is free, or blocked for good.
    Done,
    /// There is more to do.
    More(Revoke),
    /// There is more to do, not before this time, in nanoseconds.
    Later(Revoke, u64),
}

impl Revoke {
    /// Waits until another thread has taken the function back.
    pub fn follow(grant: Arc<Grant>) -> Self {
        Self {
            grant,
            stage: Stage::Follow,
        }
    }

    /// Begins the end of a grant: nothing new comes from it any more.
    pub fn begin(guard: &mut Guard, grant: Arc<Grant>) -> Self {
        grant.state.get_mut(guard).revoked = true;
        *grant.function.state.get_mut(guard) = State::Revoking;
        Self {
            grant,
            stage: Stage::Registers,
        }
    }

    /// Begins to take back one more function of an owner that ends, as far as that goes without
    /// waiting. False if it was begun with all of them.
    pub fn begin_next(guard: &mut Guard, owner: &Process) -> bool {
        let grants = &owner.state.get(guard).grants;
        let next = grants.iter().find(|grant| !grant.state.get(guard).revoked);
        let Some(grant) = next.cloned() else {
            return false;
        };
        Self::begin(guard, grant).quiet(guard);
        true
    }

    /// A step as an operation of its own.
    pub(super) fn step(self, guard: &mut Guard) -> Progress {
        match self.advance(guard) {
            Revoked::Done => Progress::Done(Ok(0)),
            Revoked::More(rest) => Progress::More(Work::Revoke(rest)),
            Revoked::Later(rest, until) => Progress::Sleep(Work::Revoke(rest), until),
        }
    }

    /// Does a bounded part.
    pub fn advance(mut self, guard: &mut Guard) -> Revoked {
        self.stage = match self.stage {
            Stage::Follow if self.grant.is_over(guard) => return Revoked::Done,
            Stage::Follow => return self.later(Stage::Follow, clock::now_ns() + PAUSE),
            Stage::Registers => match self.next_mapping(guard) {
                Some(stage) => stage,
                // It is being mapped or unmapped by another thread, which must get to run.
                None => return self.later(Stage::Registers, clock::now_ns() + PAUSE),
            },
            Stage::Unmap(work) => match work.step(guard) {
                Progress::More(Work::Unmap(rest)) => Stage::Unmap(rest),
                _ => Stage::Registers,
            },
            Stage::Quiet => match self.quiet(guard) {
                Some(until) => Stage::Settle(until),
                None => Stage::Unpin(self.cut_off(guard, false)),
            },
            Stage::Settle(until) if clock::now_ns() < until => {
                return self.later(Stage::Settle(until), until);
            }
            Stage::Settle(_) => {
                self.grant.function.power_up();
                let now = clock::now_ns();
                return self.later(Stage::Answer(now + ANSWER_TIME), now + POWER_UP_TIME);
            }
            Stage::Answer(until) => {
                let answered = self.grant.function.end_reset();
                let now = clock::now_ns();
                if !answered && now < until {
                    return self.later(Stage::Answer(until), now + POWER_UP_TIME);
                }
                Stage::Unpin(self.cut_off(guard, answered))
            }
            Stage::Unpin(end) => {
                if self.let_go(guard, end) {
                    self.release(guard, end);
                    // A line takes long on a slow port.
                    MutexGuard::unlocked(guard, || self.tell(end));
                    return Revoked::Done;
                }
                Stage::Unpin(end)
            }
        };
        Revoked::More(self)
    }

    fn later(mut self, stage: Stage, until: u64) -> Revoked {
        self.stage = stage;
        Revoked::Later(self, until)
    }

    /// The owner's next mapping of the function's registers, or the next stage. Only the owner can
    /// have any. If the owner is ending, its address space is nobody's any more: every core has left
    /// it. `None` if another thread is at that mapping.
    fn next_mapping(&self, guard: &mut Guard) -> Option<Stage> {
        let Grant { owner, state, .. } = &*self.grant;
        let bars = &mut state.get_mut(guard).bars;
        bars.iter().flatten().for_each(|memory| memory.revoke());
        if owner.is_ending() {
            return Some(Stage::Quiet);
        }
        let bars = state.get(guard).bars.clone();
        let regions = owner.space.regions.get(guard);
        let found = regions.iter().find(|region| {
            bars.iter()
                .flatten()
                .any(|memory| Arc::ptr_eq(memory, &region.value.memory))
        });
        let Some((start, length)) = found.map(|region| (region.start, region.length)) else {
            return Some(Stage::Quiet);
        };
        match UnmapPages::begin(guard, owner, start, length) {
            Ok(Work::Unmap(work)) => Some(Stage::Unmap(work)),
            _ => None,
        }
    }

    /// Silences the function and begins its reset, unless that was done before. Returns until when
    /// it must be left alone then, in nanoseconds; `None` if it cannot be reset.
    fn quiet(&self, guard: &mut Guard) -> Option<u64> {
        let Grant {
            function, state, ..
        } = &*self.grant;
        if state.get(guard).settles_at.is_none() {
            self.silence(guard);
            if function.begin_reset() {
                state.get_mut(guard).settles_at = Some(clock::now_ns() + RESET_TIME);
            }
        }
        state.get(guard).settles_at
    }

    /// No interrupt, no bus mastering.
    fn silence(&self, guard: &mut Guard) {
        while let Some(interrupt) = self.grant.state.get(guard).interrupts.first().cloned() {
            interrupt.kill(guard);
        }
        self.grant.function.disable_messages();
        self.grant.function.disconnect();
    }

    /// Lets the function reach nothing any more.
    fn cut_off(&self, guard: &mut Guard, is_reset: bool) -> End {
        let Some(dma) = self.grant.state.get(guard).dma.clone() else {
            return if is_reset { End::Free } else { End::Blocked };
        };
        let reach = &mut dma.state.get_mut(guard).reach;
        let is_cut_off = reach.block().is_ok() && reach.is_confined();
        match (is_reset, is_cut_off) {
            (true, true) => End::Free,
            (true, false) if !dma.state.get(guard).reach.is_confined() => End::Free,
            (false, true) => End::Blocked,
            _ => End::Loose,
        }
    }

    /// Lets go of some pinned memory. Whether all that nobody reaches any more is gone.
    fn let_go(&self, guard: &mut Guard, end: End) -> bool {
        let Some(dma) = self.grant.state.get(guard).dma.clone() else {
            return true;
        };
        if end == End::Loose {
            // The memory stays in quarantine for ever, and with it the bill.
            core::mem::forget(dma);
            return true;
        }
        for _ in 0..PINS {
            if !dma.forget_any(guard) {
                return dma.free_tables(guard);
            }
        }
        false
    }

    fn release(&self, guard: &mut Guard, end: End) {
        let Grant {
            function,
            owner,
            state,
        } = &*self.grant;
        *function.state.get_mut(guard) = match end {
            End::Free => State::Free,
            End::Blocked | End::Loose => State::Blocked,
        };
        let state = state.get_mut(guard);
        state.bars = Default::default();
        state.dma = None;
        let grants = &mut owner.state.get_mut(guard).grants;
        grants.retain(|other| !Arc::ptr_eq(other, &self.grant));
    }

    /// Tells the log how it ended.
    fn tell(&self, end: End) {
        let id = self.grant.function.id;
        match end {
            End::Free => log::info!("{id} is free again"),
            End::Blocked => log::warn!("{id} cannot be reset and stays blocked"),
            End::Loose => log::error!(
                "{id} cannot be stopped: it stays blocked, and its memory is kept from use"
            ),
        }
    }
}

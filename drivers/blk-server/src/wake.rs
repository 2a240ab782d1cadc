//! Who is told that there are completions in its rings, and how: by an index that it sees when it looks,
//! and by a signal if it sleeps.

use driver_sdk::rt::serve::LATE;

use crate::{backend::Backend, hot::Hot};

/// The user data of signals, whose completions say nothing.
pub(crate) const SIGNAL: u64 = LATE - 1;
/// The user data of the wait for the device's interrupt.
pub(crate) const INTERRUPT: u64 = 1;
/// The user data of waits for clients' events begins here; the number of the rings is added.
pub(crate) const EVENTS: u64 = 16;

impl<B: Backend> Hot<B> {
    /// A wait of the server's own is over.
    #[inline]
    pub(crate) fn happened(&mut self, user_data: u64) {
        if user_data == INTERRUPT {
            self.waits_for_interrupt = false;
        } else if let Some(index) = user_data.checked_sub(EVENTS)
            && let Some(Some(link)) = self.links.get_mut(index as usize)
        {
            link.is_waited_for = false;
        }
    }

    /// Shows clients of rings what is there for them.
    #[inline]
    pub(crate) fn publish(&mut self) {
        if !self.dirty {
            return;
        }
        for link in self.links.iter_mut().flatten() {
            if link.dirty {
                link.rings.dones.publish();
            }
        }
    }

    /// Whether somebody may sleep who has been answered.
    #[inline]
    pub(crate) fn owes(&self) -> bool {
        self.out.owes || self.dirty
    }

    /// Puts in signals for those who sleep, and says how many: all that is owed goes with the next
    /// entry to the kernel.
    #[inline]
    pub(crate) fn wake(&mut self) -> u32 {
        self.out.owes = false;
        if !core::mem::take(&mut self.dirty) {
            return 0;
        }
        let mut signals = 0;
        for link in self.links.iter_mut().flatten() {
            if !core::mem::take(&mut link.dirty) {
                continue;
            }
            link.rings.dones.publish();
            if link.rings.dones.must_wake()
                && let Some(event) = &link.theirs
            {
                match self.out.io.submit_signal(event, SIGNAL) {
                    Ok(()) => signals += 1,
                    // The ring is full: by a call of its own.
                    Err(_) => drop(event.signal()),
                }
            }
        }
        signals
    }
}

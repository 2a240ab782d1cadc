//! What a completion says, as the difference from what is expected of the next one.
//!
//! The upper half of an entry has all that the driver looks at: submission queue head and identifier,
//! command identifier, phase tag and status (NVM Express Base Specification 2.0, 3.3.3.2). It is
//! loaded once, in one piece, and rotated by 16 bits:
//!
//! ```text
//! 63            48 47            32 31            16 15           1    0
//! command          submission       submission       status          phase
//! identifier       queue            queue head                       tag
//! ```
//!
//! Where phase and queue are the expected ones and the command succeeded, only the command's
//! identifier and the head differ from zero. So one comparison with what a slot has, which is an
//! identifier with zeroes below, covers everything but the head, and that may be what is in the mask
//! of the ring.

use crate::status::StatusField;

/// The phase tag.
const PHASE: u64 = 1;

/// What all completions of a lap have in common: the phase tag and the queue.
#[derive(Clone, Copy)]
pub(crate) struct Expected(u64);

impl Expected {
    /// In the first lap the device posts with the phase tag set.
    pub(crate) const fn new(queue: u16) -> Self {
        Self(PHASE | (queue as u64) << 32)
    }

    /// In the next lap of the ring.
    pub(crate) const fn next_lap(self) -> Self {
        Self(self.0 ^ PHASE)
    }

    /// How the upper half of an entry differs; `None` if it was not posted in this lap.
    #[inline(always)]
    pub(crate) const fn look(self, entry: u64) -> Option<Difference> {
        let difference = entry.rotate_left(16) ^ self.0;
        if difference & PHASE == 0 {
            Some(Difference(difference))
        } else {
            None
        }
    }
}

/// A completion that was posted.
#[derive(Clone, Copy)]
pub(crate) struct Difference(u64);

impl Difference {
    /// The same without a head that is inside of the ring of `mask` + 1 entries: equal to the identity
    /// of a command if that has succeeded, and to no other.
    #[inline(always)]
    pub(crate) const fn without_head(self, mask: u32) -> u64 {
        self.0 & !((mask as u64) << 16)
    }

    /// Whether it is of the right queue, with a head inside of the ring.
    pub(crate) const fn is_inside(self, mask: u32) -> bool {
        (self.0 >> 16) as u32 <= mask
    }

    /// The command identifier.
    #[inline(always)]
    pub(crate) const fn identifier(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// The Status field, without the phase tag.
    pub(crate) const fn status(self) -> StatusField {
        StatusField((self.0 >> 1) as u16 & 0x7fff)
    }

    /// For people: laid out as the upper half of an entry.
    pub(crate) const fn raw(self) -> u64 {
        self.0.rotate_right(16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: u32 = 63;
    const COMMAND: u64 = 0x1234 << 48;

    /// Queue 3, command 1234h.
    fn look(head: u64, queue: u64, phase: u64, status: u64) -> Option<Difference> {
        Expected::new(3).look(head | queue << 16 | 0x1234 << 32 | phase << 48 | status << 49)
    }

    #[test]
    fn only_one_thing_is_a_success() {
        let success = look(63, 3, 1, 0).unwrap();
        assert_eq!(success.without_head(MASK), COMMAND);
        for (head, queue, status) in [(64, 3, 0), (0, 2, 0), (0, 3, 1), (0, 3, 0x4000)] {
            let other = look(head, queue, 1, status).unwrap();
            assert_ne!(other.without_head(MASK), COMMAND);
            assert_eq!(other.is_inside(MASK), status != 0);
            assert_eq!(u64::from(other.status().0), status);
            assert_eq!(other.identifier(), 0x1234);
        }
    }

    #[test]
    fn the_phase_changes_with_the_lap() {
        assert!(look(0, 3, 0, 0).is_none());
        let entry = 3 << 16;
        assert!(Expected::new(3).next_lap().look(entry).is_some());
        assert!(Expected::new(3).next_lap().look(entry | 1 << 48).is_none());
    }
}

//! Misbehaviour on command.

/// Everything that a controller can do wrong with one completion. A [`Mischief`] changes it before
/// it is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The completion queue: 0 is the admin queue.
    pub queue: u16,
    /// Dword 0: what the command returns.
    pub result: u32,
    /// Submission Queue Head Pointer.
    pub head: u16,
    /// Submission Queue Identifier.
    pub submission_queue: u16,
    /// Command Identifier.
    pub identifier: u16,
    /// The Status field without the phase tag.
    pub status: u16,
    /// The entry gets the phase tag of the last lap, so it looks stale.
    pub stale_phase: bool,
    /// How often it is posted: 0 loses it, 2 repeats it in the next entry.
    pub times: u32,
    /// How many nanoseconds later it is posted than it should be.
    pub delay: u64,
    /// Whether the interrupt is left out.
    pub silent: bool,
    /// The queue's memory is filled with this, entry after entry, before it is posted.
    pub scribble: Option<[u64; 2]>,
    /// The controller dies instead: `CSTS.CFS`, and nothing is posted.
    pub die: bool,
}

/// How a controller misbehaves. Each method has a default that changes nothing.
pub trait Mischief {
    /// A completion is about to be posted. A command that is never posted has been carried out all
    /// the same.
    fn completion(&mut self, posting: &mut Posting) {
        let _ = posting;
    }

    /// Identify is about to return structure `cns`.
    fn identify(&mut self, cns: u8, page: &mut [u8; 4096]) {
        let _ = (cns, page);
    }
}

/// A function of completions is a mischief.
impl<F: FnMut(&mut Posting)> Mischief for F {
    fn completion(&mut self, posting: &mut Posting) {
        self(posting);
    }
}

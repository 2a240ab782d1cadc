//! The rings of a queue, as the program sees them.

use core::{fmt, ptr::NonNull};

use spillway_abi::{
    Error, Rights,
    queue::{
        COMPLETION_HEADER, Completion, ENTRIES, ENTRY_SIZE, SUBMISSION_HEADER, Submission,
        completion_word, ring_bytes,
    },
};
use spillway_ring::{Consumer, Producer, PushError, Refused, Words};

use super::{Mapping, Memory};

/// An entry of either ring, as words.
type Entry = Words<{ ENTRY_SIZE / 8 }>;

/// The program's halves of both rings. They lie before the mapping, so that they are gone when it
/// is unmapped.
pub struct Rings {
    submissions: Producer<'static, Entry>,
    completions: Consumer<'static, Entry>,
    _mapping: Mapping,
}

impl fmt::Debug for Rings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (submissions, completions) = (self.submissions.capacity(), self.completions.capacity());
        write!(f, "Rings({submissions}, {completions})")
    }
}

impl Rings {
    /// Maps the rings. [`Error::Corrupt`] if they are not those of a queue of this size.
    pub fn new(memory: &Memory, submissions: u32, completions: u32) -> Result<Self, Error> {
        let mapping = memory.map(Rights::READ | Rights::WRITE)?;
        if mapping.len() < ring_bytes(submissions, completions) {
            return Err(Error::Corrupt);
        }
        let at = |offset: usize| {
            // SAFETY: every offset that is asked for here is inside the mapping, as was checked.
            let pointer = unsafe { mapping.as_ptr().add(offset) };
            NonNull::new(pointer).ok_or(Error::Corrupt)
        };
        let (first, second) = (at(SUBMISSION_HEADER)?.cast(), at(COMPLETION_HEADER)?.cast());
        let entries = at(ENTRIES)?.cast();
        let more = at(ENTRIES + submissions as usize * ENTRY_SIZE)?.cast();
        let refused = |_: Refused| Error::Corrupt;
        Ok(Self {
            // SAFETY: header and entries are inside the mapping, which outlives the half, and
            // nothing else in this process uses them.
            submissions: unsafe { Producer::new(first, entries, submissions) }.map_err(refused)?,
            // SAFETY: as above.
            completions: unsafe { Consumer::new(second, more, completions) }.map_err(refused)?,
            _mapping: mapping,
        })
    }

    /// Entries for which the submission ring has room; none if it is corrupt.
    pub fn room(&mut self) -> u32 {
        self.submissions.free().unwrap_or(0)
    }

    #[inline]
    pub fn submit(&mut self, submission: &Submission) -> Result<(), PushError> {
        self.submissions.push(Words(submission.to_words()))
    }

    /// Shows the kernel everything, in both rings; returns how many submissions it has not taken.
    #[inline]
    pub fn publish(&mut self) -> Result<u32, Error> {
        self.submissions.publish();
        self.completions.release();
        let free = self.submissions.free().map_err(|_| Error::Corrupt)?;
        Ok(self.submissions.capacity() - free)
    }

    /// Completions that are there.
    #[inline]
    pub fn completions(&mut self) -> Result<u32, Error> {
        self.completions.available().map_err(|_| Error::Corrupt)
    }

    #[inline]
    pub fn pop(&mut self) -> Result<Option<Completion>, Error> {
        let Some(entry) = self.completions.front().map_err(|_| Error::Corrupt)? else {
            // The end of a batch.
            self.completions.release();
            return Ok(None);
        };
        let status = entry.load(completion_word::STATUS);
        let mut completion = Completion {
            user_data: entry.load(completion_word::USER_DATA),
            status: status as u32,
            service: (status >> 32) as u32,
            value: entry.load(completion_word::VALUE),
            trace: entry.load(completion_word::TRACE),
            ..Completion::default()
        };
        // The rest is written for messages only.
        if completion.is_message() {
            completion.what = entry.load(completion_word::WHAT);
            completion.arguments = [
                entry.load(completion_word::A),
                entry.load(completion_word::B),
                entry.load(completion_word::C),
            ];
        }
        self.completions.skip();
        Ok(Some(completion))
    }
}

//! Queues as the controller keeps them (Base 2.0, 3.3.1 and 3.3.3).

use std::collections::VecDeque;

use super::mischief::Posting;
use crate::Bus;

/// A submission queue.
#[derive(Clone, Debug)]
pub(super) struct SubmissionQueue {
    pub(super) base: u64,
    pub(super) entries: u32,
    /// The next command to fetch, and where the driver's commands end.
    pub(super) head: u32,
    pub(super) tail: u32,
    /// Where the completions go.
    pub(super) completion: u16,
}

impl SubmissionQueue {
    pub(super) fn new(base: u64, entries: u32, completion: u16) -> Self {
        Self {
            base,
            entries,
            head: 0,
            tail: 0,
            completion,
        }
    }

    /// The doorbell; false for a value outside of the queue.
    pub(super) fn set_tail(&mut self, tail: u32) -> bool {
        let valid = tail < self.entries;
        if valid {
            self.tail = tail;
        }
        valid
    }
}

/// A completion queue, with what waits to be posted.
#[derive(Clone, Debug)]
pub(super) struct CompletionQueue {
    base: u64,
    entries: u32,
    /// Up to where the driver has read, and where the next entry goes.
    head: u32,
    tail: u32,
    phase: bool,
    vector: Option<u16>,
    /// What is to be posted, and when.
    pub(super) waiting: VecDeque<(u64, Posting)>,
}

impl CompletionQueue {
    pub(super) fn new(base: u64, entries: u32, vector: Option<u16>) -> Self {
        Self {
            base,
            entries,
            head: 0,
            tail: 0,
            phase: true,
            vector,
            waiting: VecDeque::new(),
        }
    }

    /// The doorbell; false for a value outside of what was posted.
    pub(super) fn set_head(&mut self, head: u32) -> bool {
        let distance = |from: u32, to: u32| (to + self.entries - from) % self.entries;
        let valid =
            head < self.entries && distance(self.head, head) <= distance(self.head, self.tail);
        if valid {
            self.head = head;
        }
        valid
    }

    fn is_full(&self) -> bool {
        (self.tail + 1) % self.entries == self.head
    }

    /// Waits to be posted at `at`. The order of equals is kept.
    pub(super) fn wait(&mut self, at: u64, posting: Posting) {
        let place = self.waiting.partition_point(|(other, _)| *other <= at);
        self.waiting.insert(place, (at, posting));
    }

    /// Posts what is due; returns when the next one is.
    pub(super) fn post(&mut self, bus: &Bus<'_>) -> Option<u64> {
        while let Some(&(at, posting)) = self.waiting.front() {
            if at > bus.now() {
                return Some(at);
            }
            if self.is_full() {
                return None; // the doorbell will make room
            }
            self.waiting.pop_front();
            self.scribble(bus, posting.scribble);
            self.store(bus, posting);
            if posting.times > 1 {
                let again = Posting {
                    times: posting.times - 1,
                    ..posting
                };
                self.waiting.push_front((at, again));
            }
        }
        None
    }

    /// Writes an entry (3.3.3.2): the last dword, with the phase tag, in one piece with the third.
    fn store(&mut self, bus: &Bus<'_>, posting: Posting) {
        let phase = self.phase ^ posting.stale_phase;
        let status = u64::from(posting.status << 1 | u16::from(phase));
        let low = u64::from(posting.head) | u64::from(posting.submission_queue) << 16;
        let high = u64::from(posting.identifier) << 32 | status << 48;
        let address = self.base + 16 * u64::from(self.tail);
        // A failed access leaves the driver without the entry, as on the bus.
        let _ = bus.store_words(address, [posting.result.into(), low | high]);
        self.tail = (self.tail + 1) % self.entries;
        self.phase ^= self.tail == 0;
        if let Some(vector) = self.vector
            && !posting.silent
        {
            bus.raise(vector);
        }
    }

    fn scribble(&self, bus: &Bus<'_>, words: Option<[u64; 2]>) {
        if let Some(words) = words {
            for entry in 0..self.entries {
                let _ = bus.store_words(self.base + 16 * u64::from(entry), words);
            }
        }
    }
}

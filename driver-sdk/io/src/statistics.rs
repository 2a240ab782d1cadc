//! What a queue counts, at every level.

/// What has happened on a queue since it was opened. Counting costs a few instructions a batch, and
/// none a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Requests that were accepted.
    pub submitted: u64,
    /// Requests that were given back.
    pub completed: u64,
    /// Times that the other side was told of new requests: register writes, or wake-ups of a
    /// server. One a batch.
    pub doorbells: u64,
    /// Looks that found completions, by how many there were: 1, 2 or 3, 4 to 7, and so on.
    pub batches: [u64; Self::BATCHES],
    /// Looks that found nothing.
    pub idle_polls: u64,
    /// Times that the thread went to sleep and was woken.
    pub wake_ups: u64,
    /// Waits that ended at their deadline.
    pub time_outs: u64,
    /// Completions that fitted no request. Not zero: the other side breaks its rules.
    pub strays: u64,
}

impl Statistics {
    /// The sizes of batches that are told apart; the last one has all larger batches.
    pub const BATCHES: usize = 12;

    /// Counts a look at the completions.
    #[inline]
    pub(crate) fn polled(&mut self, count: usize) {
        match count.checked_ilog2() {
            None => self.idle_polls += 1,
            Some(size) => {
                self.completed += count as u64;
                self.batches[(size as usize).min(Self::BATCHES - 1)] += 1;
            }
        }
    }

    /// Counts a doorbell for `count` requests, none for none.
    #[inline]
    pub(crate) fn rung(&mut self, count: u32) {
        if count != 0 {
            self.submitted += u64::from(count);
            self.doorbells += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_counted_by_size() {
        let mut statistics = Statistics::default();
        for count in [0, 1, 2, 3, 4, 32, 65535] {
            statistics.polled(count);
        }
        assert_eq!(statistics.idle_polls, 1);
        assert_eq!(statistics.batches, [1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(statistics.completed, 1 + 2 + 3 + 4 + 32 + 65535);
    }
}

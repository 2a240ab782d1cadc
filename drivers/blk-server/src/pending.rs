//! Requests by messages that wait, because the driver's queue is full or their client has its share of it.

use crate::{backend::Backend, hot::Hot};

impl<B: Backend> Hot<B> {
    /// Starts what has waited for room, one of each client in turn.
    #[cold]
    pub(crate) fn take_pending(&mut self) {
        let mut is_stuck = false;
        while !is_stuck && self.pending > 0 && self.room() > 0 {
            is_stuck = true;
            for step in 0..self.clients.len() {
                let index = (self.turn + step) % self.clients.len();
                is_stuck &= !self.take_pending_of(index);
            }
        }
    }

    /// Starts the oldest of a client's that wait; false if it cannot.
    fn take_pending_of(&mut self, index: usize) -> bool {
        let room = self.room();
        let Some(client) = &mut self.clients[index] else {
            return false;
        };
        if client.in_flight >= self.share || room == 0 {
            return false;
        }
        let Some((call, token)) = client.pending.pop_front() else {
            return false;
        };
        self.pending -= 1;
        self.start_message(index, &call, token);
        true
    }
}

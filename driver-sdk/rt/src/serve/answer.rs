//! Answers on their way to the client.

use spillway_abi::{
    call::Operation,
    queue::Submission,
    service::{Reply, Token},
};

use super::Server;
use crate::object::IoQueue;

/// The user data of a completion that says that an answer was not taken: the client had given up.
/// Whoever drives the queue ignores it.
pub const LATE: u64 = u64::MAX;

/// An answer that is given with the next wait, or at once when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it costs a system call; the server's loop gives it for nothing"]
pub struct Answer<'s>(Option<Ready<'s>>);

#[derive(Debug)]
struct Ready<'s> {
    server: &'s Server,
    token: Token,
    reply: Reply,
}

impl<'s> Answer<'s> {
    /// No answer now: somebody keeps the request, it was answered, or it was a notice.
    pub const fn later() -> Self {
        Self(None)
    }

    #[inline]
    pub(super) const fn new(server: &'s Server, token: Token, reply: Reply) -> Self {
        match token {
            Token::NONE => Self(None),
            token => Self(Some(Ready {
                server,
                token,
                reply,
            })),
        }
    }

    /// What another call can take along. An answer that passes a handle can be refused, for a limit
    /// of this process or of the client, and is then to be given otherwise: it goes by itself.
    #[inline]
    pub(super) fn take_along(mut self) -> Option<(Token, Reply)> {
        match self.0.take() {
            Some(Ready {
                token,
                reply: reply @ (Reply::Value(_) | Reply::Error(..)),
                ..
            }) => Some((token, reply)),
            passing => {
                drop(Self(passing));
                None
            }
        }
    }

    /// Gives it now, by a system call of its own.
    pub fn send(self) {
        drop(self);
    }

    /// Puts it into a queue, to be given with everything else there by the next
    /// [`IoQueue::enter`]; at once if the queue is full. If the client has given up, there is a
    /// completion with the user data [`LATE`], otherwise none.
    #[inline(always)]
    pub fn submit(mut self, queue: &mut IoQueue) {
        let Some(Ready {
            server,
            token,
            reply,
        }) = self.0.take()
        else {
            return;
        };
        let (status, value) = match reply {
            Reply::Value(value) => (0, value),
            Reply::Error(error, detail) => (error as u64, detail),
            // See `take_along`.
            passing => return server.send(token, passing),
        };
        let arguments = [token.0, status, value, 0];
        let entry = Submission::new(server.handle(), Operation::Reply, LATE, arguments);
        // SAFETY: no address is among the arguments.
        if unsafe { queue.submit(&entry) }.is_err() {
            server.send(token, reply);
        }
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if let Some(ready) = self.0.take() {
            ready.server.send(ready.token, ready.reply);
        }
    }
}

//! What those hear who have asked: answers to messages, and what stands in them when something is wrong.

use driver_sdk::{
    abi::{
        Error,
        service::{Reply, Token},
    },
    hal::{DriverError, DriverErrorKind, IoAddress},
    io::protocol::{Answer, block},
    prelude::*,
    rt::serve::{LATE, Server},
};

/// The slots of the receive window, as the device finds them.
#[derive(Clone, Copy)]
pub(crate) struct Slots {
    pub(crate) address: IoAddress,
    /// Of each.
    pub(crate) bytes: u64,
}

impl Slots {
    /// The slot of a request.
    pub(crate) fn of(window: Option<Self>, token: Token) -> Option<IoAddress> {
        let slot = token.window_slot()?;
        let Self { address, bytes } = window?;
        Some(address + u64::from(slot) * bytes)
    }
}

/// The way of answers to those who asked by messages.
pub(crate) struct Out {
    pub(crate) server: &'static Server,
    pub(crate) io: IoQueue,
    /// There are answers that the kernel has not been told of.
    pub(crate) owes: bool,
}

impl Out {
    /// Answers with the next entry to the kernel.
    #[inline(always)]
    pub(crate) fn reply(&mut self, token: Token, answer: Answer) {
        let reply = match answer.status {
            0 => Reply::Value(answer.detail),
            _ => refusal(answer),
        };
        self.owes = true;
        let service = self.server.service();
        if self.io.submit_reply(service, token, reply, LATE).is_err() {
            // A client that has given up misses nothing.
            let _ = service.reply(token, reply);
        }
    }
}

#[cold]
fn refusal(answer: Answer) -> Reply {
    Reply::Error(answer.error().unwrap_or(Error::Failed), answer.detail)
}

/// What a client hears when the driver refuses or fails.
#[cold]
pub(crate) fn failure(error: DriverError) -> Answer {
    Answer::failed(Error::Failed, block::detail(error.into()))
}

/// What a client hears whose call is not right.
#[cold]
pub(crate) fn refused(error: Error) -> Answer {
    Answer::failed(error, 0)
}

/// Whether the driver's queue is dead.
pub(crate) fn is_fatal(error: &DriverError) -> bool {
    use DriverErrorKind::{Aborted, Gone, Protocol, TimedOut};
    matches!(error.kind, Aborted | Gone | Protocol | TimedOut)
}

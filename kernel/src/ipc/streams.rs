//! Requests that go from queue to queue: what is kept of them.
//!
//! What a queue asks of an object, without data, is a *stream*: it says who asked and for what as long
//! as a request of it is under way, and counts as one use of the object. A request itself is only
//! what comes back with the completion, in its place among the [`super::requests`]. Whatever else
//! happens to one than its answer makes a request like all others of it first ([`write_out`]).

use alloc::sync::Arc;
use spillway_abi::service::{Token, What};

use super::{
    Direct, release,
    requests::{Entry, FIRST, Request},
};
use crate::{
    kernel::Kernel,
    object::{IoQueue, Remote},
};

/// What the requests of a stream have in common.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Where the completions go.
    pub queue: Arc<IoQueue>,
    /// On what.
    pub remote: Arc<Remote>,
}

/// A request of a stream, which its server has.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// Names it.
    pub token: Token,
    /// Comes back with the completion.
    pub user_data: u64,
    /// Comes back with the completion.
    pub trace: u64,
    /// What it is.
    pub what: What,
}

impl Default for Passed {
    fn default() -> Self {
        Self {
            token: Token::NONE,
            user_data: 0,
            trace: 0,
            what: What(0),
        }
    }
}

/// Begins a stream, which is held until [`leave`]. There is always room for one more.
pub fn open(kernel: &mut Kernel, stream: Stream) -> Option<u16> {
    let remote = stream.remote.clone();
    let number = kernel.requests.places.open(stream)?;
    remote.state.get_mut(kernel).uses += 1;
    Some(number)
}

/// So many requests of a stream are answered, or somebody no longer holds it.
pub fn leave(kernel: &mut Kernel, stream: u16, count: u32) {
    if let Some(stream) = kernel.requests.places.let_go(stream, count) {
        release(kernel, &stream.remote);
    }
}

/// Whether the request in a place is one of a stream, with this user data.
pub fn is_passed(kernel: &mut Kernel, slot: u16, user_data: u64) -> bool {
    let place = kernel.requests.places.get(slot.wrapping_sub(FIRST));
    place.is_some_and(|place| place.group().is_some() && place.payload.user_data == user_data)
}

/// If a request in a place is one of a stream, makes of it one like the others: but for the arguments,
/// which the server has.
#[inline]
pub fn write_out(kernel: &mut Kernel, slot: u16) {
    let place = kernel.requests.places.get(slot.wrapping_sub(FIRST));
    if let Some(place) = place
        && let Some(stream) = place.group()
    {
        place.clear();
        let passed = place.payload;
        write_out_of(kernel, slot, stream, passed);
    }
}

#[cold]
fn write_out_of(kernel: &mut Kernel, slot: u16, number: u16, passed: Passed) {
    let Some(stream) = kernel.requests.places.group(number).cloned() else {
        return;
    };
    stream.remote.state.get_mut(kernel).uses += 1;
    leave(kernel, number, 1);
    let entry = Entry {
        queue: stream.queue,
        user_data: passed.user_data,
        trace: passed.trace,
        home: 0,
    };
    let direct = Direct {
        remote: stream.remote,
        token: passed.token,
        what: passed.what,
    };
    let mut asked = direct.in_full();
    asked.message.trace = passed.trace;
    *kernel.requests.get(slot) = Request::Asked(entry, asked);
}

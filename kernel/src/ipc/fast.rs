//! The fast path of queues: requests without data, and their answers.
//!
//! Entries of a queue go into the queue of the server, and its answers into that of the client, a
//! batch at a time: what is looked up for one entry is remembered for the next, and the other side
//! sees a batch when it is complete ([`Batch`]).
//!
//! Everything else goes the long way ([`super::batch`]), and what is refused here is
//! checked and told there. Both leave the same behind, but that what was asked is kept as [`Direct`].

use alloc::sync::Arc;
use spillway_abi::{
    Error, Handle, Rights,
    call::Operation,
    queue::{Completion, MESSAGE, Submission},
    service::{Notice, Token, What},
};

use super::{
    Direct, has_news,
    requests::{Entry, Request},
};
use crate::{
    kernel::Kernel,
    object::{IoQueue, Object, Remote, Service, Thread, queue::completion},
};

/// The rights that the operations need, by their numbers.
const NEEDED: [Rights; 8] = [
    Rights::READ,
    Rights::MANAGE,
    Rights::MANAGE,
    Rights::READ,
    Rights::WRITE,
    Rights::READ,
    Rights::MANAGE,
    Rights::MAP,
];

/// Whether an operation takes neither data nor a handle along, and the handle has the right to it.
#[inline(always)]
fn is_plain(operation: u64, rights: Rights, d: u64) -> bool {
    const REGISTERED: u64 = 1 << Operation::Read as u64 | 1 << Operation::Write as u64;
    const ALWAYS: u64 = 1 << Operation::Destroy as u64
        | 1 << Operation::GetMeta as u64
        | 1 << Operation::SetMeta as u64;
    let bit = 1u64.wrapping_shl(operation as u32);
    let is_registered = bit & REGISTERED != 0 && d.wrapping_sub(1) < 0xffff;
    operation < NEEDED.len() as u64
        && (bit & ALWAYS != 0 || is_registered)
        && rights.contains(NEEDED[operation as usize])
}

/// What a server is told of an operation. Of the operations here only reads and writes have a
/// registration.
#[inline(always)]
fn what(operation: u64, rights: Rights, d: u64) -> What {
    let has_registration =
        operation == Operation::Read as u64 || operation == Operation::Write as u64;
    let registration = if has_registration { d as u16 } else { 0 };
    What::new(Notice::Request, operation as u8, registration, rights)
}

/// What is remembered between the entries of a batch. It holds only as long as the kernel lock is not
/// let go of.
#[derive(Default)]
pub struct Batch {
    /// What the last handle led to.
    target: Option<(u32, Target, Rights)>,
    /// The queue into which was pushed what its program has not been shown, and how much.
    sink: Option<(Arc<IoQueue>, u32)>,
}

enum Target {
    /// An object whose requests go into a queue, and the number of its service there.
    Remote(Arc<Remote>, Arc<IoQueue>, u32),
    /// A service, for answers.
    Service(Arc<Service>),
}

impl Batch {
    /// Does an entry of a queue. False, and nothing has changed, if it is to go the long way.
    #[inline]
    pub fn take(
        &mut self,
        kernel: &mut Kernel,
        thread: &Thread,
        queue: &Arc<IoQueue>,
        entry: &Submission,
    ) -> bool {
        if !matches!(&self.target, Some((handle, ..)) if *handle == entry.object) {
            self.target = look_up(kernel, thread, entry.object);
        }
        let Self { target, sink } = self;
        let Some((_, target, rights)) = target else {
            return false;
        };
        match target {
            Target::Remote(remote, server, number) => {
                let (object, service) = ((&*remote, *rights), (&*server, *number));
                submit(kernel, sink, queue, entry, object, service)
            }
            Target::Service(service) => {
                entry.operation == Operation::Reply as u32
                    && entry.deadline == 0
                    && rights.contains(Rights::WRITE)
                    && reply(kernel, sink, service, entry)
            }
        }
    }

    /// Shows everybody what they have, and forgets what was looked up. To be called before the long
    /// way is gone, and at the end.
    pub fn finish(&mut self, kernel: &mut Kernel) {
        self.target = None;
        publish(kernel, &mut self.sink);
    }
}

fn publish(kernel: &mut Kernel, sink: &mut Option<(Arc<IoQueue>, u32)>) {
    if let Some((queue, count)) = sink.take() {
        queue.publish(kernel, count);
    }
}

/// Puts a completion or message into a queue; others are shown first what they have.
#[inline]
fn push(
    kernel: &mut Kernel,
    sink: &mut Option<(Arc<IoQueue>, u32)>,
    queue: &Arc<IoQueue>,
    completion: &Completion,
) {
    match sink {
        Some((same, count)) if Arc::ptr_eq(same, queue) => *count += 1,
        _ => {
            publish(kernel, sink);
            *sink = Some((queue.clone(), 1));
        }
    }
    queue.push(kernel, completion);
}

#[cold]
fn look_up(kernel: &Kernel, thread: &Thread, raw: u32) -> Option<(u32, Target, Rights)> {
    let handles = &thread.process.state.get(kernel).handles;
    let (object, rights) = handles.get(Handle::from_raw(raw)).ok()?;
    let target = match object {
        // Only the server answers.
        Object::Service(service) if Arc::ptr_eq(&service.owner, &thread.process) => {
            Target::Service(service.clone())
        }
        Object::Remote(remote) => {
            let state = remote.service.state.get(kernel);
            let (server, number) = state.queue.clone().filter(|_| !state.ended)?;
            Target::Remote(remote.clone(), server, number)
        }
        _ => return None,
    };
    Some((raw, target, rights))
}

/// Puts a request into the queue of its server.
#[inline]
fn submit(
    kernel: &mut Kernel,
    sink: &mut Option<(Arc<IoQueue>, u32)>,
    queue: &Arc<IoQueue>,
    submission: &Submission,
    (remote, rights): (&Arc<Remote>, Rights),
    (server, number): (&Arc<IoQueue>, u32),
) -> bool {
    let [a, b, c, d] = submission.arguments;
    let operation = submission.operation.into();
    let service = &remote.service;
    if !is_plain(operation, rights, d)
        || submission.deadline != 0
        || has_news(service.state.get(kernel))
        // In one queue the message must not take the room of the completion.
        || Arc::ptr_eq(server, queue)
        || !server.has_room(kernel)
    {
        return false;
    }
    let Some(slot) = queue.begin(kernel) else {
        return false;
    };
    let token = Token::new(slot, None, kernel.requests.next_sequence());
    let what = what(operation, rights, d);
    remote.state.get_mut(kernel).uses += 1;
    service.state.get_mut(kernel).taken_count += 1;
    *kernel.requests.get(slot) = Request::Direct(
        Entry {
            queue: queue.clone(),
            user_data: submission.user_data,
            trace: submission.trace,
            home: 0,
        },
        Direct {
            remote: remote.clone(),
            token,
            what,
        },
    );
    let message = Completion {
        user_data: remote.number,
        status: MESSAGE,
        service: number,
        value: token.0,
        trace: submission.trace,
        what: what.0,
        arguments: [a, b, c],
    };
    push(kernel, sink, server, &message);
    true
}

/// Gives the answer to a request that came this way.
#[inline]
fn reply(
    kernel: &mut Kernel,
    sink: &mut Option<(Arc<IoQueue>, u32)>,
    service: &Arc<Service>,
    submission: &Submission,
) -> bool {
    let [token, status, value, _] = submission.arguments;
    let token = Token(token);
    let Some(Request::Direct(_, direct)) = kernel.requests.find(token.asker()) else {
        return false;
    };
    let is_right = direct.token == token && Arc::ptr_eq(&direct.remote.service, service);
    let remote = direct.remote.clone();
    if !is_right || remote.state.get(kernel).uses <= 1 || service.state.get(kernel).ended {
        return false;
    }
    let answer = match Error::from_raw(status) {
        None if status == 0 => Ok(value),
        None => return false,
        Some(error) => Err((error, value)),
    };
    let request = core::mem::take(kernel.requests.get(token.asker()));
    let Request::Direct(entry, _) = request else {
        return false;
    };
    remote.state.get_mut(kernel).uses -= 1;
    service.state.get_mut(kernel).taken_count -= 1;
    entry.queue.forget(kernel, token.asker());
    let completion = completion(entry.user_data, entry.trace, answer);
    push(kernel, sink, &entry.queue, &completion);
    true
}

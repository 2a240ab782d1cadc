//! IoQueues: many requests under way at once, and one place to wait for everything.

use spillway_abi::{
    Error, Handle, Rights,
    call::Operation,
    limits::{MAX_COMPLETIONS, MAX_QUEUE_ENTRIES},
    object::CreateKind,
    queue::{Completion, Submission},
    service::{Message, Reply, Token},
};

use spillway_ring::PushError;

use super::{Event, Memory, OwnedHandle, Service, create_on, rings::Rings};
use crate::{startup::own_process, syscall, time::Deadline};

/// Submission and completion rings that this process shares with the kernel. One thread at a time
/// uses them.
#[derive(Debug)]
pub struct IoQueue {
    rings: Rings,
    handle: OwnedHandle,
}

impl AsRef<OwnedHandle> for IoQueue {
    fn as_ref(&self) -> &OwnedHandle {
        &self.handle
    }
}

impl IoQueue {
    /// A queue with so many entries in its two rings, powers of two; `completions` can be 0 for
    /// twice as many as there are submissions.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] for other numbers, or more than [`MAX_QUEUE_ENTRIES`] and
    /// [`MAX_COMPLETIONS`]; [`Error::LimitReached`], [`Error::OutOfMemory`].
    pub fn new(submissions: u32, completions: u32) -> Result<Self, Error> {
        let completions = match completions {
            0 => submissions.saturating_mul(2),
            number => number,
        };
        if submissions > MAX_QUEUE_ENTRIES || completions > MAX_COMPLETIONS {
            return Err(Error::BadArgument);
        }
        let (b, c) = (submissions.into(), completions.into());
        let handle = create_on(own_process(), CreateKind::IoQueue, b, c)?;
        let rights = Rights::READ | Rights::WRITE | Rights::MAP;
        let arguments = [0, rights.bits().into(), 0, 0];
        // SAFETY: nothing but a handle comes to be.
        let memory = unsafe { syscall::do_io(handle.get(), Operation::Share, arguments)? };
        let memory = Memory::from(OwnedHandle::new(Handle::from_raw(memory as u32)));
        Ok(Self {
            rings: Rings::new(&memory, submissions, completions)?,
            handle,
        })
    }

    /// The handle, for a raw call.
    pub const fn handle(&self) -> Handle {
        self.handle.get()
    }

    /// Entries for which the submission ring has room now.
    pub fn room(&mut self) -> u32 {
        self.rings.room()
    }

    /// Puts in an operation, to be taken by the next [`Self::enter`].
    ///
    /// # Errors
    ///
    /// [`PushError::Full`]: [`Self::enter`] and take completions first. [`PushError::Corrupt`] for
    /// a ring that somebody else wrote to.
    ///
    /// # Safety
    ///
    /// As for [`syscall::do_io`]: memory that the arguments name stays, and is the kernel's,
    /// until the completion was taken; if the queue is dropped before, for good.
    #[inline]
    pub unsafe fn submit(&mut self, submission: &Submission) -> Result<(), PushError> {
        self.rings.submit(submission)
    }

    /// Puts in a wait for an object: an Event, a Timer, an Interrupt, a Process, a Thread.
    ///
    /// # Errors
    ///
    /// See [`Self::submit`].
    pub fn submit_wait(
        &mut self,
        object: &impl AsRef<OwnedHandle>,
        user_data: u64,
        deadline: Deadline,
    ) -> Result<(), PushError> {
        let object = object.as_ref().get();
        self.rings.submit(&Submission {
            deadline: deadline.raw(),
            ..Submission::new(object, Operation::Wait, user_data, [0; 4])
        })
    }

    /// Puts in a read into a memory that the object's server knows by a registration, as
    /// [`super::Operations::read_registered`].
    ///
    /// # Errors
    ///
    /// See [`Self::submit`].
    #[inline]
    pub fn submit_registered(&mut self, request: &Registered) -> Result<(), PushError> {
        self.rings.submit(&request.submission())
    }

    /// Puts in an answer to a request on a service. It has a completion, with this `user_data`, only
    /// if it was not taken: the client had given up.
    ///
    /// # Errors
    ///
    /// See [`Self::submit`].
    #[inline]
    pub fn submit_reply(
        &mut self,
        service: &Service,
        token: Token,
        reply: Reply,
        user_data: u64,
    ) -> Result<(), PushError> {
        let [status, value, extra] = reply.to_raw();
        let arguments = [token.0, status, value, extra];
        let service = service.as_ref().get();
        self.rings.submit(&Submission::new(
            service,
            Operation::Reply,
            user_data,
            arguments,
        ))
    }

    /// Puts in a signal for an event.
    ///
    /// # Errors
    ///
    /// See [`Self::submit`].
    #[inline]
    pub fn submit_signal(&mut self, event: &Event, user_data: u64) -> Result<(), PushError> {
        let event = event.as_ref().get();
        self.rings
            .submit(&Submission::new(event, Operation::Write, user_data, [0; 4]))
    }

    /// Puts in nothing, which completes at once.
    ///
    /// # Errors
    ///
    /// See [`Self::submit`].
    pub fn submit_nothing(&mut self, user_data: u64) -> Result<(), PushError> {
        let nothing = Submission::new(Handle::NULL, Operation::Nothing, user_data, [0; 4]);
        self.rings.submit(&nothing)
    }

    /// Hands over what was submitted, and waits until `minimum` completions are there; returns how
    /// many are. Does not enter the kernel if there is nothing to hand over and enough is there.
    /// What the kernel did not take, because too much is under way, it takes the next time.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Interrupted`], [`Error::Corrupt`] for a ring that somebody
    /// else wrote to and [`Error::Gone`] ever after, [`Error::BadArgument`] for more than the
    /// completion ring has, and those of the handle. What is there then can still be taken.
    pub fn enter(&mut self, minimum: u32, deadline: Deadline) -> Result<u32, Error> {
        let left = self.rings.publish()?;
        let there = self.rings.completions()?;
        if left == 0 && there >= minimum.max(1) {
            return Ok(there);
        }
        // SAFETY: `submit` answers for what was submitted.
        unsafe { syscall::enter(self.handle.get(), minimum, deadline.raw())? };
        self.rings.completions()
    }

    /// The next completion, if there is one. Does not enter the kernel, so it never sees what needs
    /// [`Self::enter`]: data that is read from a process's object without a registration, and what
    /// had no room in the ring before.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] for a ring that somebody else wrote to.
    #[inline]
    pub fn pop(&mut self) -> Result<Option<Completion>, Error> {
        self.rings.pop()
    }

    /// Asks for a request to be given back soon: one that was taken with this `user_data`. Returns
    /// whether its completion is still to come, because a device may reach its memory, or because
    /// its data waits for the next [`Self::enter`]; otherwise it is in the ring.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is none under way, and those of the handle.
    pub fn cancel(&mut self, user_data: u64) -> Result<bool, Error> {
        let arguments = [user_data, 0, 0, 0];
        // SAFETY: what is cancelled keeps its memory until its completion.
        unsafe { syscall::do_io(self.handle.get(), Operation::Cancel, arguments) }
            .map(|still| still != 0)
    }
}

/// A read or a write of a memory that the object's server knows by a registration.
#[derive(Clone, Copy, Debug)]
pub struct Registered {
    /// Of the object.
    pub object: Handle,
    /// Whether the object is written; otherwise it is read.
    pub write: bool,
    /// In the object.
    pub offset: u64,
    /// The registration, not 0.
    pub registration: core::num::NonZeroU16,
    /// Where in the memory.
    pub at: u64,
    /// Bytes.
    pub length: u64,
    /// Comes back with the completion.
    pub user_data: u64,
    /// Follows the request; 0 for none.
    pub trace: u64,
}

impl Registered {
    pub(crate) const fn submission(&self) -> Submission {
        let operation = match self.write {
            true => Operation::Write,
            false => Operation::Read,
        };
        let registration = self.registration.get() as u64;
        let arguments = [self.offset, self.at, self.length, registration];
        let mut submission = Submission::new(self.object, operation, self.user_data, arguments);
        submission.trace = self.trace;
        submission
    }
}

/// The message behind a completion, and the number of the service that it is for, if it is one.
#[inline]
pub const fn message(completion: &Completion) -> Option<(u32, Message)> {
    if !completion.is_message() {
        return None;
    }
    let message = Message {
        token: completion.token(),
        object: completion.user_data,
        what: completion.what(),
        arguments: completion.arguments,
        trace: completion.trace,
    };
    Some((completion.service, message))
}

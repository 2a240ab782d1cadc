//! `Enter`: what a program put into the submission ring of a queue is done, or begun, as one batch;
//! then the program waits, if it wants to.

use alloc::{boxed::Box, sync::Arc};
use core::mem;

use spillway_abi::{
    Error, Handle, Rights,
    call::Operation,
    queue::Submission,
    service::{Reply, Token},
};

use super::{
    Sent, acquire_slot, copy,
    end::cancel,
    fast,
    prepare::prepare,
    pump, release_slot, reply,
    reply::Answer,
    requests::{self, Entry, Request},
    send,
};
use crate::{
    arch::core,
    kernel::{Guard, Kernel},
    object::{IoQueue, Object, Service, Thread, queue::completion, thread::Wait},
    sched::{
        self,
        work::{Progress, Work},
    },
    syscall::{self, Action},
};

/// Entries per step.
const ENTRIES: u32 = 64;

/// A thread's stay in the kernel with a queue.
#[derive(Debug)]
pub struct Enter {
    queue: Arc<IoQueue>,
    minimum: u32,
    deadline: u64,
    /// A long operation of an entry that is not done: the entry's user data and trace id.
    inner: Option<(Box<Work>, u64, u64)>,
}

/// What became of an entry.
enum Begun {
    /// It is done.
    Done(Answer),
    /// Its completion comes later.
    UnderWay,
    /// It has no completion.
    Silent,
    /// It needs room in the window of a service, and there is none.
    Stalled(Arc<Service>),
    /// It takes long.
    Long(Work),
}

impl Enter {
    /// Takes entries, and waits for so many completions.
    pub fn new(queue: Arc<IoQueue>, minimum: u32, deadline: u64) -> Self {
        Self {
            queue,
            minimum,
            deadline,
            inner: None,
        }
    }

    /// A part, by a thread of the queue's owner, whose address space is loaded.
    pub fn step(mut self, guard: &mut Guard, thread: &Arc<Thread>) -> Progress {
        if let Some((work, user_data, trace)) = self.inner.take() {
            match work.step(guard, thread) {
                Progress::Done(result) => {
                    self.queue.state.get_mut(guard).under_way_count -= 1;
                    self.post(guard, user_data, trace, result.map_err(|error| (error, 0)));
                }
                Progress::More(rest) => return Progress::More(self.with(rest, user_data, trace)),
                Progress::Wait(rest, wait, until) => {
                    return Progress::Wait(self.with(rest, user_data, trace), wait, until);
                }
                Progress::Sleep(rest, until) => {
                    return Progress::Sleep(self.with(rest, user_data, trace), until);
                }
                // No operation on a kernel object leaves the thread in a wait of its own.
                Progress::Asked(_) => return Progress::Done(Err(Error::BadOperation)),
            }
        }
        match self.take_entries(guard, thread) {
            Err(error) => {
                self.queue.state.get_mut(guard).ended = true;
                Progress::Done(Err(error))
            }
            Ok(Some(progress)) => progress,
            Ok(None) => self.wait(guard, thread),
        }
    }

    fn with(mut self, rest: Work, user_data: u64, trace: u64) -> Work {
        self.inner = Some((Box::new(rest), user_data, trace));
        Work::Enter(self)
    }

    fn post(&self, kernel: &mut Kernel, user_data: u64, trace: u64, answer: Answer) {
        self.queue
            .post(kernel, &completion(user_data, trace, answer));
    }

    /// Takes at most [`ENTRIES`] entries. `None` if there is no more to do with them now.
    fn take_entries(
        &mut self,
        guard: &mut Guard,
        thread: &Arc<Thread>,
    ) -> Result<Option<Progress>, Error> {
        let queue = self.queue.clone();
        copy_answered(guard, &queue);
        let mut batch = fast::Batch::default();
        let mut left = queue.budget(guard)?.min(ENTRIES);
        let outcome = loop {
            if left == 0 {
                left = queue.budget(guard)?.min(ENTRIES);
                let has_more = left > 0 && queue.has_entries(guard);
                break has_more.then(|| Progress::More(Work::Enter(self.again())));
            }
            let next = match queue.take_stalled(guard) {
                None => queue.next_entry(guard)?,
                stalled => stalled,
            };
            let Some(submission) = next else {
                break None;
            };
            left -= 1;
            if batch.take(guard, thread, &queue, &submission) {
                continue;
            }
            batch.finish(guard);
            let (user_data, trace) = (submission.user_data, submission.trace);
            match begin(guard, thread, &queue, &submission) {
                Begun::Done(answer) => self.post(guard, user_data, trace, answer),
                Begun::UnderWay | Begun::Silent => {}
                Begun::Stalled(service) => {
                    let state = queue.state.get_mut(guard);
                    state.stalled = Some(submission);
                    // With requests under way, one of them may make room: its completion wakes the
                    // thread. With none, only the window can.
                    if state.under_way_count > 0 || self.minimum == 0 {
                        break None;
                    }
                    let again = Work::Enter(self.again());
                    break Some(Progress::Wait(again, Wait::Window(service), self.deadline));
                }
                Begun::Long(work) => {
                    queue.state.get_mut(guard).under_way_count += 1;
                    let again = self.again();
                    break Some(Progress::More(again.with(work, user_data, trace)));
                }
            }
            queue.check(guard)?;
        };
        batch.finish(guard);
        queue.publish_taken(guard);
        for index in 0.. {
            let Some(service) = queue.state.get(guard).services.get(index).cloned() else {
                break;
            };
            pump(guard, &service);
        }
        Ok(outcome)
    }

    fn again(&self) -> Self {
        Self::new(self.queue.clone(), self.minimum, self.deadline)
    }

    /// Lets the thread wait if completions are missing.
    fn wait(self, guard: &mut Guard, thread: &Arc<Thread>) -> Progress {
        let available = match self.queue.available(guard) {
            Ok(available) => available,
            Err(error) => return Progress::Done(Err(error)),
        };
        if available >= self.minimum {
            return Progress::Done(Ok(available.into()));
        }
        if sched::has_passed(self.deadline) {
            return Progress::Done(Err(Error::TimedOut));
        }
        if thread.state.get(guard).stop || thread.process.is_ending() {
            return Progress::Done(Err(Error::Interrupted));
        }
        let works = self.queue.has_entries(guard);
        let missing = self.minimum - available;
        let enter = (self.minimum, self.deadline);
        if let Err(error) = self
            .queue
            .set_waiter(guard, thread.slot, missing, enter, works)
        {
            return Progress::Done(Err(error));
        }
        let wait = Wait::Queue(self.queue.clone());
        sched::wait_listed(guard, thread, wait, self.deadline);
        Progress::Asked(None)
    }

    /// Nobody goes on with it.
    pub fn abandon(&mut self, kernel: &mut Kernel, thread: &Thread) {
        if let Some((work, ..)) = self.inner.take() {
            let mut work = work;
            work.abandon(kernel, thread);
        }
        let slot = thread.state.get_mut(kernel).window_slot.take();
        if let (Some(slot), Some(submission)) = (slot, self.queue.state.get(kernel).stalled)
            && let Ok((Object::Remote(remote), _)) = target(kernel, thread, submission.object)
        {
            release_slot(kernel, &remote.service, slot);
        }
    }
}

fn target(kernel: &Kernel, thread: &Thread, raw: u32) -> Result<(Object, Rights), Error> {
    let handles = &thread.process.state.get(kernel).handles;
    let (object, rights) = handles.get(Handle::from_raw(raw))?;
    Ok((object.clone(), rights))
}

/// Does an entry, or begins it.
fn begin(
    guard: &mut Guard,
    thread: &Arc<Thread>,
    queue: &Arc<IoQueue>,
    submission: &Submission,
) -> Begun {
    let failed = |error| Begun::Done(Err((error, 0)));
    let Some(operation) = Operation::from_raw(submission.operation.into()) else {
        return failed(Error::BadOperation);
    };
    if operation == Operation::Nothing {
        return Begun::Done(Ok(0));
    }
    if operation != Operation::Wait && submission.deadline != 0 {
        return failed(Error::BadArgument);
    }
    let (object, rights) = match target(guard, thread, submission.object) {
        Ok(found) => found,
        Err(error) => return failed(error),
    };
    match (operation, object) {
        (Operation::Reply, Object::Service(service)) => {
            answer(guard, &service, rights, submission.arguments)
        }
        (Operation::Cancel, Object::IoQueue(other)) => {
            let result = cancel(guard, &other, submission.arguments[0]);
            Begun::Done(result.map_err(|error| (error, 0)))
        }
        (Operation::Wait, object) => wait_for(guard, thread, queue, submission, &object, rights),
        (_, Object::Remote(remote)) => {
            let prepared = prepare(
                guard,
                &thread.process,
                remote,
                rights,
                operation,
                submission.arguments,
                submission.trace,
            );
            match prepared {
                Ok(prepared) => ask(guard, thread, queue, submission, prepared),
                Err(error) => failed(error),
            }
        }
        (Operation::Close, _) => act(syscall::close(
            guard,
            thread,
            Handle::from_raw(submission.object),
        )),
        (operation, object) => act(syscall::perform(
            guard,
            thread,
            object,
            rights,
            operation,
            submission.arguments,
        )),
    }
}

fn act(action: Action) -> Begun {
    match action {
        Action::Done(result) => Begun::Done(result.map_err(|error| (error, 0))),
        Action::Work(work) => Begun::Long(work),
    }
}

/// A server answers by an entry of its queue. Only a mistake has a completion.
#[inline]
fn answer(
    guard: &mut Guard,
    service: &Arc<Service>,
    rights: Rights,
    [token, status, value, extra]: [u64; 4],
) -> Begun {
    if !rights.contains(Rights::WRITE) {
        return Begun::Done(Err((Error::MissingRight, 0)));
    }
    let answered = Reply::from_raw([status, value, extra])
        .and_then(|answer| reply::reply(guard, service, Token(token), answer));
    match answered {
        Ok(thread) => {
            if let Some(thread) = thread {
                sched::make_ready(guard, &thread);
            }
            Begun::Silent
        }
        Err(error) => Begun::Done(Err((error, 0))),
    }
}

/// Sends a request to a server.
#[inline]
fn ask(
    guard: &mut Guard,
    thread: &Arc<Thread>,
    queue: &Arc<IoQueue>,
    submission: &Submission,
    prepared: super::prepare::Prepared,
) -> Begun {
    let mut asked = prepared.asked;
    let mut window_slot = None;
    if prepared.source.is_some() || asked.destination.is_some() {
        let service = asked.remote.service.clone();
        let turn = thread.state.get_mut(guard).window_slot.take();
        let Some(slot) = turn.or_else(|| acquire_slot(guard, &service)) else {
            return Begun::Stalled(service);
        };
        if let Some(source) = prepared.source {
            let copied = copy::copy_in(guard, &service, slot, source)
                .and_then(|()| service.check(guard))
                .and_then(|()| queue.check(guard));
            if let Err(error) = copied {
                release_slot(guard, &service, slot);
                return Begun::Done(Err((error, 0)));
            }
        }
        window_slot = Some(slot);
    }
    let Some(slot) = queue.begin(guard) else {
        // It was taken within the budget.
        return Begun::Done(Err((Error::Gone, 0)));
    };
    let sequence = guard.requests.next_sequence();
    asked.message.token = Token::new(slot, window_slot, sequence);
    let entry = entry_of(queue, submission);
    let sent = send(guard, slot, asked, |kernel, asked| {
        requests::set(kernel, slot, Request::Asked(entry, asked));
    });
    if let Sent::To(server) = sent {
        sched::make_ready(guard, &server);
    }
    Begun::UnderWay
}

fn entry_of(queue: &Arc<IoQueue>, submission: &Submission) -> Entry {
    Entry {
        queue: queue.clone(),
        user_data: submission.user_data,
        trace: submission.trace,
        home: core().index.get(),
    }
}

/// Waits for an object without a thread.
fn wait_for(
    guard: &mut Guard,
    thread: &Arc<Thread>,
    queue: &Arc<IoQueue>,
    submission: &Submission,
    object: &Object,
    rights: Rights,
) -> Begun {
    let wait = match syscall::wait_on(guard, thread, object, rights) {
        Ok(wait) => wait,
        Err(error) => return Begun::Done(Err((error, 0))),
    };
    match syscall::already(guard, &wait) {
        Ok(None) if sched::has_passed(submission.deadline) => {
            Begun::Done(Err((Error::TimedOut, 0)))
        }
        Ok(None) => {
            let Some(slot) = queue.begin(guard) else {
                return Begun::Done(Err((Error::Gone, 0)));
            };
            sched::edit_waiters(guard, &wait, |list, links| list.push_back(links, slot));
            let entry = entry_of(queue, submission);
            if submission.deadline != spillway_abi::call::NO_DEADLINE {
                sched::set_deadline_ns(guard, entry.home, slot, submission.deadline);
            }
            requests::set(guard, slot, Request::Wait(entry, wait));
            Begun::UnderWay
        }
        Ok(Some(value)) => Begun::Done(Ok(value)),
        Err(error) => Begun::Done(Err((error, 0))),
    }
}

/// Copies what was answered meanwhile out of the windows.
fn copy_answered(guard: &mut Guard, queue: &Arc<IoQueue>) {
    while let Some(slot) = queue.state.get(guard).answered.front() {
        queue.copied(guard, slot);
        let Request::Answered(entry, asked, bytes) = mem::take(guard.requests.get(slot)) else {
            continue;
        };
        // Its place in the completion ring stays kept, though the lock is let go of meanwhile.
        queue.forget(guard, slot);
        queue.state.get_mut(guard).under_way_count += 1;
        let service = &asked.remote.service;
        let answer = match (asked.message.token.window_slot(), asked.destination) {
            (Some(window_slot), Some((address, _))) => {
                let copied = copy::copy_out(guard, service, window_slot, (address, bytes));
                release_slot(guard, service, window_slot);
                copied.map(|()| bytes).map_err(|error| (error, 0))
            }
            _ => Ok(bytes),
        };
        queue.state.get_mut(guard).under_way_count -= 1;
        queue.post(guard, &completion(entry.user_data, entry.trace, answer));
    }
}

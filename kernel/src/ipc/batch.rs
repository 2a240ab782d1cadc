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
    Sent, copy,
    enter::is_over,
    has_news,
    prepare::prepare,
    pump,
    relay::{self, Due},
    reply,
    reply::Answer,
    requests::{self, Entry, Request},
    send,
    window::{acquire_slot, decline, release_slot, turn},
};
use crate::{
    arch::core,
    kernel::{Guard, Kernel},
    object::{IoQueue, Object, Service, Thread, queue::completion, thread::Wait},
    sched::{
        self,
        work::{Progress, Work},
    },
    syscall::{self, Action, MAX_TRANSFER},
};

/// Entries per step.
pub const ENTRIES: u32 = 64;
/// Bytes that are copied per step, give or take those of one request.
const BYTES: u64 = 256 << 10;

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

/// How far a step came with the entries.
enum Taken {
    /// There is no more to do with them now.
    All,
    /// There is more to do.
    Some,
    /// The next one needs room in the window of this service.
    Stalled(Arc<Service>),
    /// A long operation comes first: with the entry's user data and trace id.
    Long(Work, u64, u64),
}

/// What a step may still do.
struct Budget {
    entries: u32,
    bytes: u64,
}

impl Budget {
    const STEP: Self = Self {
        entries: ENTRIES,
        bytes: BYTES,
    };

    fn spend(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn is_spent(&self) -> bool {
        self.entries == 0 || self.bytes == 0
    }
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
        let mut due = Due::default();
        let taken = self.take_entries(guard, thread, &mut due);
        // A slot that none of the entries wanted after all.
        decline(guard, thread);
        let progress = match taken {
            Err(error) => {
                self.queue.fail(guard);
                Progress::Done(Err(error))
            }
            Ok(Taken::Some) => Progress::More(Work::Enter(self)),
            Ok(Taken::Long(work, user_data, trace)) => {
                Progress::More(self.with(work, user_data, trace))
            }
            Ok(Taken::Stalled(service)) => self.wait(guard, thread, Some(service)),
            Ok(Taken::All) => self.wait(guard, thread, None),
        };
        due.wake(guard);
        progress
    }

    fn with(mut self, rest: Work, user_data: u64, trace: u64) -> Work {
        self.inner = Some((Box::new(rest), user_data, trace));
        Work::Enter(self)
    }

    fn post(&self, kernel: &mut Kernel, user_data: u64, trace: u64, answer: Answer) {
        self.queue
            .post(kernel, &completion(user_data, trace, answer));
    }

    /// Takes as many entries as a step may.
    fn take_entries(
        &self,
        guard: &mut Guard,
        thread: &Arc<Thread>,
        due: &mut Due,
    ) -> Result<Taken, Error> {
        let queue = &self.queue;
        let mut budget = Budget::STEP;
        copy_answered(guard, queue, &mut budget);
        let taken = loop {
            if budget.is_spent() {
                break Taken::Some;
            }
            let relayed = relay::run(guard, thread, queue, budget.entries, due);
            if relayed > 0 {
                budget.entries -= relayed;
                continue;
            }
            let Some(submission) = queue.next_entry(guard)? else {
                break Taken::All;
            };
            budget.entries -= 1;
            // The lock may be let go of from here on.
            due.wake(guard);
            let (user_data, trace) = (submission.user_data, submission.trace);
            match begin(guard, thread, queue, &submission, &mut budget) {
                Begun::Done(answer) => self.post(guard, user_data, trace, answer),
                Begun::UnderWay | Begun::Silent => {}
                Begun::Stalled(service) => {
                    queue.stall(guard, submission);
                    break Taken::Stalled(service);
                }
                Begun::Long(work) => {
                    queue.state.get_mut(guard).under_way_count += 1;
                    break Taken::Long(work, user_data, trace);
                }
            }
        };
        queue.publish_taken(guard);
        pump_all(guard, queue, due);
        Ok(taken)
    }

    /// Lets the thread wait if completions are missing; also for room in a window, if an entry
    /// needs that.
    fn wait(self, guard: &mut Guard, thread: &Arc<Thread>, room: Option<Arc<Service>>) -> Progress {
        // What was answered by entries of this very batch, or while the lock was let go of: nobody
        // else wakes the thread for it.
        let is_short = self
            .queue
            .available(guard)
            .is_ok_and(|there| there < self.minimum);
        if is_short && self.queue.state.get(guard).answered.front().is_some() {
            return Progress::More(Work::Enter(self));
        }
        if let Some(result) = is_over(guard, thread, &self.queue, (self.minimum, self.deadline)) {
            return Progress::Done(result);
        }
        let (queue, deadline) = (self.queue.clone(), self.deadline);
        if let Some(service) = room {
            let wait = Wait::Window(service, Some(queue));
            return Progress::Wait(Work::Enter(self), wait, deadline);
        }
        sched::wait_listed(guard, thread, Wait::Queue(queue), deadline);
        Progress::Asked(None)
    }

    /// Whether it has begun something for another process that must not be left half done.
    pub fn must_finish(&self, thread: &Thread) -> bool {
        let inner = self.inner.as_ref();
        inner.is_some_and(|(work, ..)| work.must_finish(thread))
    }

    /// Nobody goes on with it.
    pub fn abandon(&mut self, kernel: &mut Kernel, thread: &Thread) {
        if let Some((work, ..)) = &mut self.inner {
            work.abandon(kernel, thread);
        }
        decline(kernel, thread);
    }
}

/// Hands out what waits for room in the queue.
fn pump_all(kernel: &mut Kernel, queue: &IoQueue, due: &mut Due) {
    for index in 0.. {
        let Some(service) = queue.state.get(kernel).services.get(index) else {
            return;
        };
        if has_news(service.state.get(kernel)) {
            let service = service.clone();
            due.wake(kernel);
            pump(kernel, &service);
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
    budget: &mut Budget,
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
            answer(guard, thread, &service, rights, submission.arguments)
        }
        (Operation::Close, _) => {
            let handle = Handle::from_raw(submission.object);
            act(syscall::close(guard, thread, handle))
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
                Ok(prepared) => ask(guard, thread, queue, submission, prepared, budget),
                Err(error) => failed(error),
            }
        }
        (operation, object) => {
            budget.spend(cost(&object, operation, submission.arguments[2]));
            let perform = |guard: &mut Guard| {
                let arguments = submission.arguments;
                syscall::perform(guard, thread, object, rights, operation, arguments)
            };
            act(queue.with_place(guard, perform))
        }
    }
}

/// The bytes of a step's budget that an operation on an object of the kernel costs. A text for the
/// log takes as long as the port does, so it ends the step.
fn cost(object: &Object, operation: Operation, bytes: u64) -> u64 {
    match (object, operation) {
        (Object::Log, _) => BYTES,
        (_, Operation::Read | Operation::Write) => bytes.min(MAX_TRANSFER),
        _ => 0,
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
    thread: &Thread,
    service: &Arc<Service>,
    rights: Rights,
    [token, status, value, extra]: [u64; 4],
) -> Begun {
    if !rights.contains(Rights::WRITE) {
        return Begun::Done(Err((Error::MissingRight, 0)));
    }
    if let Err(error) = syscall::check_server(thread, service) {
        return Begun::Done(Err((error, 0)));
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
    budget: &mut Budget,
) -> Begun {
    let mut asked = prepared.asked;
    let mut window_slot = None;
    if prepared.source.is_some() || asked.destination.is_some() {
        let service = asked.remote.service.clone();
        let turn = turn(guard, thread, &service);
        let Some(slot) = turn.or_else(|| acquire_slot(guard, &service)) else {
            return Begun::Stalled(service);
        };
        if let Some(source) = prepared.source {
            budget.spend(source.1);
            let copied = queue
                .with_place(guard, |guard| copy::copy_in(guard, &service, slot, source))
                .and_then(|()| service.check(guard))
                .and_then(|()| asked.remote.check(guard))
                .and_then(|()| queue.check(guard));
            if let Err(error) = copied {
                release_slot(guard, &service, slot);
                return Begun::Done(Err((error, 0)));
            }
        }
        window_slot = Some(slot);
    }
    let Some(slot) = queue.begin(guard) else {
        // It never is: the entry was taken while there was a place.
        window_slot.inspect(|&slot| release_slot(guard, &asked.remote.service, slot));
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
fn copy_answered(guard: &mut Guard, queue: &Arc<IoQueue>, budget: &mut Budget) {
    while !budget.is_spent()
        && let Some(slot) = queue.state.get(guard).answered.front()
    {
        queue.copied(guard, slot);
        let Request::Answered(entry, asked, bytes) = mem::take(guard.requests.get(slot)) else {
            continue;
        };
        budget.spend(bytes);
        queue.forget(guard, slot);
        let service = &asked.remote.service;
        let answer = match (asked.message.token.window_slot(), asked.destination) {
            (Some(window_slot), Some((address, _))) => {
                let copied = queue.with_place(guard, |guard| {
                    copy::copy_out(guard, service, window_slot, (address, bytes))
                });
                release_slot(guard, service, window_slot);
                copied.map(|()| bytes).map_err(|error| (error, 0))
            }
            _ => Ok(bytes),
        };
        queue.post(guard, &completion(entry.user_data, entry.trace, answer));
    }
}

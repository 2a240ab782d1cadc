//! `do_io` on a served object: the synchronous way to a server.

use alloc::sync::Arc;
use spillway_abi::{
    Error, Rights,
    call::{NO_DEADLINE, Operation, TIMED, TRACED},
    service::Token,
};

use super::{
    Sent, copy,
    prepare::{Prepared, prepare},
    send, thread_to_queue,
    window::{acquire_slot, decline, release_slot, turn},
};
use crate::{
    kernel::{Guard, Kernel},
    object::{Remote, Thread, thread::Wait},
    sched::{
        self,
        work::{self, Progress, Work},
    },
    syscall::Outcome,
};

/// Does an operation on a served object for a thread.
#[inline(never)]
pub fn call(
    guard: Guard,
    thread: &Arc<Thread>,
    remote: Arc<Remote>,
    rights: Rights,
    operation: u64,
    arguments: [u64; 4],
) -> Outcome {
    let (guard, remote) =
        match thread_to_queue::ask(guard, thread, remote, rights, operation, arguments) {
            Ok(outcome) => return outcome,
            Err(back) => back,
        };
    let known = operation & !(TRACED | TIMED);
    let Some(kind) = Operation::from_raw(known) else {
        return Outcome::Done(Err(Error::BadOperation));
    };
    let extra = thread.extra_arguments(&guard);
    let trace = if operation & TRACED != 0 { extra[0] } else { 0 };
    let deadline = match operation & TIMED {
        0 => NO_DEADLINE,
        _ => extra[1],
    };
    let prepared = prepare(
        &guard,
        &thread.process,
        remote,
        rights,
        kind,
        arguments,
        trace,
    );
    match prepared {
        Err(error) => Outcome::Done(Err(error)),
        Ok(prepared) if prepared.window_bytes() == 0 => {
            ask(guard, thread, prepared, None, deadline)
        }
        Ok(prepared) => work::begin(guard, thread, Work::Call(Call { prepared, deadline })),
    }
}

/// Sends a request whose data is in the window, and lets the thread wait for the answer.
#[inline]
fn ask(
    mut guard: Guard,
    thread: &Arc<Thread>,
    prepared: Prepared,
    slot: Option<u16>,
    deadline: u64,
) -> Outcome {
    crate::arch::entry::leave_by_call();
    match put(&mut guard, thread, prepared, slot, deadline) {
        Err(error) => Outcome::Done(Err(error)),
        Ok(Sent::To(server)) if sched::can_switch_to(&guard, &server) => {
            Outcome::SwitchTo(guard, server)
        }
        Ok(Sent::To(server)) => {
            sched::make_ready(&mut guard, &server);
            Outcome::Switch(guard)
        }
        Ok(Sent::Queued) => Outcome::Switch(guard),
    }
}

/// Sends a request of a thread, which waits from here on. Errors leave nothing behind.
fn put(
    kernel: &mut Kernel,
    thread: &Arc<Thread>,
    prepared: Prepared,
    slot: Option<u16>,
    deadline: u64,
) -> Result<Sent, Error> {
    let mut asked = prepared.asked;
    let service = asked.remote.service.clone();
    let check = service.check(kernel).and_then(|()| {
        if sched::has_passed(deadline) {
            Err(Error::TimedOut)
        } else if thread.state.get(kernel).stop || thread.process.is_ending() {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    });
    if let Err(error) = check {
        if let Some(slot) = slot {
            release_slot(kernel, &service, slot);
        }
        return Err(error);
    }
    let sequence = kernel.requests.next_sequence();
    asked.message.token = Token::new(thread.slot, slot, sequence);
    sched::wait_listed(kernel, thread, Wait::Answer, deadline);
    Ok(send(kernel, thread.slot, asked, |kernel, asked| {
        thread.state.get_mut(kernel).asked = Some(asked);
    }))
}

/// A call that needs room in the server's window, and brings its data there first.
pub struct Call {
    prepared: Prepared,
    deadline: u64,
}

impl core::fmt::Debug for Call {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Call")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// A part, by the thread that calls, whose address space is loaded.
    pub fn step(self, guard: &mut Guard, thread: &Arc<Thread>) -> Progress {
        let service = self.prepared.asked.remote.service.clone();
        let turn = turn(guard, thread, &service);
        // What the window holds may be known only since the thread has waited for it.
        if let Err(error) = self.prepared.check_window(guard) {
            if let Some(slot) = turn {
                release_slot(guard, &service, slot);
            }
            return Progress::Done(Err(error));
        }
        let slot = match turn {
            Some(slot) => slot,
            None => {
                if let Err(error) = service.check(guard) {
                    return Progress::Done(Err(error));
                }
                match acquire_slot(guard, &service) {
                    Some(slot) => slot,
                    None if sched::has_passed(self.deadline) => {
                        return Progress::Done(Err(Error::TimedOut));
                    }
                    None if thread.state.get(guard).stop => {
                        return Progress::Done(Err(Error::Interrupted));
                    }
                    None => {
                        let until = self.deadline;
                        return Progress::Wait(
                            Work::Call(self),
                            Wait::Window(service, None),
                            until,
                        );
                    }
                }
            }
        };
        if let Some(source) = self.prepared.source
            && let Err(error) = copy::copy_in(guard, &service, slot, source)
        {
            release_slot(guard, &service, slot);
            return Progress::Done(Err(error));
        }
        // The handle can have been closed while there was no slot, or during the copy.
        if let Err(error) = self.prepared.asked.remote.check(guard) {
            release_slot(guard, &service, slot);
            return Progress::Done(Err(error));
        }
        match put(guard, thread, self.prepared, Some(slot), self.deadline) {
            Ok(Sent::To(server)) => Progress::Asked(Some(server)),
            Ok(Sent::Queued) => Progress::Asked(None),
            Err(error) => Progress::Done(Err(error)),
        }
    }

    /// Nobody goes on with it.
    pub fn abandon(&self, kernel: &mut Kernel, thread: &Thread) {
        decline(kernel, thread);
    }
}

//! `SignalAndWait`: two parties on one core hand each other the turn.

use alloc::sync::Arc;
use core::ptr;

use spillway_abi::{Error, Handle, Rights, call::NO_DEADLINE};

use super::{Arguments, Outcome, SystemCall, handle};
use crate::{
    arch::{core, go_on},
    kernel::{self, Guard, Kernel},
    object::{
        Event, Object, Thread,
        thread::{Phase, Wait},
    },
    sched,
};

/// [`spillway_abi::Call::SignalAndWait`].
pub struct SignalAndWait;

impl SystemCall for SignalAndWait {
    fn call(thread: &Arc<Thread>, [signal, wait, deadline, ..]: Arguments) -> Outcome {
        let mut guard = kernel::lock();
        if deadline == NO_DEADLINE {
            guard = pass_turn(guard, thread, signal, wait);
        }
        signal_and_wait(guard, thread, [signal, wait, deadline])
    }
}

/// The long way.
#[inline(never)]
fn signal_and_wait(
    mut guard: Guard,
    thread: &Arc<Thread>,
    [signal, wait, deadline]: [u64; 3],
) -> Outcome {
    let events = handle(signal)
        .and_then(|signal| event(&guard, thread, signal, Rights::WRITE))
        .and_then(|signal| {
            let wait = event(&guard, thread, handle(wait)?, Rights::WAIT)?;
            Ok((signal, wait))
        });
    let (signal, wait) = match events {
        Ok(events) => events,
        Err(error) => return Outcome::Done(Err(error)),
    };
    let woken = signal.signal_for_switch(&mut guard);
    let result = match wait.take(&mut guard) {
        Some(count) => Some(Ok(count)),
        None if sched::has_passed(deadline) => Some(Err(Error::TimedOut)),
        None => None,
    };
    if let Some(result) = result {
        woken.inspect(|other| sched::make_ready(&mut guard, other));
        return Outcome::Done(result);
    }
    let waits_for_turn =
        deadline == NO_DEADLINE && wait.is_unused(&guard) && !thread.state.get(&guard).hasty;
    let event = wait.clone();
    sched::wait(&mut guard, thread, Wait::Event(wait), deadline);
    if waits_for_turn {
        event.unlist_turn(&mut guard, thread);
    }
    match woken {
        Some(other) if sched::can_switch_to(&guard, &other) => Outcome::SwitchTo(guard, other),
        Some(other) => {
            sched::make_ready(&mut guard, &other);
            Outcome::Switch(guard)
        }
        None => Outcome::Switch(guard),
    }
}

/// Signals the event that another thread of this core waits for, which goes on, and waits for the
/// next turn. Returns if anything else is to be done, and nothing has changed then.
#[inline(always)]
fn pass_turn(mut guard: Guard, thread: &Thread, signal: u64, wait: u64) -> Guard {
    let kernel = &mut *guard;
    let core = core();
    let handles = &thread.process.state.get(kernel).handles;
    let event = |object| Object::event(object).ok();
    let Some((signal, signal_rights)) = handles.get_raw(signal, event) else {
        return guard;
    };
    let Some((wait, wait_rights)) = handles.get_raw(wait, event) else {
        return guard;
    };
    let Some(other) = &signal.state.get(kernel).turn else {
        return guard;
    };
    let other = other.state.get(kernel);
    if !signal_rights.contains(Rights::WRITE)
        || !wait_rights.contains(Rights::WAIT)
        || !wait.is_unused(kernel)
        || thread.state.get(kernel).hasty
        || !sched::can_hand_over(kernel, core, other, other.priority)
    {
        return guard;
    }
    // SAFETY: the table of the running process, which nobody changes meanwhile, keeps both.
    let (signal, wait) = unsafe { (&*Arc::as_ptr(signal), &*ptr::from_ref(wait)) };
    let Some(other) = signal.state.get_mut(kernel).turn.take() else {
        return guard;
    };
    let waits = Wait::Event(wait.clone());
    let context = other.context_pointer();
    let (before, waited) = sched::hand_over(kernel, core, thread, other);
    sched::waits_for(thread.state.get_mut(kernel), waits);
    sched::put(&mut wait.state.get_mut(kernel).turn, before);
    if let Phase::Waiting(Wait::Event(event)) = waited {
        drop(event);
    }
    drop(guard);
    // SAFETY: the other is this core's running thread, its address space is loaded, and it left by
    // a system call: it is to be in `turn` only by this function.
    unsafe { go_on::with_value(context, 1) }
}

fn event(
    kernel: &Kernel,
    thread: &Thread,
    handle: Handle,
    right: Rights,
) -> Result<Arc<Event>, Error> {
    thread.process.typed(kernel, handle, right, Object::event)
}

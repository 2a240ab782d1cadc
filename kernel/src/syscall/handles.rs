//! Closing and duplicating handles.

use alloc::sync::Arc;
use spillway_abi::{Error, Handle, Rights};
use spillway_kernel_core::handles::restrict;

use super::{Action, Arguments, Outcome, SystemCall, handle};
use crate::{
    ipc,
    kernel::{self, Guard, Kernel},
    memory::frames,
    object::{Object, Process, Thread},
    sched::work::{self, Teardown, UnpinPages, Work},
};

/// [`spillway_abi::Call::Close`].
pub struct Close;
/// [`spillway_abi::Call::Duplicate`].
pub struct Duplicate;

impl SystemCall for Close {
    fn call(thread: &Arc<Thread>, [raw, ..]: Arguments) -> Outcome {
        let mut guard = kernel::lock();
        match handle(raw) {
            Ok(handle) => close(&mut guard, thread, handle).run(guard, thread),
            Err(error) => Outcome::Done(Err(error)),
        }
    }
}

/// Gives a handle of a thread's process back. [`Error::BadHandle`].
pub fn close(guard: &mut Guard, thread: &Arc<Thread>, handle: Handle) -> Action {
    let process = &thread.process;
    match process.state.get_mut(guard).handles.remove(handle) {
        Err(error) => Action::Done(Err(error)),
        Ok((Object::Pin(pin), _)) => Action::Work(UnpinPages::begin(pin)),
        Ok((Object::PciFunction(grant), _)) => super::device::revoke(guard, grant),
        Ok((Object::Interrupt(interrupt), _)) => {
            interrupt.kill(guard);
            Action::Done(Ok(0))
        }
        Ok((object, _)) => {
            if let Some(end) = work::close(guard, process, object) {
                return Action::Work(Work::EndService(end));
            }
            match work::take_orphan(guard) {
                None => Action::Done(Ok(0)),
                Some(orphan) => Action::Work(Work::Teardown(Teardown::of_another(orphan))),
            }
        }
    }
}

impl SystemCall for Duplicate {
    fn call(thread: &Arc<Thread>, [raw, rights, target, ..]: Arguments) -> Outcome {
        duplicate(&mut kernel::lock(), &thread.process, raw, rights, target)
            .map(|handle| handle.raw() as u64)
            .into()
    }
}

fn duplicate(
    kernel: &mut Kernel,
    process: &Arc<Process>,
    raw: u64,
    rights: u64,
    target: u64,
) -> Result<Handle, Error> {
    let wanted = u32::try_from(rights)
        .ok()
        .and_then(Rights::from_bits)
        .ok_or(Error::BadArgument)?;
    let (object, have) = process.state.get(kernel).handles.get(handle(raw)?)?;
    let target = match handle(target)? {
        Handle::NULL => process.clone(),
        target => process.typed(kernel, target, Rights::MANAGE, Object::process)?,
    };
    let is_own = Arc::ptr_eq(&target, process);
    let needed = if is_own {
        Rights::DUPLICATE
    } else {
        Rights::TRANSFER
    };
    if !have.contains(needed) {
        return Err(Error::MissingRight);
    }
    let rights = restrict(have, wanted)?;
    let object = object.clone();
    target.check_alive()?;
    check_reachable(kernel, &target, &object)?;
    if !frames::has_reserve() {
        return Err(Error::OutOfMemory);
    }
    insert(kernel, &target, object, rights)
}

/// Two processes without threads must not hold each other, or nobody could reach either to end
/// it: a process that has none can be given no other that has none. [`Error::BadArgument`].
pub fn check_reachable(
    kernel: &Kernel,
    target: &Arc<Process>,
    object: &Object,
) -> Result<(), Error> {
    let is_idle = |process: &Process| process.state.get(kernel).thread_count == 0;
    match object {
        Object::Process(process)
            if !Arc::ptr_eq(process, target) && is_idle(process) && is_idle(target) =>
        {
            Err(Error::BadArgument)
        }
        _ => Ok(()),
    }
}

/// Puts an object into a process's table. [`Error::LimitReached`], [`Error::OutOfMemory`].
pub fn insert(
    kernel: &mut Kernel,
    holder: &Arc<Process>,
    object: Object,
    rights: Rights,
) -> Result<Handle, Error> {
    let memory = object.memory().ok().cloned();
    if let Some(memory) = &memory {
        memory.hold(kernel, &holder.account)?;
    }
    let counted = object.clone();
    let inserted = holder.state.get_mut(kernel).handles.insert(object, rights);
    match (&inserted, memory) {
        (Ok(_), _) => count_handle(kernel, holder, &counted),
        (Err(_), Some(memory)) => memory.let_go(kernel, &holder.account),
        (Err(_), None) => {}
    }
    inserted
}

/// Puts a new object into a process's table; nothing is left of it if that has no room.
pub fn insert_new(
    kernel: &mut Kernel,
    holder: &Arc<Process>,
    object: Object,
    rights: Rights,
) -> Result<Handle, Error> {
    insert(kernel, holder, object.clone(), rights).inspect_err(|_| match &object {
        Object::IoQueue(queue) => ipc::end::end_queue(kernel, queue),
        Object::Timer(timer) => timer.end(kernel),
        Object::Service(service) => service.withdraw(kernel),
        _ => {}
    })
}

/// Holds an object as a handle in a process's table does. [`work::close`] lets go again.
/// [`Error::OutOfMemory`].
pub fn hold(kernel: &mut Kernel, holder: &Arc<Process>, object: &Object) -> Result<(), Error> {
    if let Object::Memory(memory) = object {
        memory.hold(kernel, &holder.account)?;
    }
    count_handle(kernel, holder, object);
    Ok(())
}

/// One more handle to an object that knows how many there are.
fn count_handle(kernel: &mut Kernel, holder: &Arc<Process>, object: &Object) {
    match object {
        Object::Process(process) if !Arc::ptr_eq(process, holder) => {
            process.state.get_mut(kernel).outside_handles += 1;
        }
        Object::Remote(remote) => remote.state.get_mut(kernel).uses += 1,
        Object::IoQueue(queue) => queue.state.get_mut(kernel).handles += 1,
        Object::Timer(timer) => timer.state.get_mut(kernel).handles += 1,
        Object::Service(service) if Arc::ptr_eq(&service.owner, holder) => {
            service.state.get_mut(kernel).handles += 1;
        }
        _ => {}
    }
}

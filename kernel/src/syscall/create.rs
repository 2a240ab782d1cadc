//! `Create` on a Process: memory, threads, child processes.

use alloc::sync::Arc;
use spillway_abi::{
    Error, Rights, layout,
    limits::MAX_PRIORITY,
    object::{CreateKind, ProcessArguments, ThreadArguments, is_process_name, memory_address_bits},
};

use super::{
    Action,
    handles::{insert, insert_new},
};
use crate::{
    arch::user_copy,
    kernel::{Guard, Kernel},
    memory::frames,
    object::{
        EVENT_RIGHTS, Event, IoQueue, OBJECT_RIGHTS, Object, Process, QUEUE_RIGHTS, SERVICE_RIGHTS,
        Service, TABLE_RIGHTS, TIMER_RIGHTS, Thread, Timer,
    },
    sched::{self, work::CreateMemory},
};

/// Makes an object of a kind from a process. The handle goes to the caller.
pub fn create(
    guard: &mut Guard,
    caller: &Arc<Thread>,
    process: &Arc<Process>,
    kind: u64,
    b: u64,
    c: u64,
) -> Action {
    if let Err(error) = process.check_alive() {
        return Action::Done(Err(error));
    }
    if !frames::has_reserve() {
        return Action::Done(Err(Error::OutOfMemory));
    }
    let holder = &caller.process;
    let created = match CreateKind::from_raw(kind) {
        None => Err(Error::BadOperation),
        Some(CreateKind::Memory) => {
            let begun = memory_address_bits(c)
                .and_then(|contiguous| CreateMemory::begin(process, b, contiguous));
            return match begun {
                Ok(work) => Action::Work(work),
                Err(error) => Action::Done(Err(error)),
            };
        }
        Some(CreateKind::Thread) => create_thread(guard, holder, process, b),
        Some(CreateKind::Process) => create_process(guard, holder, process, b),
        Some(kind) => create_small(guard, process, kind, b, c)
            .and_then(|(object, rights)| insert_new(guard, holder, object, rights))
            .map(|handle| handle.raw().into()),
    };
    Action::Done(created)
}

/// Makes an object that needs no arguments from memory.
fn create_small(
    kernel: &mut Kernel,
    process: &Arc<Process>,
    kind: CreateKind,
    b: u64,
    c: u64,
) -> Result<(Object, Rights), Error> {
    Ok(match kind {
        CreateKind::Counters => (
            Object::Counters(Some(process.clone())),
            Rights::READ | Rights::PASS,
        ),
        CreateKind::IoQueue => (
            Object::IoQueue(IoQueue::new(kernel, process, b, c)?),
            QUEUE_RIGHTS,
        ),
        CreateKind::Event => (Object::Event(Event::new(&process.account)?), EVENT_RIGHTS),
        CreateKind::Timer => (Object::Timer(Timer::new(kernel, process)?), TIMER_RIGHTS),
        CreateKind::Service => (
            Object::Service(Service::new(kernel, process)?),
            SERVICE_RIGHTS,
        ),
        CreateKind::Processes => (Object::Processes(process.clone()), TABLE_RIGHTS),
        CreateKind::Memory | CreateKind::Thread | CreateKind::Process => {
            return Err(Error::BadOperation);
        }
    })
}

fn create_thread(
    kernel: &mut Kernel,
    holder: &Arc<Process>,
    process: &Arc<Process>,
    address: u64,
) -> Result<u64, Error> {
    let arguments: ThreadArguments = user_copy::read_value(address)?;
    let allowed = process.affinity & kernel.sched.online();
    let affinity = match arguments.affinity {
        0 => allowed,
        some => some & allowed,
    };
    let is_address = |address: u64| address < layout::USER_END;
    if arguments.reserved != 0
        || arguments.priority > process.max_priority as u32
        || affinity == 0
        || !is_address(arguments.entry)
        || !is_address(arguments.fs_base)
        || !is_address(arguments.stack)
        || !arguments.stack.is_multiple_of(16)
    {
        return Err(Error::BadArgument);
    }
    let priority = arguments.priority as u8;
    let thread = sched::admit(kernel, process, |kernel, slot| {
        Thread::new(
            process.clone(),
            slot,
            kernel.new_id(),
            &arguments,
            priority,
            affinity,
        )
    })?;
    let handle = insert(
        kernel,
        holder,
        Object::Thread(thread.clone()),
        OBJECT_RIGHTS,
    )
    .inspect_err(|_| sched::withdraw(kernel, &thread))?;
    sched::make_ready(kernel, &thread);
    Ok(handle.raw() as u64)
}

pub fn create_process(
    kernel: &mut Kernel,
    holder: &Arc<Process>,
    parent: &Arc<Process>,
    address: u64,
) -> Result<u64, Error> {
    let arguments: ProcessArguments = user_copy::read_value(address)?;
    let wanted = &arguments.limits;
    let limits = &parent.limits;
    if wanted.memory > limits.memory
        || wanted.requests > limits.requests
        || wanted.handles > limits.handles
        || wanted.threads > limits.threads
        || wanted.processes > limits.processes
        || arguments.max_priority > parent.max_priority as u32
    {
        return Err(Error::LimitReached);
    }
    let affinity = match arguments.affinity {
        0 => parent.affinity,
        some => some & parent.affinity,
    };
    let name = arguments
        .name
        .split(|&byte| byte == 0)
        .next()
        .unwrap_or_default();
    if arguments.reserved != 0
        || arguments.max_priority > MAX_PRIORITY
        || affinity & kernel.sched.online() == 0
        || !is_process_name(name)
    {
        return Err(Error::BadArgument);
    }
    parent.account.add_process()?;
    let made = Process::new(kernel, &arguments, affinity, Some(parent.clone()));
    let handle = made
        .and_then(|process| insert(kernel, holder, Object::Process(process), OBJECT_RIGHTS))
        .inspect_err(|_| parent.account.remove_process())?;
    Ok(handle.raw() as u64)
}

//! `GetMeta` and `SetMeta`: single values of an object.

use spillway_abi::{
    Error, Rights,
    object::{ClockMeta, MemoryMeta, ProcessMeta, ThreadMeta},
};

use crate::{
    kernel::Kernel,
    memory::{frames, heap},
    object::{Object, Process, Thread},
    platform::clock,
    sched,
};

/// The value behind a key. [`Error::BadOperation`] if the object does not have it.
pub fn get(kernel: &Kernel, object: &Object, rights: Rights, key: u64) -> Result<u64, Error> {
    let readable = || {
        if rights.contains(Rights::READ) {
            Ok(())
        } else {
            Err(Error::MissingRight)
        }
    };
    match object {
        Object::Memory(memory) => match MemoryMeta::from_raw(key) {
            Some(MemoryMeta::Size) => Ok(memory.bytes()),
            None => Err(Error::BadOperation),
        },
        Object::Process(process) => {
            let key = ProcessMeta::from_raw(key).ok_or(Error::BadOperation)?;
            readable().map(|()| process_value(kernel, process, key))
        }
        Object::Thread(thread) => {
            let key = ThreadMeta::from_raw(key).ok_or(Error::BadOperation)?;
            readable().map(|()| thread_value(kernel, thread, key))
        }
        Object::Clock => {
            let key = ClockMeta::from_raw(key).ok_or(Error::BadOperation)?;
            readable().map(|()| match key {
                ClockMeta::Now => clock::now_ns(),
                ClockMeta::TscFrequency => clock::frequency(),
                ClockMeta::KernelEntryTsc => crate::start::entry_tsc(),
            })
        }
        Object::Log | Object::Counters(_) | Object::Power => Err(Error::BadOperation),
    }
}

fn process_value(kernel: &Kernel, process: &Process, key: ProcessMeta) -> u64 {
    let state = process.state.get(kernel);
    match key {
        ProcessMeta::MemoryUsed => process.account.used(),
        ProcessMeta::HandlesUsed => state.handles.len() as u64,
        ProcessMeta::ThreadsUsed => state.thread_count as u64,
        ProcessMeta::ProcessesUsed => state.children as u64,
        ProcessMeta::MemoryLimit => process.account.limit(),
        ProcessMeta::FaultKind => state.fault.kind.map_or(0, |kind| kind as u64),
        ProcessMeta::FaultInstruction => state.fault.instruction,
        ProcessMeta::FaultAddress => state.fault.address,
        ProcessMeta::MachineMemoryFree => frames::free_bytes() + heap::unused_bytes(),
        ProcessMeta::MachineCores => kernel.sched.online().count_ones() as u64,
    }
}

fn thread_value(kernel: &Kernel, thread: &Thread, key: ThreadMeta) -> u64 {
    let state = thread.state.get(kernel);
    match key {
        ThreadMeta::Priority => state.priority as u64,
        ThreadMeta::Affinity => state.affinity,
        ThreadMeta::Id => thread.id,
    }
}

/// Changes the value behind a key. Only a thread has any that can be changed.
pub fn set(
    kernel: &mut Kernel,
    object: &Object,
    rights: Rights,
    key: u64,
    value: u64,
) -> Result<u64, Error> {
    let Object::Thread(thread) = object else {
        return Err(Error::BadOperation);
    };
    let key = ThreadMeta::from_raw(key).ok_or(Error::BadOperation)?;
    if !rights.contains(Rights::MANAGE) {
        return Err(Error::MissingRight);
    }
    match key {
        ThreadMeta::Priority => {
            let priority = u8::try_from(value)
                .ok()
                .filter(|&priority| priority <= thread.process.max_priority)
                .ok_or(Error::BadArgument)?;
            sched::set_priority(kernel, thread, priority);
        }
        ThreadMeta::Affinity => {
            let affinity = value & thread.process.affinity;
            if affinity & kernel.sched.online() == 0 {
                return Err(Error::BadArgument);
            }
            sched::set_affinity(kernel, thread, affinity);
        }
        ThreadMeta::Id => return Err(Error::BadOperation),
    }
    Ok(0)
}

//! `GetMeta` and `SetMeta`: single values of an object.

use spillway_abi::{
    Error, Rights,
    device::{DmaSpaceMeta, FunctionMeta, PinMeta},
    object::{ClockMeta, MemoryMeta, ProcessMeta, ThreadMeta, ThreadPhase, TimerMeta},
    service::ServiceMeta,
};

use crate::{
    kernel::Kernel,
    memory::{frames, heap},
    object::{Grant, Object, Process, Thread, thread::Phase},
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
        Object::PciFunction(grant) => {
            let (key, index) = FunctionMeta::from_raw(key).ok_or(Error::BadOperation)?;
            readable().and_then(|()| function_value(kernel, grant, key, index))
        }
        Object::DmaSpace(space) => match key {
            key if key == DmaSpaceMeta::Confined as u64 => {
                Ok(space.state.get(kernel).reach.is_confined().into())
            }
            key if key == DmaSpaceMeta::Pinned as u64 => Ok(space.pinned(kernel)),
            _ => Err(Error::BadOperation),
        },
        Object::Pin(pin) => match key {
            key if key == PinMeta::IoAddress as u64 => Ok(pin.io_address),
            key if key == PinMeta::Length as u64 => Ok(pin.length),
            _ => Err(Error::BadOperation),
        },
        Object::Timer(timer) => {
            let key = TimerMeta::from_raw(key).ok_or(Error::BadOperation)?;
            readable().map(|()| timer.get(kernel, key))
        }
        Object::Service(service) => {
            let state = service.state.get(kernel);
            let value = match ServiceMeta::from_raw(key).ok_or(Error::BadOperation)? {
                ServiceMeta::Waiting => state.waiting_count,
                ServiceMeta::Taken => state.taken_count,
                ServiceMeta::Queue => return Err(Error::BadOperation),
            };
            readable().map(|()| value.into())
        }
        Object::Log
        | Object::Remote(_)
        | Object::IoQueue(_)
        | Object::Event(_)
        | Object::Processes(_)
        | Object::Counters(_)
        | Object::Power
        | Object::Devices
        | Object::Interrupt(_) => Err(Error::BadOperation),
    }
}

fn process_value(kernel: &Kernel, process: &Process, key: ProcessMeta) -> u64 {
    let state = process.state.get(kernel);
    match key {
        ProcessMeta::MemoryUsed => process.account.used(),
        ProcessMeta::HandlesUsed => state.handles.len() as u64,
        ProcessMeta::ThreadsUsed => state.thread_count as u64,
        ProcessMeta::ProcessesUsed => process.account.processes().into(),
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
        ThreadMeta::Priority => state.own_priority as u64,
        ThreadMeta::Affinity => state.affinity,
        ThreadMeta::Id => thread.id,
        ThreadMeta::Stop => state.stop.into(),
        ThreadMeta::Phase => match state.phase {
            Phase::Ready | Phase::Running | Phase::Working => ThreadPhase::Runnable as u64,
            Phase::Waiting(_) => ThreadPhase::Waiting as u64,
            Phase::Ended(_) => ThreadPhase::Ended as u64,
        },
    }
}

fn function_value(
    kernel: &Kernel,
    grant: &Grant,
    key: FunctionMeta,
    index: u8,
) -> Result<u64, Error> {
    grant.check(kernel)?;
    let function = grant.function;
    Ok(match key {
        FunctionMeta::Address => function.id.raw().into(),
        FunctionMeta::Identity => u64::from(function.vendor) | u64::from(function.device) << 16,
        FunctionMeta::Class => function.class_code().into(),
        FunctionMeta::Vectors => function.messages.vectors().into(),
        FunctionMeta::BusMaster => function.is_bus_master().into(),
        FunctionMeta::Reset => return Err(Error::BadOperation),
        FunctionMeta::Bar0Size => function.bars[usize::from(index)].map_or(0, |bar| bar.size),
    })
}

/// Changes the value behind a key. Only threads and functions have any that can be changed.
pub fn set(
    kernel: &mut Kernel,
    object: &Object,
    rights: Rights,
    key: u64,
    value: u64,
) -> Result<u64, Error> {
    let thread = match object {
        Object::Thread(thread) => thread,
        Object::PciFunction(grant) => return set_function(kernel, grant, rights, key, value),
        Object::Timer(timer) => {
            let key = TimerMeta::from_raw(key).ok_or(Error::BadOperation)?;
            if !rights.contains(Rights::MANAGE) {
                return Err(Error::MissingRight);
            }
            return timer.set(kernel, key, value).map(|()| 0);
        }
        _ => return Err(Error::BadOperation),
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
        ThreadMeta::Stop => match value {
            0 | 1 => sched::set_stop(kernel, thread, value == 1),
            _ => return Err(Error::BadArgument),
        },
        ThreadMeta::Id | ThreadMeta::Phase => return Err(Error::BadOperation),
    }
    Ok(0)
}

fn set_function(
    kernel: &Kernel,
    grant: &Grant,
    rights: Rights,
    key: u64,
    value: u64,
) -> Result<u64, Error> {
    let (key, _) = FunctionMeta::from_raw(key).ok_or(Error::BadOperation)?;
    if !rights.contains(Rights::MANAGE) {
        return Err(Error::MissingRight);
    }
    match (key, value) {
        (FunctionMeta::BusMaster, 0 | 1) => grant.set_bus_master(kernel, value == 1)?,
        (FunctionMeta::BusMaster, _) => return Err(Error::BadArgument),
        _ => return Err(Error::BadOperation),
    }
    Ok(0)
}

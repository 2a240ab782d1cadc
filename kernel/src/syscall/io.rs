//! `DoIo`: one operation on one object.

use alloc::sync::Arc;
use lock_api::MutexGuard;
use spillway_abi::{
    Error, Rights,
    call::{Operation, TIMED, TRACED},
    counters::{COUNTER_COUNT, Counter},
    device::FunctionMeta,
    limits::{MAX_CORES, MAX_LOG_LINES, MAX_LOG_WRITE},
    object::CreateKind,
};
use spillway_kernel_core::{handles::restrict, log_text};

use super::{
    Action, Arguments, Outcome, SystemCall, create, device, insert, meta, processes, service,
};
use crate::{
    arch::{self, user_copy, user_copy::UserRange},
    ipc,
    kernel::{self, Guard},
    memory::frames,
    object::{Memory, Object, Process, Thread},
    platform::{log, power},
    sched::work::{Teardown, Work},
};

/// [`spillway_abi::Call::DoIo`].
pub struct DoIo;

/// Bytes that one `Read` or `Write` moves at most; the result says how many it moved.
pub const MAX_TRANSFER: u64 = 64 << 10;

impl SystemCall for DoIo {
    #[inline]
    fn call(thread: &Arc<Thread>, [raw, operation, a, b, c, d]: Arguments) -> Outcome {
        let guard = kernel::lock();
        let handles = &thread.process.state.get(&guard).handles;
        let remote = handles.get_raw(raw, |object| match object {
            Object::Remote(remote) => Some(remote),
            _ => None,
        });
        if let Some((remote, rights)) = remote {
            let (remote, arguments) = (remote.clone(), [a, b, c, d]);
            let (guard, remote) =
                ipc::direct::ask(guard, thread, remote, rights, operation, arguments);
            return ipc::call::call(guard, thread, remote, rights, operation, arguments);
        }
        match handles.get_raw(raw, |object| Some(object.clone())) {
            Some((object, rights)) => here(guard, thread, object, rights, operation, [a, b, c, d]),
            None => Outcome::Done(Err(Error::BadHandle)),
        }
    }
}

/// On an object of the kernel.
#[inline(never)]
fn here(
    mut guard: Guard,
    thread: &Arc<Thread>,
    object: Object,
    rights: Rights,
    operation: u64,
    arguments: [u64; 4],
) -> Outcome {
    match Operation::from_raw(operation & !(TRACED | TIMED)) {
        Some(operation) => {
            perform(&mut guard, thread, object, rights, operation, arguments).run(guard, thread)
        }
        None => Outcome::Done(Err(Error::BadOperation)),
    }
}

/// Does an operation on an object of the kernel.
pub fn perform(
    guard: &mut Guard,
    thread: &Arc<Thread>,
    object: Object,
    rights: Rights,
    operation: Operation,
    arguments: [u64; 4],
) -> Action {
    if let Object::Service(service) = &object
        && operation != Operation::GetMeta
    {
        return service::perform(guard, thread, service, rights, operation, arguments);
    }
    let request = Request {
        thread,
        object: &object,
        rights,
    };
    let [a, b, c, _] = arguments;
    match operation {
        Operation::Open => request.open(guard, [a, b, c]).into(),
        Operation::Create => request.create(guard, [a, b, c]),
        Operation::Destroy => request.destroy(guard, a),
        Operation::Read => request.read(guard, a, b, c).into(),
        Operation::Write => request.write(guard, a, b, c).into(),
        Operation::GetMeta => meta::get(guard, &object, rights, a).into(),
        Operation::SetMeta => request.set_meta(guard, a, b),
        Operation::Share => request.share(guard, a, b).into(),
        Operation::Cancel => request.cancel(guard, a).into(),
        Operation::Close | Operation::Reply | Operation::Wait | Operation::Nothing => {
            Action::Done(Err(Error::BadOperation))
        }
    }
}

/// An operation on an object that a handle led to.
struct Request<'a> {
    thread: &'a Arc<Thread>,
    object: &'a Object,
    rights: Rights,
}

impl Request<'_> {
    fn need(&self, right: Rights) -> Result<(), Error> {
        if self.rights.contains(right) {
            Ok(())
        } else {
            Err(Error::MissingRight)
        }
    }

    fn open(&self, guard: &mut Guard, arguments: [u64; 3]) -> Result<u64, Error> {
        match self.object {
            Object::Devices => {
                self.need(Rights::MANAGE)?;
                device::open(guard, self.thread, arguments)
            }
            Object::Processes(root) => {
                self.need(Rights::READ)?;
                let [name, length, _] = arguments;
                processes::open(guard, self.thread, (root, self.rights), name, length)
            }
            _ => Err(Error::BadOperation),
        }
    }

    fn create(&self, guard: &mut Guard, [a, b, c]: [u64; 3]) -> Action {
        match (self.object, self.need(Rights::MANAGE)) {
            (Object::Process(process), Ok(())) => {
                create::create(guard, self.thread, process, a, b, c)
            }
            (Object::Processes(_), Ok(())) if a != CreateKind::Process as u64 => {
                Action::Done(Err(Error::BadOperation))
            }
            (Object::Processes(root), Ok(())) => create::create(guard, self.thread, root, a, b, c),
            (Object::PciFunction(grant), Ok(())) => {
                device::create(guard, self.thread, grant, [a, b, c]).into()
            }
            (Object::DmaSpace(space), Ok(())) => device::pin(guard, self.thread, space, a),
            (
                Object::Process(_)
                | Object::Processes(_)
                | Object::PciFunction(_)
                | Object::DmaSpace(_),
                Err(error),
            ) => Action::Done(Err(error)),
            _ => Action::Done(Err(Error::BadOperation)),
        }
    }

    /// A reset takes long; whatever else can be set is set at once.
    fn set_meta(&self, guard: &mut Guard, key: u64, value: u64) -> Action {
        match (self.object, self.need(Rights::MANAGE)) {
            (Object::PciFunction(grant), Ok(())) if key == FunctionMeta::Reset as u64 => {
                device::reset(grant.clone())
            }
            (object, _) => meta::set(guard, object, self.rights, key, value).into(),
        }
    }

    fn destroy(&self, guard: &mut Guard, code: u64) -> Action {
        let status = match super::exit::exit_code(code) {
            Ok(spillway_abi::ExitStatus::Exited(code)) => code,
            _ => return Action::Done(Err(Error::BadArgument)),
        };
        match (self.object, self.need(Rights::MANAGE)) {
            (Object::Process(_) | Object::Power | Object::PciFunction(_), Err(error)) => {
                Action::Done(Err(error))
            }
            (Object::PciFunction(grant), Ok(())) => device::revoke(guard, grant.clone()),
            (Object::Power, Ok(())) => MutexGuard::unlocked(guard, || {
                power::exit(if status == 0 {
                    power::Outcome::Success
                } else {
                    power::Outcome::Failure
                })
            }),
            (Object::Process(process), Ok(())) => {
                let killed = spillway_abi::ExitStatus::Killed(status);
                let begun = process.begin_end(guard, killed);
                if begun && process.state.get(guard).thread_count == 0 {
                    return Action::Work(Work::Teardown(Teardown::of_another(process.clone())));
                }
                Action::Done(Ok(0))
            }
            _ => Action::Done(Err(Error::BadOperation)),
        }
    }

    fn read(
        &self,
        guard: &mut Guard,
        offset: u64,
        address: u64,
        length: u64,
    ) -> Result<u64, Error> {
        match self.object {
            Object::Devices => {
                self.need(Rights::READ)?;
                device::list(guard, offset, address, length)
            }
            Object::Processes(root) => {
                self.need(Rights::READ)?;
                processes::list(guard, root, offset, address, length)
            }
            Object::PciFunction(grant) => {
                self.need(Rights::READ)?;
                device::read_config(guard, grant, offset, address, length)
            }
            Object::Memory(memory) if !memory.is_registers() => {
                self.need(Rights::READ)?;
                let length = length.min(MAX_TRANSFER);
                MutexGuard::unlocked(guard, || {
                    memory_copy(memory, offset, address, length, |range, stretch| {
                        range.write_from(stretch)
                    })
                })
            }
            Object::Counters(process) => {
                self.need(Rights::READ)?;
                let bytes = counter_bytes(process.as_deref(), self.thread);
                let start = usize::try_from(offset).map_err(|_| Error::OutOfRange)?;
                let rest = bytes.get(start..).ok_or(Error::OutOfRange)?;
                let part = &rest[..rest.len().min(length as usize)];
                UserRange::new(address, part.len() as u64)?.write(part)?;
                Ok(part.len() as u64)
            }
            _ => Err(Error::BadOperation),
        }
    }

    fn write(
        &self,
        guard: &mut Guard,
        offset: u64,
        address: u64,
        length: u64,
    ) -> Result<u64, Error> {
        match self.object {
            Object::PciFunction(grant) => {
                self.need(Rights::WRITE)?;
                device::write_config(guard, grant, offset, address, length)
            }
            Object::Memory(memory) if !memory.is_registers() => {
                self.need(Rights::WRITE)?;
                let length = length.min(MAX_TRANSFER);
                MutexGuard::unlocked(guard, || {
                    memory_copy(memory, offset, address, length, |range, stretch| {
                        range.read_into(stretch)
                    })
                })
            }
            Object::Log => {
                self.need(Rights::WRITE)?;
                MutexGuard::unlocked(guard, || write_log(&self.thread.process, address, length))
            }
            Object::Event(event) => {
                self.need(Rights::WRITE)?;
                event.signal(guard);
                Ok(0)
            }
            _ => Err(Error::BadOperation),
        }
    }

    /// Another handle to a Memory or an Event, or one to the rings of a queue.
    fn share(&self, guard: &mut Guard, handle: u64, rights: u64) -> Result<u64, Error> {
        if !matches!(
            self.object,
            Object::Memory(_) | Object::Event(_) | Object::IoQueue(_)
        ) {
            return Err(Error::BadOperation);
        }
        if handle != 0 {
            return Err(Error::BadOperation);
        }
        let wanted = u32::try_from(rights).ok().and_then(Rights::from_bits);
        let wanted = wanted.ok_or(Error::BadArgument)?;
        let (object, have) = match self.object {
            Object::IoQueue(queue) => {
                self.need(Rights::MANAGE)?;
                let rights = Rights::READ | Rights::WRITE | Rights::MAP;
                (Object::Memory(queue.memory.clone()), rights)
            }
            object => {
                self.need(Rights::DUPLICATE)?;
                (object.clone(), self.rights)
            }
        };
        let rights = restrict(have, wanted)?;
        if !frames::has_reserve() {
            return Err(Error::OutOfMemory);
        }
        Ok(insert(guard, &self.thread.process, object, rights)?
            .raw()
            .into())
    }

    fn cancel(&self, guard: &mut Guard, user_data: u64) -> Result<u64, Error> {
        let Object::IoQueue(queue) = self.object else {
            return Err(Error::BadOperation);
        };
        self.need(Rights::WRITE)?;
        ipc::end::cancel(guard, queue, user_data)
    }
}

/// Copies between a Memory and a program, without a lock: the pages stay while the object is
/// held, and the program's side is checked by the copy itself.
fn memory_copy(
    memory: &Memory,
    offset: u64,
    address: u64,
    length: u64,
    copy: impl Fn(UserRange, *mut [u8]) -> Result<(), Error>,
) -> Result<u64, Error> {
    memory.check(offset, length)?;
    UserRange::new(address, length)?;
    let mut at = address;
    memory.stretches(offset, length, |stretch| {
        let bytes = stretch.len() as u64;
        copy(UserRange::new(at, bytes)?, stretch)?;
        at += bytes;
        Ok(())
    })?;
    Ok(length)
}

/// A text of a program for the log: some lines of it, all of the last; the result is how many bytes
/// they have.
fn write_log(process: &Process, address: u64, length: u64) -> Result<u64, Error> {
    if length > MAX_LOG_WRITE {
        return Err(Error::TooLong);
    }
    let mut buffer = [0; MAX_LOG_WRITE as usize];
    let text = &mut buffer[..length as usize];
    UserRange::new(address, length)?.read(user_copy::uninitialised(text))?;
    // A line takes long on a slow port, so one call writes a few at most.
    let taken = log_text::first_lines(text, MAX_LOG_LINES);
    let mut shown = [0; 3 * MAX_LOG_WRITE as usize];
    let shown = log_text::printable(&text[..taken], &mut shown);
    log::write_program_line(process.name(), shown);
    Ok(taken as u64)
}

fn counter_bytes(process: Option<&Process>, thread: &Thread) -> [u8; COUNTER_COUNT * 8] {
    use core::sync::atomic::Ordering::Relaxed;
    let mut words = [0u64; COUNTER_COUNT];
    crate::sched::account_calls(arch::core(), thread);
    match process {
        Some(process) => {
            words
                .iter_mut()
                .zip(&process.counters)
                .for_each(|(w, c)| *w = c.load(Relaxed));
        }
        None => {
            for core in (0..MAX_CORES)
                .map(arch::of)
                .filter(|core| core.online.load(Relaxed))
            {
                words
                    .iter_mut()
                    .zip(&core.counters)
                    .for_each(|(w, c)| *w += c.load(Relaxed));
                words[Counter::SystemCalls as usize] += core.system_calls();
            }
        }
    }
    let mut bytes = [0; COUNTER_COUNT * 8];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

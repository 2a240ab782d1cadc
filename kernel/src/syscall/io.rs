//! `DoIo`: one operation on one object.

use alloc::sync::Arc;
use spillway_abi::{
    Error, Rights,
    call::Operation,
    counters::{COUNTER_COUNT, Counter},
    device::FunctionMeta,
    limits::{MAX_CORES, MAX_LOG_LINES, MAX_LOG_WRITE},
};
use spillway_kernel_core::log_text;

use super::{Arguments, Outcome, SystemCall, create, device, handle, meta};
use crate::{
    arch::{self, user_copy, user_copy::UserRange},
    kernel::{self, Guard},
    object::{Memory, Object, Process, Thread},
    platform::{log, power},
    sched::work::{self, Teardown, Work},
};

/// [`spillway_abi::Call::DoIo`].
pub struct DoIo;

/// Bytes that one `Read` or `Write` moves at most; the result says how many it moved.
const MAX_TRANSFER: u64 = 64 << 10;

impl SystemCall for DoIo {
    fn call(thread: &Arc<Thread>, [raw, operation, a, b, c, _]: Arguments) -> Outcome {
        let guard = kernel::lock();
        let found = handle(raw).and_then(|handle| {
            let (object, rights) = thread.process.state.get(&guard).handles.get(handle)?;
            Ok((object.clone(), rights))
        });
        let (object, rights) = match found {
            Ok(found) => found,
            Err(error) => return Outcome::Done(Err(error)),
        };
        match Operation::from_raw(operation) {
            Some(operation) => {
                let request = Request {
                    guard,
                    thread,
                    object,
                    rights,
                };
                request.perform(operation, [a, b, c])
            }
            None => Outcome::Done(Err(Error::BadOperation)),
        }
    }
}

/// An operation on an object that a handle led to.
struct Request<'a> {
    guard: Guard,
    thread: &'a Arc<Thread>,
    object: Object,
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

    fn perform(self, operation: Operation, [a, b, c]: [u64; 3]) -> Outcome {
        match operation {
            Operation::Create => match (&self.object, self.need(Rights::MANAGE)) {
                (Object::Process(process), Ok(())) => {
                    let process = process.clone();
                    create::create(self.guard, self.thread, process, a, b, c)
                }
                (Object::PciFunction(grant), Ok(())) => {
                    let grant = grant.clone();
                    let Self {
                        mut guard, thread, ..
                    } = self;
                    device::create(&mut guard, thread, &grant, [a, b, c]).into()
                }
                (Object::DmaSpace(space), Ok(())) => {
                    let space = space.clone();
                    device::pin(self.guard, self.thread, &space, a)
                }
                (Object::Process(_) | Object::PciFunction(_) | Object::DmaSpace(_), Err(error)) => {
                    Outcome::Done(Err(error))
                }
                _ => Outcome::Done(Err(Error::BadOperation)),
            },
            Operation::Open => match (&self.object, self.need(Rights::MANAGE)) {
                (Object::Devices, Ok(())) => {
                    let Self {
                        mut guard, thread, ..
                    } = self;
                    device::open(&mut guard, thread, [a, b, c]).into()
                }
                (Object::Devices, Err(error)) => Outcome::Done(Err(error)),
                _ => Outcome::Done(Err(Error::BadOperation)),
            },
            Operation::Destroy => self.destroy(a),
            Operation::Read => self.read(a, b, c).into(),
            Operation::Write => self.write(a, b, c).into(),
            Operation::GetMeta => meta::get(&self.guard, &self.object, self.rights, a).into(),
            Operation::SetMeta => self.set_meta(a, b),
            Operation::Share => Outcome::Done(Err(Error::BadOperation)),
        }
    }

    /// A reset takes long; whatever else can be set is set at once.
    fn set_meta(mut self, key: u64, value: u64) -> Outcome {
        match (&self.object, self.need(Rights::MANAGE)) {
            (Object::PciFunction(grant), Ok(())) if key == FunctionMeta::Reset as u64 => {
                let grant = grant.clone();
                device::reset(self.guard, self.thread, grant)
            }
            (object, _) => meta::set(&mut self.guard, object, self.rights, key, value).into(),
        }
    }

    fn destroy(mut self, code: u64) -> Outcome {
        let status = match super::exit::exit_code(code) {
            Ok(spillway_abi::ExitStatus::Exited(code)) => code,
            _ => return Outcome::Done(Err(Error::BadArgument)),
        };
        match (&self.object, self.need(Rights::MANAGE)) {
            (Object::Process(_) | Object::Power | Object::PciFunction(_), Err(error)) => {
                Outcome::Done(Err(error))
            }
            (Object::PciFunction(grant), Ok(())) => {
                let grant = grant.clone();
                device::revoke(self.guard, self.thread, grant)
            }
            (Object::Power, Ok(())) => {
                drop(self.guard);
                power::exit(if status == 0 {
                    power::Outcome::Success
                } else {
                    power::Outcome::Failure
                })
            }
            (Object::Process(process), Ok(())) => {
                let process = process.clone();
                let killed = spillway_abi::ExitStatus::Killed(status);
                let begun = process.begin_end(&mut self.guard, killed);
                if begun && process.state.get(&self.guard).thread_count == 0 {
                    let work = Work::Teardown(Teardown::of_another(process));
                    return work::begin(self.guard, self.thread, work);
                }
                Outcome::Done(Ok(0))
            }
            _ => Outcome::Done(Err(Error::BadOperation)),
        }
    }

    fn read(self, offset: u64, address: u64, length: u64) -> Result<u64, Error> {
        match &self.object {
            Object::Devices => {
                self.need(Rights::READ)?;
                device::list(&self.guard, offset, address, length)
            }
            Object::PciFunction(grant) => {
                self.need(Rights::READ)?;
                device::read_config(&self.guard, grant, offset, address, length)
            }
            Object::Memory(memory) if !memory.is_registers() => {
                self.need(Rights::READ)?;
                let memory = memory.clone();
                drop(self.guard);
                let length = length.min(MAX_TRANSFER);
                memory_copy(&memory, offset, address, length, |range, stretch| {
                    range.write_from(stretch)
                })
            }
            Object::Counters(process) => {
                self.need(Rights::READ)?;
                let bytes = counter_bytes(process.as_deref(), self.thread);
                drop(self.guard);
                let start = usize::try_from(offset).map_err(|_| Error::OutOfRange)?;
                let rest = bytes.get(start..).ok_or(Error::OutOfRange)?;
                let part = &rest[..rest.len().min(length as usize)];
                UserRange::new(address, part.len() as u64)?.write(part)?;
                Ok(part.len() as u64)
            }
            _ => Err(Error::BadOperation),
        }
    }

    fn write(self, offset: u64, address: u64, length: u64) -> Result<u64, Error> {
        match &self.object {
            Object::PciFunction(grant) => {
                self.need(Rights::WRITE)?;
                device::write_config(&self.guard, grant, offset, address, length)
            }
            Object::Memory(memory) if !memory.is_registers() => {
                self.need(Rights::WRITE)?;
                let memory = memory.clone();
                drop(self.guard);
                let length = length.min(MAX_TRANSFER);
                memory_copy(&memory, offset, address, length, |range, stretch| {
                    range.read_into(stretch)
                })
            }
            Object::Log => {
                self.need(Rights::WRITE)?;
                drop(self.guard);
                write_log(&self.thread.process, address, length)
            }
            _ => Err(Error::BadOperation),
        }
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
    crate::sched::account_calls(thread);
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

//! Making pages of a Memory visible in an address space, and taking them away.

use alloc::sync::Arc;
use spillway_abi::{Error, PAGE_SIZE, Rights};

use super::{Arguments, Outcome, SystemCall, handle};
use crate::{
    kernel::{self, Guard, Kernel},
    memory::frames,
    object::{Object, Process, Thread},
    sched::work::{self, MapPages, UnmapPages, Work},
};

/// [`spillway_abi::Call::Map`].
pub struct Map;
/// [`spillway_abi::Call::Unmap`].
pub struct Unmap;

impl SystemCall for Map {
    fn call(thread: &Arc<Thread>, arguments: Arguments) -> Outcome {
        let mut guard = kernel::lock();
        match prepare_map(&mut guard, &thread.process, arguments) {
            Ok(work) => work::begin(guard, thread, work),
            Err(error) => Outcome::Done(Err(error)),
        }
    }
}

impl SystemCall for Unmap {
    fn call(thread: &Arc<Thread>, [process, start, length, ..]: Arguments) -> Outcome {
        let mut guard = kernel::lock();
        let work = target(&guard, &thread.process, process)
            .and_then(|process| UnmapPages::begin(&mut guard, &process, start, length));
        match work {
            Ok(work) => work::begin(guard, thread, work),
            Err(error) => Outcome::Done(Err(error)),
        }
    }
}

/// The process whose address space is meant.
fn target(kernel: &Kernel, process: &Process, raw: u64) -> Result<Arc<Process>, Error> {
    process.typed(kernel, handle(raw)?, Rights::MANAGE, Object::process)
}

fn prepare_map(
    guard: &mut Guard,
    caller: &Process,
    [process, memory, address, offset, length, access]: Arguments,
) -> Result<Work, Error> {
    let process = target(guard, caller, process)?;
    let access = u32::try_from(access)
        .ok()
        .and_then(Rights::from_bits)
        .filter(|access| Rights::ACCESS.contains(*access) && access.contains(Rights::READ))
        .ok_or(Error::BadArgument)?;
    if access.contains(Rights::WRITE | Rights::EXECUTE) {
        return Err(Error::WriteAndExecute);
    }
    let memory = caller.typed(guard, handle(memory)?, access | Rights::MAP, Object::memory)?;
    if length == 0 || !(address | offset | length).is_multiple_of(PAGE_SIZE) {
        return Err(Error::BadArgument);
    }
    memory.check(offset, length)?;
    memory.check_live()?;
    // Registers are mapped by their owner only, so that a revocation finds all mappings.
    if memory.is_registers() && !core::ptr::eq(&*process, caller) {
        return Err(Error::Refused);
    }
    if !frames::has_reserve() {
        return Err(Error::OutOfMemory);
    }
    MapPages::begin(guard, &process, memory, offset, address, length, access)
}

//! The table of a process's descendants.

use alloc::sync::Arc;
use spillway_abi::{
    Error, Rights,
    object::{PROCESS_ENTRY_SIZE, PROCESS_NAME_LENGTH, ProcessEntry},
};

use super::handles::insert;
use crate::{
    arch::user_copy::{self, UserRange},
    kernel::Kernel,
    object::{OBJECT_RIGHTS, Object, Process, Thread},
};

/// Slots of threads that one `Read` looks at, and entries that it returns, at most.
const MOST: usize = 64;

/// Lists descendants that have a thread, from a place on. The offset is a place, not a number of
/// bytes: 0 at first, then [`ProcessEntry::next`] of the last entry. [`Error::BadArgument`] for
/// room for no entry.
pub fn list(
    kernel: &Kernel,
    root: &Arc<Process>,
    place: u64,
    address: u64,
    length: u64,
) -> Result<u64, Error> {
    let most = usize::try_from(length / PROCESS_ENTRY_SIZE as u64).unwrap_or(usize::MAX);
    if most == 0 {
        return Err(Error::BadArgument);
    }
    let place = u16::try_from(place).map_err(|_| Error::OutOfRange)?;
    let mut at = address;
    for (slot, process) in descendants(kernel, root, place).take(most.min(MOST)) {
        let entry = ProcessEntry {
            id: process.id,
            next: u64::from(slot) + 1,
            name: process.padded_name(),
        };
        UserRange::new(at, PROCESS_ENTRY_SIZE as u64)?.write(&entry.to_bytes())?;
        at += PROCESS_ENTRY_SIZE as u64;
    }
    Ok(at - address)
}

/// The descendants of a process that have a thread, each at the place of its first one.
fn descendants<'a>(
    kernel: &'a Kernel,
    root: &'a Arc<Process>,
    place: u16,
) -> impl Iterator<Item = (u16, &'a Arc<Process>)> {
    kernel
        .sched
        .threads_from(place)
        .filter_map(move |(slot, thread)| {
            let process = &thread.process;
            let is_first = process.state.get(kernel).threads.front() == Some(slot);
            (is_first && is_below(kernel, root, process)).then_some((slot, process))
        })
}

/// Whether a process is a descendant of another.
fn is_below(kernel: &Kernel, root: &Arc<Process>, process: &Arc<Process>) -> bool {
    let mut above = process.state.get(kernel).parent.as_ref();
    while let Some(process) = above {
        if Arc::ptr_eq(process, root) {
            return true;
        }
        above = process.state.get(kernel).parent.as_ref();
    }
    false
}

/// Opens the descendant of a name, the one that has been running longest if there are several. Who
/// cannot manage the table cannot manage what is in it.
pub fn open(
    kernel: &mut Kernel,
    caller: &Arc<Thread>,
    (root, have): (&Arc<Process>, Rights),
    address: u64,
    length: u64,
) -> Result<u64, Error> {
    if length > PROCESS_NAME_LENGTH as u64 {
        return Err(Error::TooLong);
    }
    let mut name = [0; PROCESS_NAME_LENGTH];
    let text = &mut name[..length as usize];
    UserRange::new(address, length)?.read(user_copy::uninitialised(text))?;
    let found = descendants(kernel, root, 0)
        .filter(|(_, process)| process.padded_name() == name)
        .min_by_key(|(_, process)| process.id)
        .map(|(_, process)| process.clone());
    let process = found.ok_or(Error::NotFound)?;
    let mut rights = OBJECT_RIGHTS;
    rights.set(Rights::MANAGE, have.contains(Rights::MANAGE));
    let handle = insert(kernel, &caller.process, Object::Process(process), rights)?;
    Ok(handle.raw().into())
}

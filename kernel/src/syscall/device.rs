//! The operations on devices and what belongs to them.

use alloc::sync::Arc;
use core::mem::MaybeUninit;

use lock_api::MutexGuard;
use spillway_abi::{
    Error, Handle, Rights,
    device::{Caching, DEVICE_ENTRY_SIZE, FunctionCreate, PinArguments},
};
use spillway_kernel_core::pci::{
    name::{MAX_NAME, Selector},
    policy,
};

use super::{Action, handle, handles::insert};
use crate::{
    arch::user_copy::{self, UserRange},
    kernel::{Guard, Kernel},
    memory::frames,
    object::{DmaSpace, Grant, Interrupt, Object, Thread},
    pci,
    sched::work::{PinPages, ResetFunction, Revoke, Work},
};

/// The rights of a function's owner. It can neither be duplicated nor passed.
const FUNCTION_RIGHTS: Rights = Rights::READ.union(Rights::WRITE).union(Rights::MANAGE);
/// The rights of the registers' owner.
const REGISTER_RIGHTS: Rights = Rights::READ.union(Rights::WRITE).union(Rights::MAP);

/// The table of functions, from a whole entry on. [`Error::BadArgument`] if the offset is not the
/// beginning of an entry.
pub fn list(kernel: &Kernel, offset: u64, address: u64, length: u64) -> Result<u64, Error> {
    let size = DEVICE_ENTRY_SIZE as u64;
    if !offset.is_multiple_of(size) {
        return Err(Error::BadArgument);
    }
    let first = usize::try_from(offset / size).map_err(|_| Error::OutOfRange)?;
    let most = usize::try_from(length / size).unwrap_or(usize::MAX);
    let rest = pci::functions().get(first..).ok_or(Error::OutOfRange)?;
    let mut at = address;
    for function in rest.iter().take(most) {
        UserRange::new(at, size)?.write(&function.entry(kernel).to_bytes())?;
        at += size;
    }
    Ok(at - address)
}

/// Opens a function by its name for a process.
pub fn open(
    guard: &mut Guard,
    caller: &Arc<Thread>,
    [name, length, owner]: [u64; 3],
) -> Result<u64, Error> {
    let kernel: &mut Kernel = guard;
    let owner = match handle(owner)? {
        Handle::NULL => caller.process.clone(),
        owner => caller
            .process
            .typed(kernel, owner, Rights::MANAGE, Object::process)?,
    };
    if length > MAX_NAME as u64 {
        return Err(Error::TooLong);
    }
    let mut buffer = [0; MAX_NAME];
    let text = &mut buffer[..length as usize];
    UserRange::new(name, length)?.read(user_copy::uninitialised(text))?;
    let selector = core::str::from_utf8(text).ok().and_then(Selector::parse);
    let function = pci::find(selector.ok_or(Error::BadArgument)?).ok_or(Error::NotFound)?;
    if !frames::has_reserve() {
        return Err(Error::OutOfMemory);
    }
    // A place for the handle first: a grant is not taken back at once.
    let place = insert(kernel, &owner, Object::Log, Rights::empty())?;
    let granted = Grant::new(kernel, function, &owner);
    let _ = owner.state.get_mut(kernel).handles.remove(place);
    let handle = insert(
        kernel,
        &owner,
        Object::PciFunction(granted?),
        FUNCTION_RIGHTS,
    )?;
    // A line takes long on a slow port.
    MutexGuard::unlocked(guard, || {
        log::info!("{} is granted to {}", function.id, owner.name());
    });
    Ok(handle.raw().into())
}

/// Makes what belongs to a function. Only its owner can: [`Error::Refused`].
pub fn create(
    kernel: &mut Kernel,
    caller: &Arc<Thread>,
    grant: &Arc<Grant>,
    [kind, b, c]: [u64; 3],
) -> Result<u64, Error> {
    if !frames::has_reserve() {
        return Err(Error::OutOfMemory);
    }
    let (object, rights) = match FunctionCreate::from_raw(kind).ok_or(Error::BadOperation)? {
        FunctionCreate::Bar => {
            let caching = Caching::from_raw(c).ok_or(Error::BadArgument)?;
            (
                Object::Memory(grant.bar(kernel, b, caching)?),
                REGISTER_RIGHTS,
            )
        }
        FunctionCreate::DmaSpace => {
            let space = DmaSpace::of(kernel, grant)?;
            (Object::DmaSpace(space), Rights::READ | Rights::MANAGE)
        }
        FunctionCreate::Interrupt => {
            let interrupt = Interrupt::new(kernel, grant, b, c)?;
            let object = Object::Interrupt(interrupt.clone());
            let handle = insert(kernel, &caller.process, object, Rights::WAIT)
                .inspect_err(|_| interrupt.kill(kernel))?;
            return Ok(handle.raw().into());
        }
    };
    insert(kernel, &caller.process, object, rights).map(|handle| handle.raw().into())
}

/// Pins memory for a function.
pub fn pin(guard: &mut Guard, caller: &Arc<Thread>, space: &Arc<DmaSpace>, address: u64) -> Action {
    match prepare_pin(guard, caller, space, address) {
        Ok(work) => Action::Work(work),
        Err(error) => Action::Done(Err(error)),
    }
}

fn prepare_pin(
    guard: &mut Guard,
    caller: &Arc<Thread>,
    space: &Arc<DmaSpace>,
    address: u64,
) -> Result<Work, Error> {
    use spillway_abi::device::{PIN_FROM_DEVICE, PIN_TO_DEVICE};
    let arguments: PinArguments = user_copy::read_value(address)?;
    let mut needed = Rights::DMA;
    needed.set(Rights::READ, arguments.direction & PIN_TO_DEVICE != 0);
    needed.set(Rights::WRITE, arguments.direction & PIN_FROM_DEVICE != 0);
    let handle = Handle::from_raw(arguments.memory);
    let memory = caller
        .process
        .typed(guard, handle, needed, Object::memory)?;
    if !frames::has_reserve() {
        return Err(Error::OutOfMemory);
    }
    PinPages::begin(guard, space, memory, arguments)
}

/// Takes a function back, by its owner's wish. When this is done, so is the revocation, whoever
/// began it.
pub fn revoke(guard: &mut Guard, grant: Arc<Grant>) -> Action {
    let work = if grant.state.get(guard).revoked {
        Revoke::follow(grant)
    } else {
        Revoke::begin(guard, grant)
    };
    Action::Work(Work::Revoke(work))
}

/// Resets a function, by its owner's wish.
pub fn reset(grant: Arc<Grant>) -> Action {
    Action::Work(ResetFunction::of(grant))
}

/// A register of configuration space: 1, 2 or 4 aligned bytes. [`Error::BadArgument`] otherwise.
fn check_register(offset: u64, length: u64) -> Result<u16, Error> {
    let right = matches!(length, 1 | 2 | 4)
        && offset.is_multiple_of(length)
        && offset < policy::CONFIG_SPACE.into();
    if right {
        Ok(offset as u16)
    } else {
        Err(Error::BadArgument)
    }
}

/// Reads a register of configuration space.
pub fn read_config(
    kernel: &Kernel,
    grant: &Grant,
    offset: u64,
    address: u64,
    length: u64,
) -> Result<u64, Error> {
    grant.check(kernel)?;
    let offset = check_register(offset, length)?;
    let config = grant.function.config;
    let value: u32 = match length {
        1 => config.read::<u8>(offset).into(),
        2 => config.read::<u16>(offset).into(),
        _ => config.read(offset),
    };
    UserRange::new(address, length)?.write(&value.to_le_bytes()[..length as usize])?;
    Ok(length)
}

/// Writes a register of configuration space, if the owner may. [`Error::Refused`].
pub fn write_config(
    kernel: &Kernel,
    grant: &Grant,
    offset: u64,
    address: u64,
    length: u64,
) -> Result<u64, Error> {
    grant.check(kernel)?;
    let offset = check_register(offset, length)?;
    let mut bytes = [MaybeUninit::new(0); 4];
    UserRange::new(address, length)?.read(&mut bytes[..length as usize])?;
    // SAFETY: all four were initialised above, and the read writes initialised bytes only.
    let value = u32::from_le_bytes(bytes.map(|byte| unsafe { byte.assume_init() }));
    let config = grant.function.config;
    if !policy::may_write(offset, length as u8, value, config.read(policy::COMMAND)) {
        return Err(Error::Refused);
    }
    match length {
        1 => config.write(offset, value as u8),
        2 => config.write(offset, value as u16),
        _ => config.write(offset, value),
    }
    Ok(length)
}

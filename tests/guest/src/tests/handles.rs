//! Handles that name nothing, and how handles come and go.

use driver_sdk::{
    abi::{
        Call, Handle,
        call::{NO_DEADLINE, Operation},
        object::ProcessMeta,
    },
    prelude::*,
    rt::syscall,
};

use crate::{
    child::{PATIENCE, Victim},
    harness::{Outcome, check, equal, tests},
    raw,
};

tests![
    every_call_refuses_handles_that_name_nothing,
    a_closed_handle_stays_invalid_when_its_slot_is_used_again,
    a_handle_of_another_process_names_nothing_here,
    a_duplicate_outlives_its_original,
    closing_twice_is_told,
    handles_are_counted,
];

/// Every call that takes a handle, with this one in each place for a handle.
fn refused_everywhere(handle: Handle, what: &str) -> Outcome {
    let memory = Memory::new(4096)?;
    let (bad, good) = (u64::from(handle.raw()), u64::from(memory.handle().raw()));
    let own = own_process().handle().raw().into();
    let read = Rights::READ.bits().into();
    let calls = [
        (Call::DoIo, [bad, Operation::GetMeta as u64, 1, 0, 0, 0]),
        (Call::DoIo, [bad, Operation::Read as u64, 0, 0, 0, 0]),
        (Call::DoIo, [bad, Operation::Create as u64, 1, 4096, 0, 0]),
        (Call::DoIo, [bad, Operation::Destroy as u64, 0, 0, 0, 0]),
        (Call::Close, [bad, 0, 0, 0, 0, 0]),
        (Call::Duplicate, [bad, read, 0, 0, 0, 0]),
        (Call::Map, [bad, good, 0, 0, 4096, read]),
        (Call::Map, [own, bad, 0, 0, 4096, read]),
        (Call::Unmap, [bad, 0x1000_0000, 4096, 0, 0, 0]),
        (Call::Wait, [bad, NO_DEADLINE, 0, 0, 0, 0]),
    ];
    for (call, arguments) in calls {
        equal!(
            raw::call(call, arguments),
            Err(Error::BadHandle),
            "{call:?} with {what}"
        );
    }
    if handle != Handle::NULL {
        let into = raw::call(Call::Duplicate, [good, read, bad, 0, 0, 0]);
        equal!(into, Err(Error::BadHandle), "Duplicate into {what}");
    }
    Ok(())
}

fn every_call_refuses_handles_that_name_nothing() -> Outcome {
    refused_everywhere(Handle::NULL, "the null handle")?;
    let memory = Memory::new(4096)?;
    let alive = memory.handle();
    drop(memory);
    refused_everywhere(alive, "a closed handle")?;
    let index = own_process().handle().index();
    let generation = own_process().handle().generation();
    refused_everywhere(
        Handle::new(index, generation.wrapping_add(1)),
        "the next generation",
    )?;
    refused_everywhere(Handle::new(index, 0), "generation 0")?;
    for index in [4095, 4096, u16::MAX] {
        refused_everywhere(Handle::new(index, 1), "a slot that was never used")?;
    }
    refused_everywhere(Handle::from_raw(u32::MAX), "all ones")
}

fn a_closed_handle_stays_invalid_when_its_slot_is_used_again() -> Outcome {
    let first = Memory::new(4096)?;
    let stale = first.handle();
    drop(first);
    // As many as it takes to come by the same slot again.
    let mut reused = false;
    for _ in 0..10_000 {
        let memory = Memory::new(4096)?;
        check!(
            memory.handle() != stale,
            "a handle came back with the same generation"
        );
        reused |= memory.handle().index() == stale.index();
        equal!(syscall::close(stale), Err(Error::BadHandle));
    }
    check!(reused, "the slot was never used again");
    Ok(())
}

fn a_handle_of_another_process_names_nothing_here() -> Outcome {
    let memory = Memory::new(4096)?;
    let victim = Victim::new("sleep");
    let child = victim.spawn()?;
    // A table with more handles than this process has given out: the first free index there is
    // found by duplicating into it.
    let mut theirs = Handle::NULL;
    for _ in 0..40 {
        theirs = memory.as_ref().duplicate_into(Rights::READ, &child)?;
    }
    let here = raw::do_io(theirs, Operation::GetMeta, [1, 0, 0, 0]);
    // The same number may by chance name something of this process; then it is not theirs.
    if here.is_ok() {
        check!(startup().handles().any(|(_, own)| own == theirs) || theirs == memory.handle());
    } else {
        equal!(here, Err(Error::BadHandle));
    }
    child.kill(0)?;
    equal!(
        child.wait(Deadline::after(PATIENCE)),
        Ok(ExitStatus::Killed(0))
    );
    // And a handle into a process that has ended cannot be made.
    let gone = memory.as_ref().duplicate_into(Rights::READ, &child);
    equal!(gone, Err(Error::Gone));
    Ok(())
}

fn a_duplicate_outlives_its_original() -> Outcome {
    let memory = Memory::new(4096)?;
    memory.write(100, b"still here")?;
    let second = memory.duplicate(Rights::READ)?;
    drop(memory);
    let mut text = [0; 10];
    equal!(second.read(100, &mut text), Ok(10));
    equal!(&text, b"still here");
    // A mapping outlives all handles.
    let memory = Memory::new(4096)?;
    memory.write(0, &[42])?;
    let mapping = memory.map(Rights::READ)?;
    drop(memory);
    // SAFETY: nobody can write to it any more.
    equal!(unsafe { mapping.as_slice() }[0], 42);
    Ok(())
}

fn closing_twice_is_told() -> Outcome {
    let handle = Memory::new(4096)?.duplicate(Rights::READ)?;
    let raw = handle.handle();
    equal!(syscall::close(raw), Ok(()));
    equal!(syscall::close(raw), Err(Error::BadHandle));
    core::mem::forget(handle);
    Ok(())
}

fn handles_are_counted() -> Outcome {
    let used = || own_process().meta(ProcessMeta::HandlesUsed);
    let before = used()?;
    let memory = Memory::new(4096)?;
    equal!(used(), Ok(before + 1));
    let copies: [_; 5] = core::array::from_fn(|_| memory.duplicate(Rights::READ));
    check!(copies.iter().all(Result::is_ok));
    equal!(used(), Ok(before + 6));
    drop(copies);
    drop(memory);
    equal!(used(), Ok(before));
    Ok(())
}

//! Each right is needed for what it stands for, and rights only shrink.

use driver_sdk::{
    abi::{
        Call,
        call::Operation,
        object::{ClockMeta, CreateKind, ProcessMeta, ThreadMeta, ThreadPhase},
        startup as names,
    },
    prelude::*,
};

use crate::{
    child::{Victim, end_of},
    harness::{Outcome, check, equal, tests},
    raw,
    serving::until_it_waits,
};

tests![
    memory_rights_are_needed,
    process_rights_are_needed,
    thread_rights_are_needed,
    small_objects_rights_are_needed,
    rights_only_shrink,
    rights_that_do_not_exist_are_refused,
    passing_on_needs_its_rights,
];

const MISSING: Result<u64, Error> = Err(Error::MissingRight);
const MEMORY: Rights = Rights::ACCESS.union(Rights::MAP);

fn memory_rights_are_needed() -> Outcome {
    let memory = Memory::new(4096)?;
    let mut byte = [0u8; 1];
    let without = |right: Rights| memory.duplicate((MEMORY | Rights::PASS) - right);
    equal!(
        without(Rights::READ)?.read(0, &mut byte),
        Err(Error::MissingRight)
    );
    equal!(
        without(Rights::WRITE)?.write(0, &byte),
        Err(Error::MissingRight)
    );
    // Nothing but the one right is enough.
    equal!(memory.duplicate(Rights::READ)?.read(0, &mut byte), Ok(1));
    equal!(memory.duplicate(Rights::WRITE)?.write(0, &byte), Ok(1));
    let access = |right| match right {
        Rights::EXECUTE => Rights::READ | Rights::EXECUTE,
        Rights::WRITE => Rights::READ | Rights::WRITE,
        _ => Rights::READ,
    };
    for right in [Rights::READ, Rights::WRITE, Rights::EXECUTE, Rights::MAP] {
        let mapping = without(right)?.map(access(right));
        equal!(
            mapping.map(drop),
            Err(Error::MissingRight),
            "map without {right:?}"
        );
        let enough = memory.duplicate(access(right) | Rights::MAP)?;
        check!(
            enough.map(access(right)).is_ok(),
            "no map with {:?}",
            access(right)
        );
    }
    // The size is no secret.
    equal!(memory.duplicate(Rights::empty())?.size(), Ok(4096));
    Ok(())
}

fn process_rights_are_needed() -> Outcome {
    let child = Victim::new("sleep").spawn()?;
    let all = Rights::READ | Rights::MANAGE | Rights::WAIT;
    let without = |right: Rights| child.duplicate(all - right);
    let memory = Memory::new(4096)?;
    let memory_handle = memory.handle();
    equal!(
        without(Rights::READ)?.meta(ProcessMeta::MemoryUsed),
        MISSING
    );
    equal!(
        without(Rights::WAIT)?.wait(Deadline::NOW),
        Err(Error::MissingRight)
    );
    let plain = without(Rights::MANAGE)?;
    let raw = u64::from(plain.handle().raw());
    equal!(plain.kill(1), Err(Error::MissingRight));
    equal!(plain.counters().map(drop), Err(Error::MissingRight));
    equal!(
        Memory::charged_to(&plain, 4096).map(drop),
        Err(Error::MissingRight)
    );
    let read = Rights::READ.bits().into();
    let map = raw::call(
        Call::Map,
        [raw, memory_handle.raw().into(), 0, 0, 4096, read],
    );
    equal!(map, MISSING);
    equal!(
        raw::call(Call::Unmap, [raw, 0x1000_0000, 4096, 0, 0, 0]),
        MISSING
    );
    equal!(
        memory
            .as_ref()
            .duplicate_into(Rights::READ, &plain)
            .map(drop),
        Err(Error::MissingRight)
    );
    for kind in [CreateKind::Thread, CreateKind::Process] {
        equal!(
            raw::do_io(plain.handle(), Operation::Create, [kind as u64, 0, 0, 0]),
            MISSING
        );
    }
    // Each right alone is enough.
    equal!(
        child.duplicate(Rights::WAIT)?.wait(Deadline::NOW),
        Err(Error::TimedOut)
    );
    check!(
        child
            .duplicate(Rights::READ)?
            .meta(ProcessMeta::MemoryUsed)
            .is_ok()
    );
    equal!(child.duplicate(Rights::MANAGE)?.kill(4), Ok(()));
    equal!(end_of(&child)?.status, ExitStatus::Killed(4));
    Ok(())
}

fn thread_rights_are_needed() -> Outcome {
    static GATE: Semaphore = Semaphore::new(0);
    let sleeper = thread::spawn(|| GATE.acquire());
    let thread = sleeper.thread();
    let all = Rights::READ | Rights::MANAGE | Rights::WAIT;
    let without = |right: Rights| thread.duplicate(all - right);
    equal!(without(Rights::READ)?.meta(ThreadMeta::Id), MISSING);
    equal!(
        without(Rights::MANAGE)?.set_meta(ThreadMeta::Priority, 3),
        Err(Error::MissingRight)
    );
    equal!(
        without(Rights::WAIT)?.wait(Deadline::NOW),
        Err(Error::MissingRight)
    );
    equal!(
        thread
            .duplicate(Rights::MANAGE)?
            .set_meta(ThreadMeta::Priority, 3),
        Ok(())
    );
    equal!(
        thread.duplicate(Rights::READ)?.meta(ThreadMeta::Priority),
        Ok(3)
    );
    equal!(
        thread.duplicate(Rights::WAIT)?.wait(Deadline::NOW),
        Err(Error::TimedOut)
    );
    for key in [ThreadMeta::Id, ThreadMeta::Phase] {
        equal!(thread.set_meta(key, 1), Err(Error::BadOperation));
    }
    until_it_waits(&sleeper)?;
    equal!(thread.phase(), Ok(ThreadPhase::Waiting));
    GATE.release(1);
    sleeper.join();
    Ok(())
}

fn small_objects_rights_are_needed() -> Outcome {
    let none = Rights::empty();
    let log = object::<Log>(names::LOG).ok_or("the manifest grants `log`")?;
    equal!(log.duplicate(none)?.write(b"no"), Err(Error::MissingRight));
    equal!(
        log.duplicate(Rights::WRITE)?
            .write(b"a log handle with only the right to write"),
        Ok(())
    );
    let clock = object::<Clock>(names::CLOCK).ok_or("the manifest grants `clock`")?;
    equal!(clock.duplicate(none)?.meta(ClockMeta::Now), MISSING);
    let counters = own_process().counters()?;
    equal!(
        counters.duplicate(none)?.snapshot().map(drop),
        Err(Error::MissingRight)
    );
    Ok(())
}

fn rights_only_shrink() -> Outcome {
    let memory = Memory::new(4096)?;
    let small = memory.duplicate(Rights::READ | Rights::DUPLICATE)?;
    for right in Rights::all().iter() {
        let more = small.duplicate(Rights::READ | right).map(drop);
        let expected = match right {
            Rights::READ | Rights::DUPLICATE => Ok(()),
            _ => Err(Error::MissingRight),
        };
        equal!(
            more,
            expected,
            "a duplicate with {right:?} from a handle with READ and DUPLICATE"
        );
    }
    let smaller = small.duplicate(Rights::DUPLICATE)?;
    equal!(
        smaller.duplicate(Rights::READ).map(drop),
        Err(Error::MissingRight)
    );
    Ok(())
}

fn rights_that_do_not_exist_are_refused() -> Outcome {
    let memory = Memory::new(4096)?;
    let duplicate = |rights: u64| {
        raw::call(
            Call::Duplicate,
            [memory.handle().raw().into(), rights, 0, 0, 0, 0],
        )
    };
    for rights in [1 << 9, 1 << 31, 1 << 32, u64::MAX] {
        check!(
            matches!(
                duplicate(rights),
                Err(Error::BadArgument | Error::MissingRight)
            ),
            "rights {rights:#x}: {:?}",
            duplicate(rights)
        );
    }
    Ok(())
}

fn passing_on_needs_its_rights() -> Outcome {
    let child = Victim::new("sleep").spawn()?;
    let memory = Memory::new(4096)?;
    let there = memory.duplicate(Rights::READ | Rights::TRANSFER)?;
    let here = memory.duplicate(Rights::READ | Rights::DUPLICATE)?;
    equal!(
        there.duplicate(Rights::READ).map(drop),
        Err(Error::MissingRight)
    );
    check!(there.as_ref().duplicate_into(Rights::READ, &child).is_ok());
    equal!(
        here.as_ref().duplicate_into(Rights::READ, &child),
        Err(Error::MissingRight)
    );
    check!(here.duplicate(Rights::READ).is_ok());
    child.kill(0)?;
    end_of(&child)?;
    Ok(())
}

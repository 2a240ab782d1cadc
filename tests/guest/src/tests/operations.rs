//! Each operation on each kind of object, as `docs/system-calls/do-io.md` lists them: by `do_io` and
//! by a queue, which must say the same.

use alloc::vec;

use driver_sdk::{
    abi::{
        Handle,
        call::Operation,
        object::{
            ClockMeta, CreateKind, MIN_TIMER_PERIOD, MemoryMeta, PROCESS_ENTRY_SIZE,
            PROCESS_NAME_LENGTH, ProcessMeta, ThreadMeta, TimerMeta,
        },
        service::{REPLY_HANDLE, REPLY_OBJECT, ServiceMeta},
    },
    prelude::*,
    rt::object::OwnedHandle,
};
use guest_harness::child::leaves_nothing;

use crate::{
    harness::{Outcome, equal, tests},
    raw,
    serving::by_queue,
    zoo::{ALL, Zoo, both},
};

tests![
    what_a_kind_does_not_know_is_told,
    each_operation_needs_its_right,
    a_closed_handle_is_good_for_nothing,
    good_calls_are_done,
    bad_calls_are_told_why,
    new_objects_come_and_go,
];

use Operation::{
    Cancel, Close, Create, Destroy, GetMeta, Nothing, Open, Read, Reply, SetMeta, Share, Wait,
    Write,
};

fn what_a_kind_does_not_know_is_told() -> Outcome {
    let zoo = Zoo::new()?;
    let mut queue = IoQueue::new(4, 4)?;
    for kind in &zoo.kinds {
        let object = kind.handle.get();
        for operation in ALL {
            if kind.known.iter().any(|(known, _)| *known == operation) {
                continue;
            }
            let what = kind.name;
            let alone = raw::do_io(object, operation, [0; 4]);
            equal!(alone, Err(Error::BadOperation), "{operation:?} of {what}");
            // These are a queue's own, and mean something there.
            if !matches!(operation, Close | Wait | Nothing) {
                let queued = by_queue(&mut queue, object, operation, [0; 4])?;
                equal!(queued, alone, "{operation:?} of {what} by a queue");
            }
        }
        if !matches!(kind.name, "Process" | "Thread" | "Event" | "Timer") {
            let waited = by_queue(&mut queue, object, Wait, [0; 4])?;
            equal!(waited, Err(Error::WrongObject), "a wait for {}", kind.name);
        }
    }
    Ok(())
}

fn each_operation_needs_its_right() -> Outcome {
    let zoo = Zoo::new()?;
    let mut queue = IoQueue::new(4, 4)?;
    for kind in &zoo.kinds {
        for &(operation, right) in kind.known {
            if right.is_empty() {
                continue;
            }
            let rest = kind.handle.duplicate(kind.rights.difference(right))?;
            // What is asked for is looked at first: a key that can be read, and one that can be set.
            let a = match operation {
                GetMeta => 2,
                SetMeta => 1,
                _ => 0,
            };
            let refused = both(&mut queue, rest.get(), operation, [a, 0, 0, 0])?;
            let what = kind.name;
            equal!(refused, Err(Error::MissingRight), "{operation:?} of {what}");
        }
    }
    Ok(())
}

fn a_closed_handle_is_good_for_nothing() -> Outcome {
    let mut queue = IoQueue::new(4, 4)?;
    let memory = Memory::new(4096)?;
    let stale = memory.handle();
    drop(memory);
    for handle in [stale, Handle::NULL] {
        for operation in ALL {
            let alone = raw::do_io(handle, operation, [0; 4]);
            equal!(alone, Err(Error::BadHandle), "{operation:?}");
            let queued = by_queue(&mut queue, handle, operation, [0; 4])?;
            let expected = match operation {
                Nothing => Ok(0),
                _ => Err(Error::BadHandle),
            };
            equal!(queued, expected, "{operation:?} by a queue");
        }
    }
    Ok(())
}

fn good_calls_are_done() -> Outcome {
    let zoo = Zoo::new()?;
    let mut queue = IoQueue::new(4, 4)?;
    let mut bytes = [0u8; 256];
    let buffer = bytes.as_mut_ptr() as u64;
    let name = b"guest-tests operation";
    let text = name.as_ptr() as u64;
    let meta = |key| [key, 0, 0, 0];
    let cases = [
        (
            "Process",
            GetMeta,
            meta(ProcessMeta::MachineCores as u64),
            time::core_count() as u64,
        ),
        ("Thread", GetMeta, meta(ThreadMeta::Stop as u64), 0),
        ("Thread", SetMeta, [ThreadMeta::Priority as u64, 3, 0, 0], 0),
        ("Thread", GetMeta, meta(ThreadMeta::Priority as u64), 3),
        (
            "Thread",
            SetMeta,
            [ThreadMeta::Affinity as u64, u64::MAX, 0, 0],
            0,
        ),
        ("Memory", Write, [4096 - 21, text, 21, 0], 21),
        ("Memory", Read, [0, buffer, 256, 0], 256),
        ("Memory", Read, [4096, buffer, 0, 0], 0),
        ("Memory", GetMeta, meta(MemoryMeta::Size as u64), 4096),
        ("Log", Write, [u64::MAX, text, 21, 0], 21),
        ("Log", Write, [0, text, 0, 0], 0),
        ("Counters", Read, [0, buffer, 256, 0], 96),
        ("Counters", Read, [96, buffer, 256, 0], 0),
        ("Counters", Read, [90, buffer, 256, 0], 6),
        ("Service", GetMeta, meta(ServiceMeta::Waiting as u64), 0),
        ("Service", GetMeta, meta(ServiceMeta::Taken as u64), 0),
        ("Event", Write, [1, 2, 3, 4], 0),
        (
            "Timer",
            SetMeta,
            [TimerMeta::Period as u64, MIN_TIMER_PERIOD, 0, 0],
            0,
        ),
        (
            "Timer",
            GetMeta,
            meta(TimerMeta::Period as u64),
            MIN_TIMER_PERIOD,
        ),
        (
            "Timer",
            SetMeta,
            [TimerMeta::Deadline as u64, u64::MAX, 0, 0],
            0,
        ),
        ("Timer", GetMeta, meta(TimerMeta::Deadline as u64), u64::MAX),
        ("Timer", SetMeta, [TimerMeta::Deadline as u64, 0, 0, 0], 0),
        (
            "Processes",
            Read,
            [0, buffer, PROCESS_ENTRY_SIZE as u64, 0],
            0,
        ),
    ];
    for (kind, operation, arguments, value) in cases {
        let done = both(&mut queue, zoo.handle(kind)?, operation, arguments)?;
        equal!(done, Ok(value), "{operation:?} {arguments:x?} of {kind}");
    }
    // What differs from one time to the next.
    let clock = zoo.handle("Clock")?;
    let now = meta(ClockMeta::Now as u64);
    let first = raw::do_io(clock, GetMeta, now)?;
    let second = by_queue(&mut queue, clock, GetMeta, now)??;
    equal!(first <= second, true, "the clock goes forward");
    Ok(())
}

fn bad_calls_are_told_why() -> Outcome {
    let zoo = Zoo::new()?;
    let mut queue = IoQueue::new(4, 4)?;
    let bytes = vec![b'a'; 2048];
    let text = bytes.as_ptr() as u64;
    let long = PROCESS_NAME_LENGTH as u64 + 1;
    let odd = 1 << 32;
    let memory: u64 = zoo.handle("Memory")?.raw().into();
    let create = |kind: CreateKind, b, c| [kind as u64, b, c, 0];
    use Error::{
        BadArgument, BadHandle, BadOperation, BadPointer, MissingRight, NotFound, OutOfRange,
        TooLong,
    };
    let cases = [
        ("Process", Create, [99, 0, 0, 0], BadOperation),
        (
            "Process",
            Create,
            create(CreateKind::Memory, 0, 0),
            BadArgument,
        ),
        (
            "Process",
            Create,
            create(CreateKind::Memory, u64::MAX, 0),
            BadArgument,
        ),
        (
            "Process",
            Create,
            create(CreateKind::Memory, 4096, 2),
            BadArgument,
        ),
        (
            "Process",
            Create,
            create(CreateKind::Thread, 4, 0),
            BadArgument,
        ),
        (
            "Process",
            Create,
            create(CreateKind::Thread, 8, 0),
            BadPointer,
        ),
        (
            "Process",
            Create,
            create(CreateKind::Process, 4, 0),
            BadArgument,
        ),
        (
            "Process",
            Create,
            create(CreateKind::Process, 8, 0),
            BadPointer,
        ),
        (
            "Process",
            Create,
            create(CreateKind::IoQueue, 3, 0),
            BadArgument,
        ),
        (
            "Process",
            Create,
            create(CreateKind::IoQueue, 4, 2),
            BadArgument,
        ),
        (
            "Process",
            Create,
            create(CreateKind::IoQueue, 2048, 0),
            BadArgument,
        ),
        ("Process", Destroy, [odd, 0, 0, 0], BadArgument),
        ("Process", GetMeta, [99, 0, 0, 0], BadOperation),
        ("Thread", GetMeta, [99, 0, 0, 0], BadOperation),
        (
            "Thread",
            SetMeta,
            [ThreadMeta::Id as u64, 1, 0, 0],
            BadOperation,
        ),
        (
            "Thread",
            SetMeta,
            [ThreadMeta::Priority as u64, 32, 0, 0],
            BadArgument,
        ),
        (
            "Thread",
            SetMeta,
            [ThreadMeta::Affinity as u64, 0, 0, 0],
            BadArgument,
        ),
        (
            "Thread",
            SetMeta,
            [ThreadMeta::Stop as u64, 2, 0, 0],
            BadArgument,
        ),
        ("Memory", Read, [4096, text, 1, 0], OutOfRange),
        ("Memory", Read, [u64::MAX, text, 1, 0], OutOfRange),
        ("Memory", Read, [0, 8, 1, 0], BadPointer),
        ("Memory", Write, [4090, text, 7, 0], OutOfRange),
        ("Memory", Write, [0, u64::MAX, 7, 0], BadPointer),
        ("Memory", GetMeta, [99, 0, 0, 0], BadOperation),
        ("Memory", Share, [0, odd, 0, 0], BadArgument),
        (
            "Memory",
            Share,
            [0, Rights::WAIT.bits().into(), 0, 0],
            MissingRight,
        ),
        ("Log", Write, [0, text, 1025, 0], TooLong),
        ("Log", Write, [0, 8, 10, 0], BadPointer),
        ("Clock", GetMeta, [99, 0, 0, 0], BadOperation),
        ("Counters", Read, [97, text, 8, 0], OutOfRange),
        ("Counters", Read, [0, 8, 8, 0], BadPointer),
        ("Power", Destroy, [odd, 0, 0, 0], BadArgument),
        ("Service", GetMeta, [99, 0, 0, 0], BadOperation),
        (
            "Service",
            SetMeta,
            [ServiceMeta::Taken as u64, 0, 0, 0],
            BadOperation,
        ),
        (
            "Service",
            SetMeta,
            [ServiceMeta::Queue as u64, 0, 0, 0],
            BadHandle,
        ),
        ("Service", Open, [1, odd, 0, 0], BadArgument),
        ("Service", Share, [memory, 3, 0, 0], BadArgument),
        ("Service", Share, [memory, 3, 63, 0], BadArgument),
        ("Service", Share, [memory, 3, 8192, 0], BadArgument),
        ("Service", Reply, [0; 4], NotFound),
        ("Service", Reply, [1 << 40, 0, 0, 0], NotFound),
        ("Service", Reply, [1 << 40, 99, 0, 0], BadArgument),
        (
            "Service",
            Reply,
            [1 << 40, REPLY_HANDLE, 0, odd],
            BadArgument,
        ),
        (
            "Service",
            Reply,
            [1 << 40, REPLY_OBJECT, 0, 1 << 31],
            BadArgument,
        ),
        ("IoQueue", Cancel, [5, 0, 0, 0], NotFound),
        ("IoQueue", Share, [0, odd, 0, 0], BadArgument),
        ("Event", Share, [0, odd, 0, 0], BadArgument),
        ("Timer", GetMeta, [99, 0, 0, 0], BadOperation),
        ("Timer", SetMeta, [99, 0, 0, 0], BadOperation),
        (
            "Timer",
            SetMeta,
            [TimerMeta::Period as u64, MIN_TIMER_PERIOD - 1, 0, 0],
            BadArgument,
        ),
        (
            "Processes",
            Read,
            [0, text, PROCESS_ENTRY_SIZE as u64 - 1, 0],
            BadArgument,
        ),
        ("Processes", Read, [1 << 16, text, 512, 0], OutOfRange),
        ("Processes", Open, [text, long, 0, 0], TooLong),
        ("Processes", Open, [text, long - 1, 0, 0], NotFound),
        ("Processes", Open, [8, 4, 0, 0], BadPointer),
        (
            "Processes",
            Create,
            create(CreateKind::Process, 4, 0),
            BadArgument,
        ),
        (
            "Processes",
            Create,
            create(CreateKind::Process, 8, 0),
            BadPointer,
        ),
        (
            "Processes",
            Create,
            create(CreateKind::Event, 0, 0),
            BadOperation,
        ),
    ];
    for (kind, operation, arguments, error) in cases {
        let refused = both(&mut queue, zoo.handle(kind)?, operation, arguments)?;
        equal!(
            refused,
            Err(error),
            "{operation:?} {arguments:x?} of {kind}"
        );
    }
    Ok(())
}

/// What makes a handle, both ways, and what ends things.
fn new_objects_come_and_go() -> Outcome {
    leaves_nothing(|| {
        let zoo = Zoo::new()?;
        let mut queue = IoQueue::new(4, 4)?;
        let rights = u64::from((Rights::READ | Rights::WRITE).bits());
        let makes = [
            ("Process", Create, [CreateKind::Memory as u64, 4096, 0, 0]),
            ("Process", Create, [CreateKind::Counters as u64, 0, 0, 0]),
            ("Process", Create, [CreateKind::IoQueue as u64, 4, 0, 0]),
            ("Process", Create, [CreateKind::Event as u64, 0, 0, 0]),
            ("Process", Create, [CreateKind::Timer as u64, 0, 0, 0]),
            ("Process", Create, [CreateKind::Service as u64, 0, 0, 0]),
            ("Process", Create, [CreateKind::Processes as u64, 0, 0, 0]),
            ("Memory", Share, [0, rights, 0, 0]),
            ("IoQueue", Share, [0, rights, 0, 0]),
            ("Event", Share, [0, rights, 0, 0]),
            ("Service", Open, [7, rights, 0, 0]),
        ];
        for (kind, operation, arguments) in makes {
            let object = zoo.handle(kind)?;
            let alone = raw::do_io(object, operation, arguments)?;
            let queued = by_queue(&mut queue, object, operation, arguments)??;
            equal!(alone == queued, false, "two handles of {kind}");
            let handles = [alone, queued].map(|raw| Handle::from_raw(raw as u32));
            equal!(by_queue(&mut queue, handles[0], Close, [0; 4])?, Ok(0));
            drop(OwnedHandle::new(handles[1]));
        }
        let service = zoo.handle("Service")?;
        equal!(both(&mut queue, service, Destroy, [0; 4])?, Ok(0));
        let minted = both(&mut queue, service, Open, [7, rights, 0, 0])?;
        equal!(minted, Err(Error::ServerGone));
        Ok(())
    })
}

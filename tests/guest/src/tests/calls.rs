//! Calls, operations, kinds and keys that do not exist.

use core::time::Duration;

use driver_sdk::{
    abi::{
        Call, Handle,
        call::{CALL_COUNT, OPERATION_COUNT, Operation},
        object::{CreateKind, LEAST_ADDRESS_BITS, MEMORY_CONTIGUOUS, memory_contiguous},
    },
    prelude::*,
};

use crate::{
    harness::{Outcome, equal, tests},
    raw,
};

tests![
    a_call_number_that_does_not_exist_is_told,
    an_operation_that_an_object_does_not_know_is_told,
    a_key_or_kind_that_does_not_exist_is_told,
    an_object_of_another_kind_is_told,
];

fn a_call_number_that_does_not_exist_is_told() -> Outcome {
    for number in [
        CALL_COUNT,
        CALL_COUNT + 1,
        255,
        1 << 31,
        1 << 32,
        1 << 63,
        u64::MAX,
    ] {
        let answer = raw::call_number(number, [u64::MAX; 6]);
        equal!(answer, Err(Error::UnknownCall), "call {number:#x}");
    }
    // The upper half of the register counts: this is not `Version`.
    equal!(
        raw::call_number(1 << 32 | Call::Version as u64, [0; 6]),
        Err(Error::UnknownCall)
    );
    Ok(())
}

fn an_operation_that_an_object_does_not_know_is_told() -> Outcome {
    let memory = Memory::new(4096)?;
    let counters = own_process().counters()?;
    let process = own_process().handle();
    let unknown = |object, operation| raw::do_io(object, operation, [0; 4]);
    use Operation::{
        Cancel, Close, Create, Destroy, GetMeta, Nothing, Open, Read, Reply, SetMeta, Share, Wait,
        Write,
    };
    for operation in [
        Open, Create, Destroy, SetMeta, Close, Cancel, Reply, Wait, Nothing,
    ] {
        let answer = unknown(memory.handle(), operation);
        equal!(
            answer,
            Err(Error::BadOperation),
            "{operation:?} of a Memory"
        );
    }
    for operation in [Open, Create, Destroy, Write, GetMeta, SetMeta, Share] {
        let answer = unknown(counters.handle(), operation);
        equal!(
            answer,
            Err(Error::BadOperation),
            "{operation:?} of Counters"
        );
    }
    for operation in [Open, Read, Write, SetMeta, Share] {
        let answer = unknown(process, operation);
        equal!(
            answer,
            Err(Error::BadOperation),
            "{operation:?} of a Process"
        );
    }
    for number in [OPERATION_COUNT, 31, 1 << 32, u64::MAX] {
        let answer = raw::call(
            Call::DoIo,
            [memory.handle().raw().into(), number, 0, 0, 0, 0],
        );
        equal!(answer, Err(Error::BadOperation), "operation {number:#x}");
    }
    Ok(())
}

fn a_key_or_kind_that_does_not_exist_is_told() -> Outcome {
    let process = own_process().handle();
    let memory = Memory::new(4096)?;
    for number in [0, 10, 99, 1 << 32 | CreateKind::Memory as u64, u64::MAX] {
        let answer = raw::do_io(process, Operation::Create, [number, 4096, 0, 0]);
        equal!(answer, Err(Error::BadOperation), "kind {number:#x}");
    }
    for number in [0, 99, 1 << 32 | 1, u64::MAX] {
        for object in [process, memory.handle()] {
            let answer = raw::do_io(object, Operation::GetMeta, [number, 0, 0, 0]);
            equal!(answer, Err(Error::BadOperation), "key {number:#x}");
        }
    }
    let wrong = [
        MEMORY_CONTIGUOUS | 2,
        memory_contiguous(64) & !MEMORY_CONTIGUOUS,
        memory_contiguous(LEAST_ADDRESS_BITS - 1),
        memory_contiguous(65),
        u64::MAX,
    ];
    for flags in wrong {
        let create = [CreateKind::Memory as u64, 4096, flags, 0];
        let answer = raw::do_io(process, Operation::Create, create);
        equal!(answer, Err(Error::BadArgument), "flags {flags:#x}");
    }
    Ok(())
}

/// A handle of a wrong kind mostly lacks the right, too, and then it was told either; the kind
/// comes first now, because rights mean something for a kind only.
fn an_object_of_another_kind_is_told() -> Outcome {
    let memory = Memory::new(4096)?;
    let counters = own_process().counters()?;
    let sleeper = thread::spawn(|| thread::sleep(Duration::from_millis(1)));
    let raw = |handle: Handle| u64::from(handle.raw());
    let thread = raw(sleeper.thread().handle());
    let process = raw(own_process().handle());
    let (memory, counters) = (raw(memory.handle()), raw(counters.handle()));
    let read = Rights::READ.bits().into();
    let wrong = [
        (Call::Map, [thread, memory, 0, 0, 4096, read]),
        (Call::Unmap, [thread, 0x1000_0000, 4096, 0, 0, 0]),
        (Call::Duplicate, [memory, read, thread, 0, 0, 0]),
    ];
    for (call, arguments) in wrong {
        let answer = raw::call(call, arguments);
        equal!(
            answer,
            Err(Error::WrongObject),
            "{call:?} with a Thread for a Process"
        );
    }
    let wrong = [
        (Call::Map, [process, counters, 0, 0, 4096, read]),
        (Call::Map, [process, process, 0, 0, 4096, read]),
        (Call::Map, [memory, memory, 0, 0, 4096, read]),
        (Call::Unmap, [memory, 0x1000_0000, 4096, 0, 0, 0]),
        (Call::Wait, [memory, 0, 0, 0, 0, 0]),
        (Call::Wait, [counters, 0, 0, 0, 0, 0]),
        (Call::Duplicate, [memory, read, counters, 0, 0, 0]),
    ];
    for (call, arguments) in wrong {
        equal!(
            raw::call(call, arguments),
            Err(Error::WrongObject),
            "{call:?} with an object of another kind"
        );
    }
    sleeper.join();
    Ok(())
}

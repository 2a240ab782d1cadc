//! Every pointer that a call takes, leading where it should not.

use driver_sdk::{
    abi::{
        Call,
        call::Operation,
        layout,
        object::{CreateKind, ProcessArguments, ThreadArguments},
        startup as names,
    },
    prelude::*,
};

use crate::{
    harness::{Outcome, check, equal, tests},
    raw,
};

tests![
    pointers_that_lead_nowhere_are_refused,
    a_buffer_may_not_reach_beyond_its_mapping,
    the_kernel_does_not_write_where_the_program_may_not,
    a_futex_needs_an_aligned_word_of_the_program,
    a_thread_begins_at_user_addresses,
];

/// Addresses that lead nowhere, whatever is there.
const NOWHERE: [u64; 12] = [
    0,
    8,
    layout::USER_START - 8,
    layout::MAP_END,
    layout::TIME_PAGE - 64,
    layout::TIME_PAGE + 8192,
    layout::USER_END - 8,
    layout::USER_END,
    0x8000_0000_0000,
    0xffff_8000_0000_0000,
    0xffff_ffff_8000_0000,
    u64::MAX - 7,
];

/// Every use of a pointer, at this address; the names say which refused wrongly.
fn refused_at(address: u64) -> Outcome {
    let memory = Memory::new(1 << 20)?;
    let log = object::<Log>(names::LOG).ok_or("the manifest grants `log`")?;
    let counters = own_process().counters()?;
    let own = own_process().handle();
    let bad = Err(Error::BadPointer);
    for length in [1, 64, 5000, 1 << 20] {
        let arguments = [0, address, length, 0];
        equal!(
            raw::do_io(memory.handle(), Operation::Read, arguments),
            bad,
            "{length} bytes of Memory to {address:#x}"
        );
        equal!(
            raw::do_io(memory.handle(), Operation::Write, arguments),
            bad,
            "{length} bytes of Memory from {address:#x}"
        );
    }
    equal!(
        raw::do_io(log.handle(), Operation::Write, [0, address, 10, 0]),
        bad,
        "a text at {address:#x}"
    );
    equal!(
        raw::do_io(counters.handle(), Operation::Read, [0, address, 8, 0]),
        bad,
        "counters to {address:#x}"
    );
    for kind in [CreateKind::Thread, CreateKind::Process] {
        let created = raw::do_io(own, Operation::Create, [kind as u64, address, 0, 0]);
        equal!(created, bad, "arguments of a {kind:?} at {address:#x}");
    }
    if address.is_multiple_of(4) {
        let wait = raw::call(Call::FutexWait, [address, 0, 0, 0, 0, 0]);
        equal!(wait, bad, "wait on a word at {address:#x}");
    }
    Ok(())
}

fn pointers_that_lead_nowhere_are_refused() -> Outcome {
    for address in NOWHERE {
        refused_at(address)?;
    }
    // Where something was a moment ago.
    let source = Memory::new(4096)?;
    let mapping = source.map(Rights::READ | Rights::WRITE)?;
    let gone = mapping.address();
    // The processor has come to know the page, by what the kernel does there.
    for operation in [Operation::Read, Operation::Write] {
        equal!(
            raw::do_io(source.handle(), operation, [0, gone, 64, 0]),
            Ok(64)
        );
    }
    drop(mapping);
    refused_at(gone)
}

fn a_buffer_may_not_reach_beyond_its_mapping() -> Outcome {
    let source = Memory::new(1 << 20)?;
    let mapping = Memory::new(2 * 4096)?.map(Rights::READ | Rights::WRITE)?;
    let end = mapping.address() + mapping.len() as u64;
    let read =
        |address, length| raw::do_io(source.handle(), Operation::Read, [0, address, length, 0]);
    equal!(read(end - 100, 100), Ok(100));
    equal!(read(end - 100, 101), Err(Error::BadPointer));
    equal!(read(end - 4096, 4097), Err(Error::BadPointer));
    equal!(read(end - 1, 1 << 20), Err(Error::BadPointer));
    equal!(read(mapping.address() - 1, 10), Err(Error::BadPointer));
    // Would wrap around the end of all addresses.
    equal!(read(end - 100, u64::MAX), Err(Error::BadPointer));
    let log = object::<Log>(names::LOG).ok_or("the manifest grants `log`")?;
    equal!(
        raw::do_io(log.handle(), Operation::Write, [0, end - 5, 6, 0]),
        Err(Error::BadPointer)
    );
    let own = own_process().handle();
    for (kind, size) in [
        (CreateKind::Thread, size_of::<ThreadArguments>()),
        (CreateKind::Process, size_of::<ProcessArguments>()),
    ] {
        let address = end - size as u64 + 8;
        let created = raw::do_io(own, Operation::Create, [kind as u64, address, 0, 0]);
        equal!(
            created,
            Err(Error::BadPointer),
            "{kind:?} arguments across the end"
        );
    }
    Ok(())
}

fn the_kernel_does_not_write_where_the_program_may_not() -> Outcome {
    let source = Memory::new(4096)?;
    let text = refused_at as *const () as u64;
    let constant = core::ptr::from_ref(&NOWHERE) as u64;
    let read_only = Memory::new(4096)?.map(Rights::READ)?;
    for address in [
        text,
        constant,
        layout::TIME_PAGE,
        layout::TIME_PAGE + 4096,
        read_only.address(),
    ] {
        let read = raw::do_io(source.handle(), Operation::Read, [0, address, 16, 0]);
        equal!(read, Err(Error::BadPointer), "a write to {address:#x}");
        // Reading from there is fine.
        let write = raw::do_io(source.handle(), Operation::Write, [0, address, 16, 0]);
        equal!(write, Ok(16), "a read from {address:#x}");
    }
    let version = source.read_all()?;
    check!(!version.is_empty());
    Ok(())
}

fn a_futex_needs_an_aligned_word_of_the_program() -> Outcome {
    let words = [0u32; 4];
    let address = words.as_ptr() as u64;
    for offset in 1..4 {
        let wait = raw::call(Call::FutexWait, [address + offset, 0, 0, 0, 0, 0]);
        equal!(wait, Err(Error::BadArgument));
        let wake = raw::call(Call::FutexWake, [address + offset, 1, 0, 0, 0, 0]);
        equal!(wake, Err(Error::BadArgument));
    }
    // Waking needs no memory there, only an address: nobody can sleep elsewhere.
    for address in NOWHERE.iter().filter(|address| address.is_multiple_of(4)) {
        let wake = raw::call(Call::FutexWake, [*address, 1, 0, 0, 0, 0]);
        check!(
            matches!(wake, Ok(0) | Err(Error::BadPointer)),
            "wake at {address:#x}: {wake:?}"
        );
    }
    // The word may be read-only; the upper half of the expected value is not looked at.
    let constant: &'static [u32; 2] = &[7, 8];
    let wait = |expected: u64| {
        raw::call(
            Call::FutexWait,
            [constant.as_ptr() as u64, expected, 0, 0, 0, 0],
        )
    };
    equal!(wait(7), Err(Error::TimedOut));
    equal!(wait(8), Err(Error::Changed));
    Ok(())
}

fn a_thread_begins_at_user_addresses() -> Outcome {
    let fine = ThreadArguments {
        entry: layout::IMAGE_START,
        stack: layout::IMAGE_START,
        arguments: [0; 2],
        fs_base: 0,
        priority: 0,
        reserved: 0,
        affinity: 0,
    };
    let refused = |change: fn(&mut ThreadArguments)| {
        let mut arguments = fine;
        change(&mut arguments);
        // SAFETY: the kernel must refuse these, so nothing starts.
        unsafe { own_process().create_thread(&arguments) }.map(drop)
    };
    // Going there would fault in the kernel, on the way out.
    let wrong = [
        (
            refused(|a| a.entry = 0x8000_0000_0000),
            "an entry that is not canonical",
        ),
        (
            refused(|a| a.entry = layout::USER_END),
            "an entry at the end of addresses",
        ),
        (refused(|a| a.entry = u64::MAX), "an entry in the kernel"),
        (
            refused(|a| a.fs_base = 0x8000_0000_0000),
            "an fs base that is not canonical",
        ),
        (
            refused(|a| a.fs_base = 0xffff_8000_0000_0000),
            "an fs base in the kernel",
        ),
        (
            refused(|a| a.stack = u64::MAX - 15),
            "a stack in the kernel",
        ),
    ];
    for (answer, what) in wrong {
        check!(
            matches!(answer, Err(Error::BadPointer | Error::BadArgument)),
            "{what}: {answer:?}"
        );
    }
    let arguments = [
        (
            refused(|a| a.priority = 32),
            "a priority that does not exist",
        ),
        (
            refused(|a| a.priority = u32::MAX),
            "the largest number as a priority",
        ),
        (refused(|a| a.reserved = 1), "a reserved field in use"),
        (
            refused(|a| a.affinity = 1 << 63),
            "a core that does not exist",
        ),
    ];
    for (answer, what) in arguments {
        equal!(answer, Err(Error::BadArgument), "{what}");
    }
    Ok(())
}

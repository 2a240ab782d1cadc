//! The first instructions, what a program is given, and how its end is told.

use driver_sdk::{
    abi::{ABI_VERSION, startup as names},
    prelude::*,
    rt::syscall,
};

use crate::{
    child::{Victim, image, leaves_nothing, program},
    harness::{Outcome, check, equal, tests},
};

tests![
    the_kernel_has_the_abi_version_of_this_program,
    a_child_gets_its_arguments_and_handles_and_no_others,
    exit_codes_reach_the_waiter,
    a_panic_ends_with_its_code,
    a_file_that_is_no_program_is_refused_with_a_sentence,
    a_child_that_cannot_be_started_leaves_nothing,
];

fn the_kernel_has_the_abi_version_of_this_program() -> Outcome {
    equal!(syscall::version(), ABI_VERSION);
    equal!(core::ptr::from_ref(startup()) as usize % 8, 0);
    Ok(())
}

fn a_child_gets_its_arguments_and_handles_and_no_others() -> Outcome {
    let memory = Memory::new(4096)?;
    let end = Victim::new("arguments")
        .argument("")
        .argument("two words")
        .argument("grüße")
        .argument("last")
        .with(|command| command.give("a name with spaces", &memory, Rights::READ))
        .run()?;
    equal!(end.status, ExitStatus::Exited(0));
    Ok(())
}

fn exit_codes_reach_the_waiter() -> Outcome {
    for code in [0, 1, 77, -1, i32::MIN, i32::MAX] {
        let end = Victim::new("exit").argument(code).run()?;
        equal!(end.status, ExitStatus::Exited(code));
        equal!(end.fault, None);
    }
    // A wait after the end tells the same again, and at once.
    let child = Victim::new("exit").argument(5).spawn()?;
    for _ in 0..3 {
        equal!(child.wait(Deadline::NEVER), Ok(ExitStatus::Exited(5)));
    }
    equal!(child.wait(Deadline::NOW), Ok(ExitStatus::Exited(5)));
    Ok(())
}

fn a_panic_ends_with_its_code() -> Outcome {
    let end = Victim::new("panic").run()?;
    equal!(end.status, ExitStatus::Exited(ExitStatus::PANIC_CODE));
    Ok(())
}

fn a_file_that_is_no_program_is_refused_with_a_sentence() -> Outcome {
    let refusal = |memory: &Memory| match Program::new(memory) {
        Ok(_) => alloc::string::String::from("accepted"),
        Err(error) => alloc::format!("{error}"),
    };
    let file = image().read_all()?;
    let copy = Memory::new(file.len() as u64)?;
    check!(
        refusal(&copy).contains("not an ELF file"),
        "zeros: {}",
        refusal(&copy)
    );
    copy.write_all(0, &file)?;
    equal!(refusal(&copy), "accepted");
    // The note begins with the lengths of name and content, and its type.
    let head = [
        9u8, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, b'S', b'p', b'i', b'l', b'l',
    ];
    let note = file.windows(head.len()).position(|bytes| bytes == head);
    let note = note.ok_or("this program has no ABI note")? as u64;
    copy.write_all(note + 24, &(ABI_VERSION + 1).to_le_bytes())?;
    check!(
        refusal(&copy).contains(&alloc::format!("ABI version {}", ABI_VERSION + 1)),
        "version: {}",
        refusal(&copy)
    );
    copy.write_all(note + 12, b"Spillage")?;
    check!(
        refusal(&copy).contains("no Spillway ABI note"),
        "note: {}",
        refusal(&copy)
    );
    Ok(())
}

fn a_child_that_cannot_be_started_leaves_nothing() -> Outcome {
    leaves_nothing(|| {
        // Too little memory for its stack.
        let command =
            Command::new("too-small", program()).limits(driver_sdk::abi::limits::Limits {
                memory: 64 << 10,
                ..driver_sdk::abi::limits::Limits::DEFAULT
            });
        let refused = command.spawn().map(drop);
        check!(
            matches!(
                refused,
                Err(driver_sdk::rt::process::SpawnError::Kernel(
                    _,
                    Error::LimitReached
                ))
            ),
            "too little memory: {refused:?}"
        );
        // A handle that must not be passed on.
        let memory = Memory::new(4096)?;
        let stuck = memory.duplicate(Rights::READ)?;
        let refused = Command::new("stuck", program())
            .give(names::LOG, &stuck, Rights::READ)
            .spawn();
        check!(
            matches!(
                refused,
                Err(driver_sdk::rt::process::SpawnError::Kernel(
                    _,
                    Error::MissingRight
                ))
            ),
            "without the right to transfer: {:?}",
            refused.map(drop)
        );
        Ok(())
    })
}

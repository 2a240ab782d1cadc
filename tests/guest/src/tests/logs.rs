//! The log and the counters.

use driver_sdk::{
    abi::{
        call::Operation,
        counters::Counter,
        limits::{Limits, MAX_LOG_LINES, MAX_LOG_WRITE},
        object::{ClockMeta, PROCESS_NAME_LENGTH, ProcessArguments},
        startup as names,
    },
    prelude::*,
    rt::{object::Snapshot, syscall},
};

use crate::{
    child::{Shared, Victim, end_of},
    harness::{Outcome, check, equal, tests},
    raw,
};

tests![
    a_log_text_has_a_longest_length,
    a_log_text_may_be_any_bytes,
    a_long_line_is_printed_in_parts,
    one_write_takes_a_few_lines_at_most,
    a_name_cannot_pass_for_a_level_of_the_log,
    counters_count_what_this_process_does,
    a_fault_and_its_switches_are_counted_for_their_process,
    counters_are_read_whole_or_in_part,
    the_clock_agrees_with_the_time_page,
];

fn a_log_text_has_a_longest_length() -> Outcome {
    let log = object::<Log>(names::LOG).ok_or("the manifest grants `log`")?;
    let text = [b'.'; MAX_LOG_WRITE as usize + 1];
    equal!(log.write(&text[1..]), Ok(()));
    equal!(log.write(&text), Err(Error::TooLong));
    let endless = [0, text.as_ptr() as u64, u64::MAX, 0];
    equal!(
        raw::do_io(log.handle(), Operation::Write, endless),
        Err(Error::TooLong)
    );
    equal!(log.write(&[]), Ok(()));
    Ok(())
}

fn a_log_text_may_be_any_bytes() -> Outcome {
    let log = object::<Log>(names::LOG).ok_or("the manifest grants `log`")?;
    equal!(log.write(b"not UTF-8: \xff\xfe\xc3\x28 \x80"), Ok(()));
    equal!(log.write(b"cut in a character: \xc3"), Ok(()));
    equal!(
        log.write(b"control: \x1b[2J \x00 \x07 \r not at the beginning"),
        Ok(())
    );
    equal!(log.write(b"two\nlines"), Ok(()));
    Ok(())
}

fn a_long_line_is_printed_in_parts() -> Outcome {
    println!("{}", "ä long line ".repeat(200));
    Ok(())
}

/// A text of nothing but line ends became a thousand lines in one call, each of which takes as long
/// as a slow port makes it: the core stood still for a second.
fn one_write_takes_a_few_lines_at_most() -> Outcome {
    let log = object::<Log>(names::LOG).ok_or("the manifest grants `log`")?;
    let write = |text: &[u8]| {
        let arguments = [0, text.as_ptr() as u64, text.len() as u64, 0];
        raw::do_io(log.handle(), Operation::Write, arguments)
    };
    let most = MAX_LOG_LINES as u64;
    equal!(write(&[b'\n'; MAX_LOG_WRITE as usize]), Ok(most));
    equal!(write(&b"12\n".repeat(MAX_LOG_LINES)), Ok(3 * most));
    equal!(write(&b"12\n".repeat(MAX_LOG_LINES + 1)), Ok(3 * most));
    // Bytes that are no text do not make more lines.
    equal!(write(&[0xff; MAX_LOG_WRITE as usize]), Ok(MAX_LOG_WRITE));
    // The typed call goes on until all is written.
    equal!(log.write(&b"+\n".repeat(MAX_LOG_LINES + 4)), Ok(()));
    Ok(())
}

/// A process called `PANIC` or `WARN` wrote lines that looked like the kernel's own.
fn a_name_cannot_pass_for_a_level_of_the_log() -> Outcome {
    let create = |name: &[u8]| {
        let mut arguments = ProcessArguments {
            name: [0; PROCESS_NAME_LENGTH],
            limits: Limits::DEFAULT,
            affinity: 0,
            max_priority: 1,
            reserved: 0,
        };
        arguments.name[..name.len()].copy_from_slice(name);
        own_process().create_process(&arguments).map(drop)
    };
    for name in [
        "PANIC", "Warn", "a b", "a:b", "a]", "a\n", "a\u{1b}", "\u{e4}", "",
    ] {
        equal!(
            create(name.as_bytes()),
            Err(Error::BadArgument),
            "a process called {name:?}"
        );
    }
    equal!(create(b"\xff"), Err(Error::BadArgument));
    for name in ["a", "az-09_.x", "a-name-of-thirty-two-bytes-in-all"] {
        let name = &name[..name.len().min(PROCESS_NAME_LENGTH)];
        equal!(create(name.as_bytes()), Ok(()), "a process called {name}");
    }
    Ok(())
}

/// A fault was counted twice, and a process's own switches of the address space not at all.
fn a_fault_and_its_switches_are_counted_for_their_process() -> Outcome {
    // The child waits for this thread to wait, so it is not gone when its counters are asked for.
    let above = thread::Builder::new()
        .affinity(1)
        .spawn(|| -> Outcome<Snapshot> {
            let shared = Shared::new()?;
            let child = Victim::new("invalid")
                .shared(&shared)
                .with(|command| command.affinity(1).priority(1))
                .spawn()?;
            let counters = child.counters()?;
            equal!(
                end_of(&child)?.status,
                ExitStatus::Faulted(Fault::InvalidInstruction)
            );
            Ok(counters.snapshot()?)
        })?;
    let seen = above.join()?;
    equal!(seen.get(Counter::Faults), 1, "its faults");
    check!(seen.get(Counter::AddressSpaceSwitches) >= 1);
    check!(seen.get(Counter::ThreadSwitches) >= seen.get(Counter::AddressSpaceSwitches));
    Ok(())
}

fn counters_count_what_this_process_does() -> Outcome {
    let counters = own_process().counters()?;
    let before = counters.snapshot()?;
    for _ in 0..100 {
        syscall::version();
    }
    let memory = Memory::new(4096)?;
    memory.write(0, &[1; 4096])?;
    let after = counters.snapshot()?;
    let grown = |counter| after.get(counter) - before.get(counter);
    // The hundred, create, write, and one of the two reads of the counters.
    equal!(grown(Counter::SystemCalls), 103);
    check!(
        grown(Counter::BytesCopied) >= 4096,
        "{} bytes",
        grown(Counter::BytesCopied)
    );
    check!(grown(Counter::Copies) >= 1);
    for &counter in Counter::ALL {
        check!(
            after.get(counter) >= before.get(counter),
            "{} went back",
            counter.name()
        );
    }
    Ok(())
}

fn counters_are_read_whole_or_in_part() -> Outcome {
    let system = object::<Counters>(names::COUNTERS).ok_or("the manifest grants `counters`")?;
    let own = own_process().counters()?;
    let (all, mine) = (system.snapshot()?, own.snapshot()?);
    let calls = Counter::SystemCalls;
    check!(
        all.get(calls) > mine.get(calls),
        "the system made fewer calls than this process"
    );
    // One word, by its offset.
    let mut word = [0u64; 1];
    let offset = 8 * Counter::SystemCalls as u64;
    let read = |offset, word: &mut [u64; 1]| {
        raw::do_io(
            own.handle(),
            Operation::Read,
            [offset, word.as_mut_ptr() as u64, 8, 0],
        )
    };
    equal!(read(offset, &mut word), Ok(8));
    check!(word[0] > mine.get(calls));
    equal!(
        read(8 * Counter::ALL.len() as u64, &mut word),
        Ok(0),
        "a read behind the last"
    );
    equal!(
        read(8 * Counter::ALL.len() as u64 + 1, &mut word),
        Err(Error::OutOfRange)
    );
    equal!(read(u64::MAX - 3, &mut word), Err(Error::OutOfRange));
    let shared = Shared::new()?;
    let written = raw::do_io(
        own.handle(),
        Operation::Write,
        [0, shared.slots().as_ptr() as u64, 8, 0],
    );
    equal!(written, Err(Error::BadOperation));
    Ok(())
}

fn the_clock_agrees_with_the_time_page() -> Outcome {
    let clock = object::<Clock>(names::CLOCK).ok_or("the manifest grants `clock`")?;
    let before = Instant::now().as_nanoseconds();
    let now = clock.meta(ClockMeta::Now)?;
    let after = Instant::now().as_nanoseconds();
    check!(
        (before..=after).contains(&now),
        "{before} ≤ {now} ≤ {after} does not hold"
    );
    equal!(
        clock.meta(ClockMeta::TscFrequency),
        Ok(time::tsc_frequency())
    );
    let entry = clock.meta(ClockMeta::KernelEntryTsc)?;
    check!(
        entry < time::entry_tsc(),
        "the kernel began at {entry}, this program before that"
    );
    equal!(
        raw::do_io(clock.handle(), Operation::GetMeta, [99, 0, 0, 0]),
        Err(Error::BadOperation)
    );
    Ok(())
}

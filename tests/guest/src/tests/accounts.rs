//! A family of processes never has more than its eldest may, and what is over costs nothing.

use alloc::vec::Vec;

use driver_sdk::{
    abi::{
        limits::{Limits, MAX_PROCESS_DEPTH},
        object::ProcessMeta,
    },
    prelude::*,
};

use crate::{
    child::{Use, Victim, end_of, idle_process, leaves_nothing},
    harness::{Outcome, check, equal, tests},
};

tests![
    memory_of_ended_children_counts,
    memory_handed_to_a_child_counts,
    the_limit_of_processes_counts_descendants,
    processes_are_nested_to_a_depth,
    two_processes_without_threads_cannot_hold_each_other,
    an_ended_process_costs_little,
];

/// As much as all of these processes may have, so that only what they are told decides.
const LIMITS: Limits = Limits {
    memory: 4 << 20,
    handles: 64,
    threads: 4,
    processes: 4,
    requests: 64,
};

fn is_told(kind: &str) -> Outcome {
    leaves_nothing(|| {
        let victim = Victim::new(kind).with(|command| command.limits(LIMITS));
        equal!(victim.run()?.status, ExitStatus::Exited(0), "{kind}");
        Ok(())
    })
}

/// Memory that was charged to a child stayed charged to it when the child had ended, although its
/// creator held it: by way of one child after the other a process had any amount.
fn memory_of_ended_children_counts() -> Outcome {
    is_told("memory-of-the-dead")
}

/// A process that gave its child a handle to a memory and closed its own was rid of the charge,
/// and the child took it over beyond any limit.
fn memory_handed_to_a_child_counts() -> Outcome {
    is_told("memory-of-others")
}

/// Each process counted only the children that it had made itself: with a limit of three there
/// could be three, three of each of them, and so on.
fn the_limit_of_processes_counts_descendants() -> Outcome {
    leaves_nothing(|| {
        let limits = Limits {
            processes: 3,
            ..LIMITS
        };
        let eldest = idle_process(own_process(), limits)?;
        let child = idle_process(&eldest, limits)?;
        let grandchild = idle_process(&child, limits)?;
        let last = idle_process(&grandchild, limits)?;
        for parent in [&eldest, &child, &grandchild, &last] {
            let refused = idle_process(parent, limits).map(drop);
            equal!(refused, Err(Error::LimitReached));
        }
        equal!(eldest.meta(ProcessMeta::ProcessesUsed), Ok(3));
        equal!(grandchild.meta(ProcessMeta::ProcessesUsed), Ok(1));
        // Who is gone makes room, all the way up.
        last.kill(0)?;
        end_of(&last)?;
        equal!(eldest.meta(ProcessMeta::ProcessesUsed), Ok(2));
        check!(idle_process(&child, limits).is_ok());
        Ok(())
    })
}

/// Accounts are a tree, so a charge costs a step for each process above: without a limit to the
/// depth, an operation of the kernel could be made as long as one likes.
fn processes_are_nested_to_a_depth() -> Outcome {
    leaves_nothing(|| {
        let limits = Limits {
            processes: 32,
            ..LIMITS
        };
        let before = own_process().meta(ProcessMeta::ProcessesUsed)?;
        let mut chain: Vec<Process> = Vec::new();
        let refused = loop {
            let parent = chain.last().unwrap_or(own_process());
            match idle_process(parent, limits) {
                Ok(child) => chain.push(child),
                Err(error) => break error,
            }
        };
        equal!(refused, Error::LimitReached);
        // `init` is the first, and this process its child.
        equal!(chain.len(), MAX_PROCESS_DEPTH as usize - 1);
        equal!(
            own_process().meta(ProcessMeta::ProcessesUsed),
            Ok(before + chain.len() as u64)
        );
        // What the last one has is charged to all.
        let used = |process: &Process| process.meta(ProcessMeta::MemoryUsed);
        let (first, last) = (&chain[0], &chain[chain.len() - 1]);
        let unused = used(first)?;
        let memory = Memory::charged_to(last, 100 << 10)?;
        equal!(used(first)?, unused + (100 << 10));
        drop(memory);
        equal!(used(first)?, unused);
        Ok(())
    })
}

/// Two processes without threads that held each other could be reached by nobody once their
/// creator had closed its handles, and were there for ever.
fn two_processes_without_threads_cannot_hold_each_other() -> Outcome {
    leaves_nothing(|| {
        let (one, two) = (
            idle_process(own_process(), LIMITS)?,
            idle_process(own_process(), LIMITS)?,
        );
        let give = |object: &Process, to: &Process| {
            let given = object.as_ref().duplicate_into(Rights::MANAGE, to);
            given.map(drop)
        };
        equal!(give(&one, &two), Err(Error::BadArgument));
        equal!(give(&two, &one), Err(Error::BadArgument));
        // Itself it may hold, and one with a thread may hold it.
        equal!(give(&one, &one), Ok(()));
        let sleeper = Victim::new("sleep").spawn()?;
        equal!(give(&one, &sleeper), Ok(()));
        sleeper.kill(0)?;
        end_of(&sleeper)?;
        Ok(())
    })
}

/// A process that had ended kept its tables and their charge as long as somebody had a handle to
/// it, to ask how it ended.
fn an_ended_process_costs_little() -> Outcome {
    const COUNT: u64 = 200;
    let limits = Limits {
        handles: 4096,
        ..LIMITS
    };
    leaves_nothing(|| {
        let memory = Memory::new(4096)?;
        let mut zombies = Vec::with_capacity(COUNT as usize);
        let before = Use::now()?;
        for _ in 0..COUNT {
            let child = idle_process(own_process(), limits)?;
            for _ in 0..100 {
                memory.as_ref().duplicate_into(Rights::READ, &child)?;
            }
            child.kill(5)?;
            zombies.push(child);
        }
        let after = Use::now()?;
        equal!(
            after.memory,
            before.memory,
            "what {COUNT} of them are charged"
        );
        equal!(after.processes, before.processes);
        let cost = before.machine_free.saturating_sub(after.machine_free) / COUNT;
        check!(cost < 4096, "an ended process costs {cost} bytes");
        for zombie in &zombies {
            equal!(zombie.wait(Deadline::NOW), Ok(ExitStatus::Killed(5)));
        }
        Ok(())
    })
}

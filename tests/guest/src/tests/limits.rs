//! Nobody gets more than its limits, and whoever reaches one is told.

use driver_sdk::{
    abi::{
        limits::Limits,
        object::{PROCESS_NAME_LENGTH, ProcessArguments},
    },
    prelude::*,
};

use crate::{
    child::{Victim, leaves_nothing},
    harness::{Outcome, check, equal, tests},
};

tests![
    memory_has_a_limit,
    the_heap_ends_with_a_panic_that_says_so,
    handles_have_a_limit,
    threads_have_a_limit,
    processes_have_a_limit,
    children_share_the_limit_of_their_parent,
    requests_have_a_limit,
    served_objects_and_their_services_have_a_limit,
    events_have_a_limit,
    a_child_cannot_be_given_more_than_this_process_has,
];

const LIMITS: Limits = Limits {
    memory: 4 << 20,
    handles: 40,
    threads: 8,
    processes: 0,
    requests: 64,
};

/// The victim must be told and return 0, twice, and leave nothing.
fn is_told(kind: &str, limits: Limits, argument: u32) -> Outcome {
    leaves_nothing(|| {
        let victim = Victim::new(kind)
            .argument(argument)
            .with(|c| c.limits(limits));
        equal!(victim.run()?.status, ExitStatus::Exited(0), "{kind}");
        Ok(())
    })
}

fn memory_has_a_limit() -> Outcome {
    is_told("memory-limit", LIMITS, 0)
}

fn the_heap_ends_with_a_panic_that_says_so() -> Outcome {
    leaves_nothing(|| {
        let end = Victim::new("heap-limit")
            .with(|command| command.limits(LIMITS))
            .run()?;
        equal!(end.status, ExitStatus::Exited(ExitStatus::PANIC_CODE));
        Ok(())
    })
}

fn handles_have_a_limit() -> Outcome {
    is_told("handle-limit", LIMITS, LIMITS.handles)
}

fn threads_have_a_limit() -> Outcome {
    is_told("thread-limit", LIMITS, LIMITS.threads)
}

fn processes_have_a_limit() -> Outcome {
    is_told(
        "process-limit",
        Limits {
            processes: 5,
            ..LIMITS
        },
        5,
    )
}

fn children_share_the_limit_of_their_parent() -> Outcome {
    let limits = Limits {
        processes: 2,
        ..LIMITS
    };
    is_told("family-limit", limits, 0)
}

/// Queues and timers together.
fn requests_have_a_limit() -> Outcome {
    is_told("request-limit", LIMITS, LIMITS.requests)
}

/// What the kernel keeps for them is memory of the server.
fn served_objects_and_their_services_have_a_limit() -> Outcome {
    let limits = Limits {
        memory: 512 << 10,
        handles: 4096,
        ..LIMITS
    };
    is_told("object-limit", limits, 0)?;
    is_told("service-limit", limits, 0)
}

fn events_have_a_limit() -> Outcome {
    let limits = Limits {
        memory: 512 << 10,
        handles: 4096,
        ..LIMITS
    };
    is_told("event-limit", limits, 0)
}

fn a_child_cannot_be_given_more_than_this_process_has() -> Outcome {
    let create = |limits: Limits| {
        let arguments = ProcessArguments {
            name: [b'x'; PROCESS_NAME_LENGTH],
            limits,
            affinity: 0,
            max_priority: 1,
            reserved: 0,
        };
        let child = own_process().create_process(&arguments);
        child.map(|child| child.kill(0))
    };
    equal!(create(LIMITS), Ok(Ok(())));
    for (what, limits) in [
        (
            "memory",
            Limits {
                memory: 1 << 50,
                ..LIMITS
            },
        ),
        (
            "handles",
            Limits {
                handles: u32::MAX,
                ..LIMITS
            },
        ),
        (
            "threads",
            Limits {
                threads: u32::MAX,
                ..LIMITS
            },
        ),
        (
            "processes",
            Limits {
                processes: u32::MAX,
                ..LIMITS
            },
        ),
        (
            "requests",
            Limits {
                requests: u32::MAX,
                ..LIMITS
            },
        ),
    ] {
        let refused = create(limits);
        check!(
            matches!(refused, Err(Error::BadArgument | Error::LimitReached)),
            "too much {what}: {refused:?}"
        );
    }
    Ok(())
}

//! Programs that do what the processor refuses: each is ended with the right reason, everybody
//! else lives, and all its memory is back.

use driver_sdk::{abi::PAGE_SIZE, prelude::*};

use crate::{
    child::{End, Shared, Victim, leaves_nothing},
    harness::{Outcome, check, equal, tests},
    victims::fault::{ADDRESS, INSTRUCTION},
};

tests![
    accesses_to_forbidden_memory_are_page_faults,
    running_what_is_not_code_is_a_page_fault,
    privileged_instructions_are_refused,
    arithmetic_and_invalid_instructions_are_told_apart,
    a_breakpoint_or_single_step_ends_a_program_that_nobody_debugs,
    a_stack_overflow_hits_the_guard_page,
    an_address_that_is_not_canonical_is_refused,
];

/// Runs a victim and checks everything that must be the same for all of them.
fn fault_of(kind: &str) -> Outcome<(End, u64, u64)> {
    let shared = Shared::new()?;
    let end = Victim::new(kind).shared(&shared).run()?;
    check!(
        matches!(end.status, ExitStatus::Faulted(_)),
        "{kind} {}",
        end.status
    );
    Ok((end, shared.get(INSTRUCTION), shared.get(ADDRESS)))
}

/// Checks the kind of fault, the instruction, and that nothing is left behind.
fn ends_by(kind: &str, fault: Fault) -> Outcome {
    let (end, instruction, _) = fault_of(kind)?;
    equal!(end.status, ExitStatus::Faulted(fault), "{kind}");
    let Some(report) = end.fault else {
        return Err(alloc::format!("{kind}: there is no report").into());
    };
    equal!(report.fault, fault, "{kind}: the fault in the report");
    equal!(report.instruction, instruction, "{kind}: the instruction");
    leaves_nothing(|| fault_of(kind).map(drop))
}

/// The same for a page fault, with its address.
fn faults_at_its_address(kind: &str) -> Outcome {
    ends_by(kind, Fault::Page)?;
    let (end, _, address) = fault_of(kind)?;
    equal!(
        end.fault.map(|report| report.address),
        Some(address),
        "{kind}: the address"
    );
    Ok(())
}

fn accesses_to_forbidden_memory_are_page_faults() -> Outcome {
    for kind in [
        "null-read",
        "kernel-read",
        "kernel-text-read",
        "kernel-write",
        "end-read",
        // The page above it is the first of all: the kernel counted beyond the largest address.
        "last-read",
        "text-write",
        "constant-write",
        "time-write",
        "core-line-write",
    ] {
        faults_at_its_address(kind)?;
    }
    Ok(())
}

fn running_what_is_not_code_is_a_page_fault() -> Outcome {
    for kind in [
        "data-execute",
        "stack-execute",
        "heap-execute",
        "kernel-execute",
    ] {
        faults_at_its_address(kind)?;
    }
    Ok(())
}

fn privileged_instructions_are_refused() -> Outcome {
    for kind in [
        "halt",
        "interrupts-off",
        "port-in",
        "port-out",
        "msr-write",
        "msr-read",
        "control-write",
        "gdt-load",
        "software-interrupt",
        "timer-interrupt",
    ] {
        ends_by(kind, Fault::Protection)?;
    }
    Ok(())
}

fn arithmetic_and_invalid_instructions_are_told_apart() -> Outcome {
    ends_by("divide", Fault::Divide)?;
    ends_by("invalid", Fault::InvalidInstruction)?;
    ends_by("float", Fault::FloatingPoint)
}

/// The processor reports these after the instruction, so only the kind is checked.
fn a_breakpoint_or_single_step_ends_a_program_that_nobody_debugs() -> Outcome {
    for kind in ["breakpoint", "single-step"] {
        let (end, ..) = fault_of(kind)?;
        equal!(end.status, ExitStatus::Faulted(Fault::Breakpoint), "{kind}");
        leaves_nothing(|| fault_of(kind).map(drop))?;
    }
    Ok(())
}

fn a_stack_overflow_hits_the_guard_page() -> Outcome {
    for kind in ["stack-overflow", "thread-stack-overflow"] {
        let (end, _, top) = fault_of(kind)?;
        equal!(end.status, ExitStatus::Faulted(Fault::StackGuard), "{kind}");
        let address = end.fault.map_or(0, |report| report.address);
        // Somewhere in the page below a stack of 64 KiB.
        check!(
            address < top && top - address <= (64 << 10) + SLACK,
            "{kind}: began at {top:#x}, faulted at {address:#x}"
        );
        leaves_nothing(|| fault_of(kind).map(drop))?;
    }
    Ok(())
}

/// The guard page itself, and what was on the stack before the recursion began.
const SLACK: u64 = 2 * PAGE_SIZE;

fn an_address_that_is_not_canonical_is_refused() -> Outcome {
    // The processor gives no address with these.
    ends_by("hole-read", Fault::Protection)?;
    let (end, ..) = fault_of("bad-return")?;
    check!(
        matches!(
            end.status,
            ExitStatus::Faulted(Fault::Protection | Fault::Page)
        ),
        "{:?}",
        end.status
    );
    Ok(())
}

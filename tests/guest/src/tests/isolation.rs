//! What a program does to its flags and segments stays its own.

use core::{
    arch::{asm, x86_64::__cpuid_count},
    sync::atomic::{AtomicBool, Ordering},
};

use driver_sdk::{abi::Call, prelude::*};

use crate::{
    child::{Shared, Victim, end_of, leaves_nothing},
    harness::{Outcome, check, equal, tests},
};

tests![
    flags_of_a_program_do_not_reach_the_kernel_by_a_call,
    flags_of_a_program_do_not_reach_the_kernel_by_a_trap,
    a_call_with_the_nested_task_flag_can_switch_threads,
    a_thread_pointer_is_its_own_after_every_switch,
    descriptor_tables_are_not_told,
];

/// Bits of RFLAGS (Intel SDM vol. 1, 3.4.3).
const DIRECTION: u64 = 1 << 10;
const NESTED_TASK: u64 = 1 << 14;
const ALIGNMENT_CHECK: u64 = 1 << 18;

/// Makes a call without arguments with these flags set.
fn call_with(flags: u64, number: u64) -> u64 {
    let status;
    // SAFETY: the flags are as before afterwards, and the call has no arguments.
    unsafe {
        asm!(
            "pushfq",
            "or [rsp], r12",
            "popfq",
            "syscall",
            "pushfq",
            "not r12",
            "and [rsp], r12",
            "popfq",
            inout("r12") flags => _,
            inlateout("rax") number => status,
            clobber_abi("sysv64"),
        )
    }
    status
}

/// With the alignment check flag set the kernel could reach programs' memory, with the direction
/// flag it would copy backwards. The kernel looks when somebody calls what does not exist.
fn flags_of_a_program_do_not_reach_the_kernel_by_a_call() -> Outcome {
    for flags in [0, ALIGNMENT_CHECK, DIRECTION, ALIGNMENT_CHECK | DIRECTION] {
        let status = call_with(flags, 999);
        equal!(status, Error::UnknownCall as u64, "with flags {flags:#x}");
    }
    Ok(())
}

/// The kernel looks when it ends a program.
fn flags_of_a_program_do_not_reach_the_kernel_by_a_trap() -> Outcome {
    for kind in ["access-flag", "direction-flag"] {
        leaves_nothing(|| {
            let shared = Shared::new()?;
            let end = Victim::new(kind).shared(&shared).run()?;
            let fault = ExitStatus::Faulted(Fault::InvalidInstruction);
            equal!(end.status, fault, "{kind}");
            Ok(())
        })?;
    }
    Ok(())
}

/// A return from an interrupt with that flag set is refused by the processor, also to the kernel.
/// The other thread was interrupted, so the kernel goes on with it by such a return.
fn a_call_with_the_nested_task_flag_can_switch_threads() -> Outcome {
    static END: AtomicBool = AtomicBool::new(false);
    END.store(false, Ordering::SeqCst);
    let on_core_0 = || thread::Builder::new().affinity(1).priority(8);
    let spinner = on_core_0().spawn(|| {
        while !END.load(Ordering::SeqCst) {
            core::hint::spin_loop()
        }
    })?;
    let caller = on_core_0().spawn(|| {
        for _ in 0..20 {
            call_with(NESTED_TASK, Call::Yield as u64);
        }
        END.store(true, Ordering::SeqCst);
    })?;
    caller.join();
    spinner.join();
    Ok(())
}

/// One process takes its own thread pointer away, which needs no privilege. Another one, whose
/// thread pointer has the same value, runs in turn with it on one core.
fn a_thread_pointer_is_its_own_after_every_switch() -> Outcome {
    let (taker, keeper) = (Shared::new()?, Shared::new()?);
    let on_core_0 = |kind, shared| {
        Victim::new(kind)
            .shared(shared)
            .with(|command| command.affinity(1).priority(8))
            .spawn()
    };
    let one = on_core_0("thread-pointer-taker", &taker)?;
    let other = on_core_0("thread-pointer-keeper", &keeper)?;
    for shared in [&taker, &keeper] {
        shared.wait_for(0, 20)?;
    }
    for shared in [&taker, &keeper] {
        shared.set(1, 1);
    }
    equal!(end_of(&one)?.status, ExitStatus::Exited(0));
    equal!(end_of(&other)?.status, ExitStatus::Exited(0));
    Ok(())
}

/// Where the processor can keep the kernel's addresses from programs.
fn descriptor_tables_are_not_told() -> Outcome {
    // CPUID.7.0:ECX bit 2 (UMIP), Intel SDM vol. 2A, CPUID.
    if __cpuid_count(7, 0).ecx & 1 << 2 == 0 {
        return Ok(());
    }
    for kind in ["gdt-store", "idt-store", "task-store"] {
        let shared = Shared::new()?;
        let end = Victim::new(kind).shared(&shared).run()?;
        check!(
            end.status == ExitStatus::Faulted(Fault::Protection),
            "{kind} {}",
            end.status
        );
    }
    Ok(())
}

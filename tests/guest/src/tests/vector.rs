//! Vector registers: a program's own stay its own, and nobody else's are ever seen.

use alloc::vec::Vec;

use driver_sdk::{
    abi::{Call, layout, limits::TIME_SLICE, object::ThreadArguments},
    prelude::*,
};

use crate::{
    child::{Shared, Victim, end_of},
    harness::{Outcome, check, equal, tests},
    vectors::{Vectors, across_call, hold},
};

tests![
    vector_registers_survive_preemption,
    floats_survive_yields_and_preemption,
    registers_are_clear_after_a_call,
    control_words_survive_calls_and_preemption,
    a_new_thread_begins_with_clear_registers,
    no_secret_of_another_process_is_seen,
];

fn ticks(nanoseconds: u64) -> u64 {
    (u128::from(nanoseconds) * u128::from(time::tsc_frequency()) / 1_000_000_000) as u64
}

fn vector_registers_survive_preemption() -> Outcome {
    let mut threads = Vec::new();
    for seed in 1..=3 {
        threads.push(
            thread::Builder::new()
                .affinity(1)
                .priority(8)
                .spawn(move || {
                    let mine = Vectors::pattern(seed);
                    // Long enough that all three are interrupted in the middle.
                    hold(&mine, time::tsc() + ticks(3 * TIME_SLICE)) == mine
                })?,
        );
    }
    for (index, thread) in threads.into_iter().enumerate() {
        check!(
            thread.join(),
            "thread {index} found other values in its vector registers"
        );
    }
    Ok(())
}

fn floats_survive_yields_and_preemption() -> Outcome {
    let sum = |start: u32, yields: bool| {
        let mut sum = 0.0f64;
        for term in start..start + 30_000 {
            sum += 1.0 / f64::from(term);
            if yields && term % 500 == 0 {
                thread::yield_now();
            }
        }
        sum
    };
    let expected = [1, 2, 3].map(|start| sum(start, false));
    let mut threads = Vec::new();
    for start in 1..=3 {
        let builder = thread::Builder::new().affinity(1);
        threads.push(builder.spawn(move || (0..5).map(|_| sum(start, true)).collect::<Vec<_>>())?);
    }
    for (thread, expected) in threads.into_iter().zip(expected) {
        for sum in thread.join() {
            equal!(sum, expected);
        }
    }
    Ok(())
}

fn registers_are_clear_after_a_call() -> Outcome {
    let mine = Vectors::pattern(0x1234);
    for number in [Call::Version as u64, Call::Yield as u64, 999] {
        let (after, scratch, preserved) = across_call(&mine, number);
        equal!(
            after,
            Vectors::CLEAR,
            "vector registers after call {number}"
        );
        check!(
            preserved,
            "call {number} changed a register that a function preserves"
        );
        let [rcx, rsi, rdi, r8, r9, r10, r11] = scratch;
        equal!(
            [rsi, rdi, r8, r9, r10],
            [0; 5],
            "scratch registers after call {number}"
        );
        // The processor leaves the address and the flags there; or the kernel clears them.
        let text = layout::IMAGE_START..layout::MAP_START;
        check!(
            rcx == 0 || text.contains(&rcx),
            "rcx is {rcx:#x} after call {number}"
        );
        check!(
            r11 == 0 || r11 & !0xcd5 == 0x202,
            "r11 is {r11:#x} after call {number}"
        );
    }
    Ok(())
}

/// MXCSR and the x87 control word are the thread's, also across calls.
fn control_words_survive_calls_and_preemption() -> Outcome {
    fn set(mxcsr: u32, fcw: u16) {
        // SAFETY: rounding modes only; all exceptions stay masked.
        unsafe { core::arch::asm!("ldmxcsr [{}]", "fldcw [{}]", in(reg) &mxcsr, in(reg) &fcw) };
    }
    fn get() -> (u32, u16) {
        let (mut mxcsr, mut fcw) = (0u32, 0u16);
        // SAFETY: stores two words of our own.
        unsafe {
            core::arch::asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &mut mxcsr, in(reg) &mut fcw);
        }
        (mxcsr & !0x3f, fcw)
    }
    // The usual ones, and rounding towards zero (Intel SDM vol. 1, 10.2.3 and 8.1.5).
    let usual = (0x1f80, 0x37f);
    let other = (0x7f80, 0xf7f);
    let thread = |words: (u32, u16)| {
        thread::Builder::new()
            .affinity(1)
            .priority(8)
            .spawn(move || {
                set(words.0, words.1);
                let mut same = true;
                for _ in 0..20 {
                    thread::yield_now();
                    same &= get() == words;
                }
                let end = time::tsc() + ticks(2 * TIME_SLICE);
                while time::tsc() < end {
                    same &= get() == words;
                }
                set(0x1f80, 0x37f);
                same
            })
    };
    equal!(get(), usual, "the control words at the start");
    let (one, two) = (thread(usual)?, thread(other)?);
    check!(one.join(), "the usual control words changed");
    check!(two.join(), "the other control words changed");
    equal!(get(), usual, "the control words at the end");
    Ok(())
}

/// What the first instructions of a new thread find: 16 vector registers, then 14 general ones.
#[repr(C, align(32))]
struct Found {
    vectors: Vectors,
    general: [u64; 14],
    done: core::sync::atomic::AtomicU64,
}

/// # Safety
///
/// Only as the entry of a thread, with a [`Found`] in `rdi`.
#[unsafe(naked)]
unsafe extern "C" fn look_around() -> ! {
    core::arch::naked_asm!(
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "movups [rdi + 32 * \\n], xmm\\n",
        ".endr",
        ".set at, 512",
        ".irp r, rax,rbx,rcx,rdx,rbp,rsi,r8,r9,r10,r11,r12,r13,r14,r15",
        "mov [rdi + at], \\r",
        ".set at, at + 8",
        ".endr",
        // The upper halves of the vector registers, where there are any.
        "cmp rsi, 1",
        "jne 2f",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "vmovups [rdi + 32 * \\n], ymm\\n",
        ".endr",
        "2:",
        "mov qword ptr [rdi + {done}], 1",
        "xor edi, edi",
        "mov eax, {exit}",
        "syscall",
        "ud2",
        done = const core::mem::offset_of!(Found, done),
        exit = const Call::ExitThread as u64,
    )
}

fn a_new_thread_begins_with_clear_registers() -> Outcome {
    for _ in 0..20 {
        // Something for the kernel to leave behind.
        hold(&Vectors::pattern(0x77), 0);
        let found = alloc::boxed::Box::new(Found {
            vectors: Vectors::pattern(0x88),
            general: [1; 14],
            done: 0.into(),
        });
        let stack = Memory::new(4096)?.map(Rights::READ | Rights::WRITE)?;
        let avx = u64::from(crate::vectors::has_avx());
        let arguments = ThreadArguments {
            entry: look_around as *const () as u64,
            stack: stack.address() + 4096,
            arguments: [core::ptr::from_ref(&*found) as u64, avx],
            priority: 8,
            ..ThreadArguments::default()
        };
        // SAFETY: the function ends the thread; stack and block live until then.
        let thread = unsafe { own_process().create_thread(&arguments)? };
        equal!(thread.wait(Deadline::NEVER), Ok(ExitStatus::Exited(0)));
        equal!(found.done.load(core::sync::atomic::Ordering::SeqCst), 1);
        let mut vectors = found.vectors;
        if avx == 0 {
            vectors
                .0
                .iter_mut()
                .for_each(|register| register[2..].fill(0));
        }
        equal!(vectors, Vectors::CLEAR);
        let mut general = found.general;
        equal!(general[5], avx, "rsi");
        general[5] = 0;
        equal!(general, [0; 14], "general registers but rdi and rsi");
    }
    Ok(())
}

/// A process with a secret in its registers and an observer share a core. Each of them goes on
/// both after a system call and after an interruption, in all four combinations.
fn no_secret_of_another_process_is_seen() -> Outcome {
    for victim in ["secret-yield", "secret-spin"] {
        for observer_yields in [true, false] {
            let shared = Shared::new()?;
            let child = Victim::new(victim)
                .shared(&shared)
                .with(|c| c.affinity(1).priority(8))
                .spawn()?;
            let observer = move || observe(observer_yields);
            let thread = thread::Builder::new()
                .affinity(1)
                .priority(8)
                .spawn(observer)?;
            shared.wait_for(0, 3)?;
            let seen = thread.join();
            shared.set(1, 1);
            let end = end_of(&child)?;
            check!(
                seen.is_none(),
                "beside {victim} (yields: {observer_yields}): {seen:x?}"
            );
            equal!(
                end.status,
                ExitStatus::Exited(0),
                "{victim}, whose registers were its own"
            );
        }
    }
    Ok(())
}

/// Looks at its own registers for a while; returns what was in them if that was wrong.
fn observe(yields: bool) -> Option<Vectors> {
    let mine = Vectors::pattern(0x0b5e);
    for _ in 0..if yields { 300 } else { 4 } {
        let (seen, expected) = if yields {
            (across_call(&mine, Call::Yield as u64).0, Vectors::CLEAR)
        } else {
            (hold(&mine, time::tsc() + ticks(2 * TIME_SLICE)), mine)
        };
        if seen != expected {
            return Some(seen);
        }
    }
    None
}

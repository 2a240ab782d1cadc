//! The short way back into a system call in which a thread waits, with the result in registers.
//!
//! The fast paths know that the thread left by a system call and what that returns, so neither is
//! looked up in the saved state, nor written there.

use core::{arch::asm, mem::offset_of};

use spillway_abi::service::Message;

use super::{
    context::{Context, INITIAL_VECTOR_STATE, MXCSR, PRESENT, RESUME, Registers, Resume, VECTORS},
    cpu,
};

/// Saves what a thread that leaves by a system call keeps of its vector state, as
/// `entry::leave_by_call`.
///
/// # Safety
///
/// The context must be that of this core's running thread, which is in a system call.
#[inline(always)]
pub unsafe fn leave(context: *mut Context) {
    // SAFETY: the context is the running thread's, so it can be written.
    unsafe {
        asm!(
            "mov qword ptr [{context} + {resume}], {call}",
            "mov qword ptr [{context} + {present}], 0",
            "fnstcw [{context} + {vectors}]",
            "stmxcsr [{context} + {mxcsr}]",
            context = in(reg) context,
            resume = const RESUME,
            call = const Resume::Call as u64,
            present = const PRESENT,
            vectors = const VECTORS,
            mxcsr = const MXCSR,
            options(nostack, preserves_flags),
        );
    }
}

/// Jumps into the program: the vector state is initial but for the control words, `rcx` is the
/// context, and `r11` goes into `rdx`; the further instructions set what differs.
macro_rules! go_on {
    ([$($set:literal,)*] $($operands:tt)*) => {
        asm!(
            "cmp byte ptr [rip + {has_xsave}], 0",
            "je 3f",
            "mov eax, -1",
            "mov edx, eax",
            "xrstor64 [rcx + {vectors}]",
            "2:",
            "fldcw [rcx + {vectors}]",
            "mov rdx, r11",
            "xor eax, eax",
            "mov rbx, [rcx + {rbx}]",
            "mov rbp, [rcx + {rbp}]",
            "mov r13, [rcx + {r13}]",
            "mov r14, [rcx + {r14}]",
            "mov r15, [rcx + {r15}]",
            "mov rsp, [rcx + {rsp_}]",
            "mov r11, [rcx + {rflags}]",
            $($set,)*
            "mov rcx, [rcx + {rip}]",
            "swapgs",
            "sysretq",
            "3:",
            "fxrstor64 [rip + {initial}]",
            "ldmxcsr [rcx + {mxcsr}]",
            "jmp 2b",
            has_xsave = sym cpu::HAS_XSAVE,
            initial = sym INITIAL_VECTOR_STATE,
            vectors = const VECTORS,
            mxcsr = const MXCSR,
            rip = const offset_of!(Registers, rip),
            rflags = const offset_of!(Registers, rflags),
            rsp_ = const offset_of!(Registers, rsp),
            rbx = const offset_of!(Registers, rbx),
            rbp = const offset_of!(Registers, rbp),
            r13 = const offset_of!(Registers, r13),
            r14 = const offset_of!(Registers, r14),
            r15 = const offset_of!(Registers, r15),
            $($operands)*
            options(noreturn),
        )
    };
}

/// Goes on with a thread that waits in a system call: it returns a value.
///
/// # Safety
///
/// As for `entry::resume`; and the thread must have left by [`leave`], or by
/// `entry::leave_by_call`.
#[inline(always)]
pub unsafe fn with_value(context: *mut Context, value: u64) -> ! {
    // SAFETY: the caller's promise is what the code needs; the kernel stack is simply left. Every
    // register is loaded from the context or set, so nothing of the kernel's or of another
    // program's is left in one.
    unsafe {
        go_on!(
            [
                "mov r12, [rcx + {r12}]",
                "xor edi, edi",
                "xor esi, esi",
                "xor r8d, r8d",
                "xor r9d, r9d",
                "xor r10d, r10d",
            ]
            r12 = const offset_of!(Registers, r12),
            in("rcx") context,
            in("r11") value,
        )
    }
}

/// Goes on with a thread that waits in `Serve`: it returns a message, without a trace id.
///
/// # Safety
///
/// As for [`with_value`].
#[inline(always)]
pub unsafe fn with_message(context: *mut Context, message: &Message) -> ! {
    let [a, b, c] = message.arguments;
    // SAFETY: as in `with_value`; `r12` is where the trace id goes.
    unsafe {
        go_on!(
            ["xor r12d, r12d",]
            in("rcx") context,
            in("r11") message.token.0,
            in("rdi") message.object,
            in("rsi") message.what.0,
            in("r10") a,
            in("r8") b,
            in("r9") c,
        )
    }
}

//! The way into the kernel by `syscall` and the way back to programs.
//!
//! A system call that returns to its caller saves three registers and what a function call
//! preserves, calls one function from a table, clears what the kernel may have left behind and
//! returns. Only when the thread waits is its saved state used.

use core::arch::global_asm;

use x86_64::{
    VirtAddr,
    registers::{
        model_specific::{Efer, EferFlags, LStar, Msr, SFMask, Star},
        rflags::RFlags,
    },
    structures::gdt::SegmentSelector,
};

use super::{
    context::{
        Context, FRAME_TOP, INITIAL_VECTOR_STATE, MXCSR, PRESENT, RESUME, Registers, Resume,
        VECTORS,
    },
    core_data, cpu,
    segments::{KERNEL_CODE, KERNEL_DATA, USER_CODE, USER_DATA},
};
use crate::syscall::CALL_TABLE;

/// IA32_TSC_AUX (Intel SDM vol. 4, table 2-2): what `rdtscp` returns in `ecx`.
const TSC_AUX: u32 = 0xc000_0103;

// One way in for each way to clear the vector registers, so that the choice costs nothing.
macro_rules! system_call_entry {
    ($name:literal, $clear_vectors:literal) => {
        global_asm!(
            concat!(".global ", $name),
            ".balign 64",
            concat!($name, ":"),
            "swapgs",
            "mov gs:[{user_stack}], rsp",
            "mov rsp, gs:[{context}]",
            "mov [rsp + {rip}], rcx",
            "mov [rsp + {rflags}], r11",
            "mov [rsp + {rbx}], rbx",
            "mov [rsp + {rbp}], rbp",
            "mov [rsp + {r12}], r12",
            "mov [rsp + {r13}], r13",
            "mov [rsp + {r14}], r14",
            "mov [rsp + {r15}], r15",
            "mov rcx, gs:[{user_stack}]",
            "mov [rsp + {rsp_}], rcx",
            "mov rsp, gs:[{kernel_stack}]",
            "inc qword ptr gs:[{system_calls}]",
            "mov rcx, r10",
            "cmp rax, {calls}",
            "jae 3f",
            "call [rax * 8 + {table}]",
            // The same thread goes on: rax and rdx have the result, and the registers that a
            // call preserves still have their values.
            "2:",
            "cmp byte ptr gs:[{reschedule}], 0",
            "jne system_call_reschedule",
            "mov rdi, gs:[{context}]",
            "mov rcx, [rdi + {rip}]",
            "mov r11, [rdi + {rflags}]",
            "mov rsp, [rdi + {rsp_}]",
            $clear_vectors,
            "xor edi, edi",
            "xor esi, esi",
            "xor r8d, r8d",
            "xor r9d, r9d",
            "xor r10d, r10d",
            "swapgs",
            "sysretq",
            "3:",
            "call {unknown}",
            "jmp 2b",
            user_stack = const core_data::USER_STACK,
            context = const core_data::CONTEXT,
            kernel_stack = const core_data::KERNEL_STACK,
            system_calls = const core_data::SYSTEM_CALLS,
            reschedule = const core_data::RESCHEDULE,
            rip = const core::mem::offset_of!(Registers, rip),
            rflags = const core::mem::offset_of!(Registers, rflags),
            rsp_ = const core::mem::offset_of!(Registers, rsp),
            rbx = const core::mem::offset_of!(Registers, rbx),
            rbp = const core::mem::offset_of!(Registers, rbp),
            r12 = const core::mem::offset_of!(Registers, r12),
            r13 = const core::mem::offset_of!(Registers, r13),
            r14 = const core::mem::offset_of!(Registers, r14),
            r15 = const core::mem::offset_of!(Registers, r15),
            calls = const spillway_abi::call::CALL_COUNT,
            table = sym CALL_TABLE,
            unknown = sym crate::syscall::unknown_call,
        );
    };
}

system_call_entry!("system_call_entry_avx", "vzeroall");
system_call_entry!(
    "system_call_entry_sse",
    "xorps xmm0, xmm0
     xorps xmm1, xmm1
     xorps xmm2, xmm2
     xorps xmm3, xmm3
     xorps xmm4, xmm4
     xorps xmm5, xmm5
     xorps xmm6, xmm6
     xorps xmm7, xmm7
     xorps xmm8, xmm8
     xorps xmm9, xmm9
     xorps xmm10, xmm10
     xorps xmm11, xmm11
     xorps xmm12, xmm12
     xorps xmm13, xmm13
     xorps xmm14, xmm14
     xorps xmm15, xmm15"
);

global_asm!(
    // The call is done but the thread may have to make room: keep the result and look.
    "system_call_reschedule:",
    "mov rdi, gs:[{context}]",
    "mov [rdi + {rax}], rax",
    "mov [rdi + {rdx}], rdx",
    "call {save_vectors}",
    "call {reschedule}",
    "ud2",
    // Back to the program whose context is in rdi, from the scheduler.
    ".global resume_context",
    ".balign 64",
    "resume_context:",
    "cmp byte ptr [rip + {has_xsave}], 0",
    "je 5f",
    "mov eax, -1",
    "mov edx, -1",
    "xrstor64 [rdi + {vectors}]",
    "cmp qword ptr [rdi + {resume}], {trap}",
    "je 4f",
    "2:",
    "fldcw [rdi + {vectors}]",
    "mov rbx, [rdi + {rbx}]",
    "mov rbp, [rdi + {rbp}]",
    "mov r12, [rdi + {r12}]",
    "mov r13, [rdi + {r13}]",
    "mov r14, [rdi + {r14}]",
    "mov r15, [rdi + {r15}]",
    "mov rax, [rdi + {rax}]",
    "mov rdx, [rdi + {rdx}]",
    "mov rcx, [rdi + {rip}]",
    "mov r11, [rdi + {rflags}]",
    "mov rsp, [rdi + {rsp_}]",
    "cmp qword ptr [rdi + {resume}], {message}",
    "je 3f",
    "xor edi, edi",
    "xor esi, esi",
    "xor r8d, r8d",
    "xor r9d, r9d",
    "xor r10d, r10d",
    "swapgs",
    "sysretq",
    "3:",
    "mov rsi, [rdi + {rsi}]",
    "mov r8, [rdi + {r8}]",
    "mov r9, [rdi + {r9}]",
    "mov r10, [rdi + {r10}]",
    "mov rdi, [rdi + {rdi}]",
    "swapgs",
    "sysretq",
    "4:",
    "mov rsp, rdi",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rdi",
    "pop rsi",
    "pop rbp",
    "pop rbx",
    "pop rdx",
    "pop rcx",
    "pop rax",
    "add rsp, 16",
    "swapgs",
    "iretq",
    // Without xsave: a trapped thread's area is complete; after a call, start from a clean one.
    "5:",
    "cmp qword ptr [rdi + {resume}], {trap}",
    "jne 6f",
    "fxrstor64 [rdi + {vectors}]",
    "jmp 4b",
    "6:",
    "fxrstor64 [rip + {initial}]",
    "ldmxcsr [rdi + {mxcsr}]",
    "jmp 2b",
    context = const core_data::CONTEXT,
    rax = const core::mem::offset_of!(Registers, rax),
    rdx = const core::mem::offset_of!(Registers, rdx),
    rip = const core::mem::offset_of!(Registers, rip),
    rflags = const core::mem::offset_of!(Registers, rflags),
    rsp_ = const core::mem::offset_of!(Registers, rsp),
    rbx = const core::mem::offset_of!(Registers, rbx),
    rbp = const core::mem::offset_of!(Registers, rbp),
    r12 = const core::mem::offset_of!(Registers, r12),
    r13 = const core::mem::offset_of!(Registers, r13),
    r14 = const core::mem::offset_of!(Registers, r14),
    r15 = const core::mem::offset_of!(Registers, r15),
    vectors = const VECTORS,
    mxcsr = const MXCSR,
    resume = const RESUME,
    rdi = const core::mem::offset_of!(Registers, rdi),
    rsi = const core::mem::offset_of!(Registers, rsi),
    r8 = const core::mem::offset_of!(Registers, r8),
    r9 = const core::mem::offset_of!(Registers, r9),
    r10 = const core::mem::offset_of!(Registers, r10),
    trap = const Resume::Trap as u64,
    message = const Resume::Message as u64,
    has_xsave = sym cpu::HAS_XSAVE,
    initial = sym INITIAL_VECTOR_STATE,
    save_vectors = sym save_call_vectors,
    reschedule = sym crate::sched::reschedule_after_call,
);

const _: () = assert!(FRAME_TOP == size_of::<Registers>());

// What a thread that leaves by a system call keeps of its vector state is the control words: the
// rest is in its initial state when it comes back.
global_asm!(
    ".global save_call_vectors",
    "save_call_vectors:",
    "mov rdi, gs:[{context}]",
    "mov qword ptr [rdi + {resume}], {call}",
    "mov qword ptr [rdi + {present}], 0",
    "fnstcw [rdi + {vectors}]",
    "stmxcsr [rdi + {mxcsr}]",
    "ret",
    context = const core_data::CONTEXT,
    resume = const RESUME,
    call = const Resume::Call as u64,
    present = const PRESENT,
    vectors = const VECTORS,
    mxcsr = const MXCSR,
);

unsafe extern "C" {
    fn system_call_entry_avx();
    fn system_call_entry_sse();
    fn resume_context(context: *mut Context) -> !;
    /// Marks the running thread as having left by a system call and keeps its control words.
    safe fn save_call_vectors();
}

/// Says that the running thread, which is in a system call, will not return directly: its
/// context is what it goes on from.
#[inline]
pub fn leave_by_call() {
    save_call_vectors();
}

/// Goes on with a thread's program.
///
/// # Safety
///
/// The context must be that of this core's running thread, not be running elsewhere, and its
/// address space must be loaded.
#[inline]
pub unsafe fn resume(context: *mut Context) -> ! {
    // SAFETY: the caller's promise is what the code needs; the kernel stack is simply left.
    unsafe { resume_context(context) }
}

/// Makes `syscall` on this core lead here.
pub fn enable_system_calls(index: usize) {
    let selector = |raw: u16| SegmentSelector(raw);
    let entry: unsafe extern "C" fn() = if cpu::features().avx {
        system_call_entry_avx
    } else {
        system_call_entry_sse
    };
    Star::write(
        selector(USER_CODE),
        selector(USER_DATA),
        selector(KERNEL_CODE),
        selector(KERNEL_DATA),
    )
    .expect("the selectors are in the order that syscall prescribes");
    LStar::write(VirtAddr::new(entry as usize as u64));
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::TRAP_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::ALIGNMENT_CHECK
            | RFlags::NESTED_TASK
            | RFlags::RESUME_FLAG,
    );
    // SAFETY: system calls lead to the entry above, whose data `install` has set up; the other
    // register exists with `rdtscp`, which the start insists on, and only names the core.
    unsafe {
        Efer::update(|flags| flags.insert(EferFlags::SYSTEM_CALL_EXTENSIONS));
        Msr::new(TSC_AUX).write(index as u64);
    }
}

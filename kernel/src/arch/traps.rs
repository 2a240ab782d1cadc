//! Exceptions and interrupts, from programs and from the kernel.
//!
//! A trap from a program saves everything in the thread's context and then runs on the core's
//! kernel stack. The kernel itself is interrupted only where it waits ([`super::halt`]), and it
//! faults only in [`super::user_copy`]; anything else there is a bug and ends in a panic.
//! Non-maskable interrupt, machine check, double fault and debug can strike between any two
//! instructions, also with a program's `gs` in the kernel, so they have stacks of their own and
//! find the core through them.

use core::{arch::global_asm, mem::offset_of};

use spillway_abi::{Fault, counters::Counter};
use spin::Once;
use x86_64::{VirtAddr, registers::control::Cr2, structures::idt::InterruptDescriptorTable};

use super::{
    context::{RESUME, Registers, Resume, VECTORS},
    core, core_data, cpu, halt,
    segments::ExceptionStack,
    shootdown, user_copy,
};
use crate::{
    iommu, kernel,
    memory::stacks::EXCEPTION_STACK_SIZE,
    object::{interrupt::arrived, process},
    platform::{apic, panic, vectors},
    sched,
};

global_asm!(
    // Sixteen bytes per vector, so that an address follows from a number. The processor pushes
    // an error code for vectors 8, 10 to 14, 17, 21, 29 and 30 (SDM vol. 3, 6.13).
    ".balign 16",
    ".global trap_stubs",
    "trap_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    ".if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30",
    "push vector",
    ".else",
    "push 0",
    "push vector",
    ".endif",
    ".if vector == 1 || vector == 2 || vector == 8 || vector == 18",
    "jmp anywhere_trap",
    ".else",
    "jmp trap",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    "trap:",
    "test byte ptr [rsp + 24], 3",
    "jz 2f",
    // From a program: rsp is in the thread's context.
    "push rax",
    "push rcx",
    "push rdx",
    "push rbx",
    "push rbp",
    "push rsi",
    "push rdi",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "swapgs",
    // The program may have set AC, which would let the kernel reach its memory.
    "cmp byte ptr [rip + {has_smap}], 0",
    "je 6f",
    "clac",
    "6:",
    "mov qword ptr [rsp + {resume}], {by_trap}",
    "cmp byte ptr [rip + {has_xsave}], 0",
    "je 3f",
    "mov eax, -1",
    "mov edx, -1",
    "xsave64 [rsp + {vectors}]",
    "jmp 4f",
    "3:",
    "fxsave64 [rsp + {vectors}]",
    "4:",
    "mov rdi, rsp",
    "mov rsp, gs:[{kernel_stack}]",
    "xor ebp, ebp",
    "cld",
    "call {program_trap}",
    "mov rdi, gs:[{context}]",
    "jmp resume_context",
    // From the kernel: the vector registers are nobody's where it waits or copies.
    "2:",
    "push rax",
    "push rcx",
    "push rdx",
    "push rbx",
    "push rbp",
    "push rsi",
    "push rdi",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov rdi, rsp",
    "cld",
    "call {kernel_trap}",
    "jmp 5f",
    "anywhere_trap:",
    "push rax",
    "push rcx",
    "push rdx",
    "push rbx",
    "push rbp",
    "push rsi",
    "push rdi",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    // Whatever gs leads to, make it lead to this core's data, whose address is at the top of
    // the stack; put it back afterwards.
    "mov ecx, 0xc0000101",
    "rdmsr",
    "mov ebx, eax",
    "shl rdx, 32",
    "or rbx, rdx",
    "mov rax, rsp",
    "or rax, {stack_size} - 1",
    "mov rax, [rax - 15]",
    "mov rdx, rax",
    "shr rdx, 32",
    "wrmsr",
    "cmp byte ptr [rip + {has_smap}], 0",
    "je 7f",
    "clac",
    "7:",
    "mov rbp, rsp",
    "sub rsp, 512",
    "fxsave64 [rsp]",
    "mov rdi, rbp",
    "cld",
    "call {anywhere_trap}",
    "fxrstor64 [rsp]",
    "mov rsp, rbp",
    "mov eax, ebx",
    "mov rdx, rbx",
    "shr rdx, 32",
    "mov ecx, 0xc0000101",
    "wrmsr",
    "5:",
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
    "iretq",
    // A debug exception of a program, on the exception's stack with the kernel's gs: go on as
    // for any other exception, on the kernel stack.
    ".global debug_from_program",
    "debug_from_program:",
    "mov rsp, gs:[{kernel_stack}]",
    "xor ebp, ebp",
    "call {debug_in_program}",
    "ud2",
    resume = const RESUME,
    by_trap = const Resume::Trap as u64,
    vectors = const VECTORS,
    has_xsave = sym cpu::HAS_XSAVE,
    has_smap = sym cpu::HAS_SMAP,
    kernel_stack = const core_data::KERNEL_STACK,
    context = const core_data::CONTEXT,
    stack_size = const EXCEPTION_STACK_SIZE,
    program_trap = sym program_trap,
    kernel_trap = sym kernel_trap,
    anywhere_trap = sym anywhere_trap,
    debug_in_program = sym debug_in_program,
);

unsafe extern "C" {
    static trap_stubs: u8;
    fn debug_from_program() -> !;
}

const NMI: u64 = 2;
const DEBUG: u64 = 1;
const PAGE_FAULT: u64 = 14;
const PROTECTION: u64 = 13;

// The stub's test reads the code segment three words above the vector.
const _: () = assert!(offset_of!(Registers, cs) - offset_of!(Registers, vector) == 24);

static TABLE: Once<InterruptDescriptorTable> = Once::new();

/// Loads the interrupt table on this core, building it on the first.
pub fn load() {
    TABLE.call_once(build).load();
}

fn build() -> InterruptDescriptorTable {
    let mut table = InterruptDescriptorTable::new();
    let stub = |vector: u64| VirtAddr::from_ptr(&raw const trap_stubs) + vector * 16;
    // SAFETY: the stubs follow the processor's convention for their vectors, and the stack
    // indices are those for which `segments::load` filled the task segment.
    unsafe {
        table.divide_error.set_handler_addr(stub(0));
        table
            .debug
            .set_handler_addr(stub(1))
            .set_stack_index(ExceptionStack::Debug as u16);
        table
            .non_maskable_interrupt
            .set_handler_addr(stub(2))
            .set_stack_index(ExceptionStack::Nmi as u16);
        // Programs may use `int3`; the other software interrupts are refused to them.
        table
            .breakpoint
            .set_handler_addr(stub(3))
            .set_privilege_level(x86_64::PrivilegeLevel::Ring3);
        table.overflow.set_handler_addr(stub(4));
        table.bound_range_exceeded.set_handler_addr(stub(5));
        table.invalid_opcode.set_handler_addr(stub(6));
        table.device_not_available.set_handler_addr(stub(7));
        table
            .double_fault
            .set_handler_addr(stub(8))
            .set_stack_index(ExceptionStack::DoubleFault as u16);
        table.invalid_tss.set_handler_addr(stub(10));
        table.segment_not_present.set_handler_addr(stub(11));
        table.stack_segment_fault.set_handler_addr(stub(12));
        table.general_protection_fault.set_handler_addr(stub(13));
        table.page_fault.set_handler_addr(stub(14));
        table.x87_floating_point.set_handler_addr(stub(16));
        table.alignment_check.set_handler_addr(stub(17));
        table
            .machine_check
            .set_handler_addr(stub(18))
            .set_stack_index(ExceptionStack::MachineCheck as u16);
        table.simd_floating_point.set_handler_addr(stub(19));
        table.virtualization.set_handler_addr(stub(20));
        for vector in 32..=255u8 {
            table[vector].set_handler_addr(stub(vector as u64));
        }
    }
    table
}

/// A trap from a program; `registers` are in its thread's context.
extern "C" fn program_trap(registers: &Registers) {
    if registers.vector < 32 {
        exception(registers);
    }
    interrupt(registers.vector as u8);
    if core().must_reschedule() {
        sched::reschedule_after_trap();
    }
}

/// A trap from the kernel itself.
extern "C" fn kernel_trap(registers: &mut Registers) {
    if registers.vector >= 32 {
        interrupt(registers.vector as u8);
    } else if let (PAGE_FAULT | PROTECTION, Some(recovery)) =
        (registers.vector, user_copy::recovery(registers.rip))
    {
        registers.rip = recovery;
    } else {
        fatal(registers);
    }
}

/// One of the exceptions that can strike anywhere.
extern "C" fn anywhere_trap(registers: &Registers) {
    match registers.vector {
        NMI => {
            if panic::is_panicking() {
                halt::forever();
            }
            // Nothing is logged: this core may be in the middle of a line.
            core().count_here(Counter::Interrupts, 1);
        }
        DEBUG if registers.cs & 3 == 3 => {
            // SAFETY: leaves the exception's stack for good: the program ends or the kernel
            // panics. `gs` leads to this core's data, as the code expects.
            unsafe { debug_from_program() }
        }
        // A debug register or a single step that took effect on the way into the kernel, where
        // the flag is cleared: nothing to do.
        DEBUG => {}
        _ => fatal(registers),
    }
}

/// A program single-stepped or hit a debug register, and nobody debugs it.
extern "C" fn debug_in_program() -> ! {
    // `swapgs` did not happen on the way in, so the program's value must be set by hand.
    x86_64::registers::model_specific::KernelGsBase::write(VirtAddr::zero());
    core().count(Counter::Faults, 1);
    process::fault_current(Fault::Breakpoint, 0, 0, 0)
}

fn interrupt(vector: u8) {
    let core = core();
    core.count(Counter::Interrupts, 1);
    match vector {
        vectors::TIMER => {
            apic::end_of_interrupt();
            core.timer_at.set(u64::MAX);
            iommu::on_timer();
            core.set_reschedule(true);
        }
        vectors::RESCHEDULE => {
            apic::end_of_interrupt();
            core.set_reschedule(true);
        }
        vectors::SHOOTDOWN => {
            apic::end_of_interrupt();
            shootdown::answer();
        }
        vectors::IOMMU_FAULT => {
            apic::end_of_interrupt();
            iommu::on_fault_interrupt();
        }
        // A message asked for this vector: nobody should be able to.
        vectors::SPURIOUS if apic::is_in_service(vectors::SPURIOUS) => {
            apic::end_of_interrupt();
            core.count_here(Counter::SpuriousInterrupts, 1);
        }
        // Spurious interrupts are not acknowledged (SDM vol. 3, 11.9).
        vectors::SPURIOUS => {}
        other => {
            apic::end_of_interrupt();
            arrived(&mut kernel::lock(), other);
        }
    }
}

/// The processor refused an instruction of a program: its process ends.
fn exception(registers: &Registers) -> ! {
    cpu::assert_clean_flags();
    core().count(Counter::Faults, 1);
    let address = if registers.vector == PAGE_FAULT {
        Cr2::read_raw()
    } else {
        0
    };
    let fault = match registers.vector {
        0 | 4 | 5 => Fault::Divide,
        1 | 3 => Fault::Breakpoint,
        6 => Fault::InvalidInstruction,
        10..=13 => Fault::Protection,
        14 => Fault::Page,
        16 | 19 => Fault::FloatingPoint,
        17 => Fault::Alignment,
        _ => Fault::Other,
    };
    process::fault_current(fault, registers.rip, address, registers.rsp)
}

/// An exception that the kernel did not expect of itself.
fn fatal(registers: &Registers) -> ! {
    panic::fatal(
        format_args!(
            "{} in the kernel: error code {:#x}, address {:#x}, stack {:#x}",
            describe(registers.vector),
            registers.error,
            Cr2::read_raw(),
            registers.rsp,
        ),
        registers.rip,
        registers.rbp,
    )
}

fn describe(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug exception",
        6 => "invalid instruction",
        8 => "double fault, most likely a kernel stack overflow",
        13 => "general protection fault",
        14 => "page fault",
        18 => "machine check",
        _ => "exception",
    }
}

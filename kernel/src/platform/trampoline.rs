//! The first instructions of a core that is started: from real mode to the kernel.
//!
//! The code is copied to a page below 1 MiB, where the core begins in 16-bit real mode with `cs`
//! at that page. It goes straight to 64-bit mode, takes its start from the [`Mailbox`] and jumps.
//! It does not write to its page. The processor allows Rust code when it gets there: SSE is on.

use core::{
    arch::global_asm,
    mem::offset_of,
    sync::atomic::{AtomicU64, Ordering},
};

use x86_64::registers::{
    control::{Cr0Flags, Cr4Flags},
    model_specific::{Efer, EferFlags},
};

use crate::memory;

/// Where [`Parameters`] lie in the page, behind the code.
const PARAMETERS: usize = 2048;
/// The selector of the only segment.
const CODE_SELECTOR: u16 = 8;
/// A 64-bit code segment of ring 0 (Intel SDM volume 3, figure 5-1 and section 5.2.1).
const CODE_SEGMENT: u64 = 0x00af_9b00_0000_ffff;
/// The number of the EFER register (AMD64 APM volume 2, section 3.1.7).
const EFER: u32 = 0xc000_0080;

/// What the real-mode code reads from its own page.
#[repr(C)]
struct Parameters {
    gdt: [u64; 2],
    mailbox: u64,
    cr0: u32,
    cr3: u32,
    cr4: u32,
    efer: u32,
    // The operand of a far jump.
    long_mode: u32,
    selector: u16,
    // The operand of `lgdt`.
    gdt_limit: u16,
    gdt_base: u32,
}

const _: () = assert!(offset_of!(Parameters, gdt_base) == offset_of!(Parameters, gdt_limit) + 2);
const _: () = assert!(offset_of!(Parameters, selector) == offset_of!(Parameters, long_mode) + 4);

/// What a core is given when it starts, and what it says when it has taken it.
#[derive(Debug)]
#[repr(C)]
pub struct Mailbox {
    /// The address to jump to. The core exchanges it for 0, so that exactly one core starts.
    pub entry: AtomicU64,
    /// The top of its stack.
    pub stack_top: AtomicU64,
    /// The first argument of the entry.
    pub argument: AtomicU64,
    /// Its time-stamp counter when it had read everything; 0 until then.
    pub arrived: AtomicU64,
}

/// There is one: cores start one after another.
pub static MAILBOX: Mailbox = Mailbox {
    entry: AtomicU64::new(0),
    stack_top: AtomicU64::new(0),
    argument: AtomicU64::new(0),
    arrived: AtomicU64::new(0),
};

global_asm!(
    r#"
    .pushsection .rodata.trampoline, "a", @progbits
    .balign 16
    .code16
.global trampoline_start
trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    xorl %ebx, %ebx
    movw %ax, %bx
    shll $4, %ebx                       # the address of this page, for later
    lgdtl ({parameters} + {gdt_limit})
    movl ({parameters} + {cr4}), %eax
    movl %eax, %cr4
    movl ({parameters} + {cr3}), %eax
    movl %eax, %cr3
    movl ${efer_number}, %ecx
    movl ({parameters} + {efer}), %eax
    xorl %edx, %edx
    wrmsr
    movl ({parameters} + {cr0}), %eax
    movl %eax, %cr0
    ljmpl *({parameters} + {long_mode})

    .code64
.global trampoline_long
trampoline_long:
    xorl %eax, %eax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movq ({parameters} + {mailbox})(%rbx), %rcx
    xorl %esi, %esi
    xchgq %rsi, {entry}(%rcx)
    testq %rsi, %rsi
    jz 2f
    movq {stack_top}(%rcx), %rsp
    movq {argument}(%rcx), %rdi
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    orq $1, %rax
    movq %rax, {arrived}(%rcx)
    xorl %ebp, %ebp                     # the end for backtraces
    pushq $0
    jmpq *%rsi
2:
    cli
    hlt
    jmp 2b
.global trampoline_end
trampoline_end:
    .popsection
    "#,
    parameters = const PARAMETERS,
    gdt_limit = const offset_of!(Parameters, gdt_limit),
    cr0 = const offset_of!(Parameters, cr0),
    cr3 = const offset_of!(Parameters, cr3),
    cr4 = const offset_of!(Parameters, cr4),
    efer = const offset_of!(Parameters, efer),
    efer_number = const EFER,
    long_mode = const offset_of!(Parameters, long_mode),
    mailbox = const offset_of!(Parameters, mailbox),
    entry = const offset_of!(Mailbox, entry),
    stack_top = const offset_of!(Mailbox, stack_top),
    argument = const offset_of!(Mailbox, argument),
    arrived = const offset_of!(Mailbox, arrived),
    options(att_syntax),
);

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_long: u8;
    static trampoline_end: u8;
}

/// The page with the code, in place.
#[derive(Debug)]
pub struct Trampoline {
    /// Its physical address, below 1 MiB.
    page: u32,
}

impl Trampoline {
    /// Copies the code to a frame below 1 MiB; `None` if there is no such frame.
    pub fn place() -> Option<Self> {
        let page = u32::try_from(memory::allocate_low_frame()?).ok()?;
        let start = &raw const trampoline_start;
        let length = (&raw const trampoline_end as usize) - start as usize;
        if page >= 1 << 20 || !page.is_multiple_of(4096) || length > PARAMETERS {
            return None;
        }
        // SAFETY: the frame was just allocated for this, is mapped in the direct map, and the
        // code fits before the parameters. The labels enclose the code.
        unsafe { start.copy_to_nonoverlapping(memory::phys_to_virt(page.into()), length) };
        Some(Self { page })
    }

    /// The number of the page, for the start-up interrupt.
    pub fn number(&self) -> u8 {
        (self.page >> 12) as u8
    }

    /// Says with which page tables the next core begins. They must map the page at its physical
    /// address, executable, and the kernel.
    pub fn set_tables(&self, cr3: u32) {
        let cr0 = Cr0Flags::PROTECTED_MODE_ENABLE
            | Cr0Flags::MONITOR_COPROCESSOR
            | Cr0Flags::EXTENSION_TYPE
            | Cr0Flags::NUMERIC_ERROR
            | Cr0Flags::WRITE_PROTECT
            | Cr0Flags::PAGING;
        let cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
            | Cr4Flags::PAGE_GLOBAL
            | Cr4Flags::OSFXSR
            | Cr4Flags::OSXMMEXCPT_ENABLE;
        let efer = EferFlags::LONG_MODE_ENABLE | (Efer::read() & EferFlags::NO_EXECUTE_ENABLE);
        let long = (&raw const trampoline_long as usize) - (&raw const trampoline_start as usize);
        let parameters = Parameters {
            gdt: [0, CODE_SEGMENT],
            mailbox: (&raw const MAILBOX).addr() as u64,
            cr0: cr0.bits() as u32,
            cr3,
            cr4: cr4.bits() as u32,
            efer: efer.bits() as u32,
            long_mode: self.page + long as u32,
            selector: CODE_SELECTOR,
            gdt_limit: size_of::<[u64; 2]>() as u16 - 1,
            gdt_base: self.page + (PARAMETERS + offset_of!(Parameters, gdt)) as u32,
        };
        let page = memory::phys_to_virt(self.page.into());
        // SAFETY: the page belongs to the trampoline, and no core runs in it: those that were
        // started have left it, or were put back into the state that waits for a start.
        unsafe {
            page.byte_add(PARAMETERS)
                .cast::<Parameters>()
                .write(parameters)
        };
    }
}

impl Mailbox {
    /// Puts a start in. The core that runs into it next takes it.
    pub fn fill(&self, entry: u64, stack_top: u64, argument: u64) {
        self.stack_top.store(stack_top, Ordering::Relaxed);
        self.argument.store(argument, Ordering::Relaxed);
        self.arrived.store(0, Ordering::Relaxed);
        self.entry.store(entry, Ordering::Release);
    }

    /// The time-stamp counter of the core that took the start, if one did.
    pub fn arrived(&self) -> Option<u64> {
        Some(self.arrived.load(Ordering::Acquire)).filter(|&tsc| tsc != 0)
    }

    /// Takes the start back; says false if a core has it already.
    pub fn take_back(&self) -> bool {
        self.entry.swap(0, Ordering::AcqRel) != 0
    }
}

//! Victims that do what the processor refuses. Each writes down first where the instruction is
//! and what address it reaches for, so that the test can compare.

use core::arch::asm;

use driver_sdk::{abi::layout, prelude::*};

use crate::child::Shared;

/// The slots of the shared page.
pub const INSTRUCTION: usize = 0;
pub const ADDRESS: usize = 1;

/// Runs one instruction (or a few, of which the last faults) after its address was written to
/// the first slot.
macro_rules! fault {
    ($shared:expr, $($instruction:literal),+ $(; $($operand:tt)*)?) => {{
        let slot = $shared.slots()[INSTRUCTION].as_ptr();
        // SAFETY: the instruction is meant to end this process; nothing runs after it.
        unsafe {
            asm!(
                "lea r11, [rip + 2f]",
                "mov [r10], r11",
                "2:",
                $($instruction,)+
                in("r10") slot,
                out("r11") _,
                $($($operand)*)?
            )
        }
    }};
}

/// Provokes the fault of this name; returns only if there is none, or no such name.
pub fn provoke(kind: &str) -> bool {
    let shared = Shared::given();
    match kind {
        "null-read" => read(&shared, 8),
        "kernel-read" => read(&shared, 0xffff_8000_0000_0000),
        "kernel-text-read" => read(&shared, 0xffff_ffff_8000_0000),
        "kernel-write" => write(&shared, 0xffff_ffff_8000_0000),
        "hole-read" => read(&shared, 0x8000_0000_0000),
        "last-read" => read(&shared, 0xffff_ffff_ffff_fff8),
        "end-read" => read(&shared, layout::USER_END),
        "text-write" => write(&shared, provoke as *const () as u64),
        "constant-write" => write(&shared, core::ptr::from_ref(&CONSTANT) as u64),
        "time-write" => write(&shared, layout::TIME_PAGE),
        "core-line-write" => write(&shared, layout::TIME_PAGE + 4096),
        "data-execute" => execute(&shared, core::ptr::from_ref(&RETURN) as u64),
        "stack-execute" => {
            let code = [0xc3u8; 16];
            execute(&shared, code.as_ptr() as u64);
        }
        "heap-execute" => {
            let code = alloc::vec![0xc3u8; 16];
            execute(&shared, code.as_ptr() as u64);
        }
        "kernel-execute" => execute(&shared, 0xffff_ffff_8000_0000),
        "divide" => fault!(shared, "div {zero:e}"; zero = in(reg) 0, in("rax") 1, in("rdx") 0),
        "invalid" => fault!(shared, "ud2"),
        "halt" => fault!(shared, "hlt"),
        "interrupts-off" => fault!(shared, "cli"),
        "port-in" => fault!(shared, "in al, dx"; in("dx") 0x3f8, out("al") _),
        "port-out" => fault!(shared, "out dx, al"; in("dx") 0x3f8, in("al") 0u8),
        "msr-write" => fault!(
            shared, "wrmsr"; in("ecx") 0xc000_0102u32, in("eax") 0, in("edx") 0
        ),
        "msr-read" => fault!(shared, "rdmsr"; in("ecx") 0xc000_0080u32, out("eax") _, out("edx") _),
        "control-write" => fault!(shared, "mov cr3, {zero}"; zero = in(reg) 0u64),
        "gdt-load" => fault!(shared, "lgdt [rsp]"),
        "gdt-store" => fault!(shared, "sgdt [rsp - 64]"),
        "idt-store" => fault!(shared, "sidt [rsp - 64]"),
        "task-store" => fault!(shared, "str {store:r}"; store = out(reg) _),
        "access-flag" => fault!(
            shared,
            "pushfq",
            "or dword ptr [rsp], 0x40000",
            "popfq",
            "ud2"
        ),
        "direction-flag" => fault!(shared, "std", "ud2"),
        "breakpoint" => fault!(shared, "int3"),
        "software-interrupt" => fault!(shared, "int 0x80"),
        "timer-interrupt" => fault!(shared, "int 0x20"),
        "single-step" => fault!(
            shared,
            "pushfq",
            "or dword ptr [rsp], 0x100",
            "popfq",
            "nop",
            "nop"
        ),
        "float" => {
            // The control word with division by zero unmasked (Intel SDM vol. 1, 8.1.5). The old
            // unit is used because not every emulator raises the exceptions of the new one.
            let control = 0x37fu16 & !(1 << 2);
            // SAFETY: only the fault that this victim is about comes of it.
            unsafe { asm!("fldcw [{}]", "fldz", "fld1", "fdivrp st(1), st", in(reg) &control) };
            fault!(shared, "fwait");
        }
        "bad-return" => fault!(shared, "mov rsp, {odd}", "iretq"; odd = in(reg) shared.slots()),
        "stack-overflow" => overflow(&shared),
        "thread-stack-overflow" => {
            thread::spawn(|| overflow(&Shared::given())).join();
        }
        _ => return false,
    }
    println!("{kind}: nothing happened");
    true
}

static CONSTANT: [u8; 16] = [7; 16];
/// Writable data with a `ret` in it. (The cell keeps it out of the read-only data.)
static RETURN: core::sync::atomic::AtomicU8 = core::sync::atomic::AtomicU8::new(0xc3);

fn read(shared: &Shared, address: u64) {
    shared.set(ADDRESS, address);
    fault!(shared, "mov {value}, [{address}]"; value = out(reg) _, address = in(reg) address);
}

fn write(shared: &Shared, address: u64) {
    shared.set(ADDRESS, address);
    fault!(shared, "mov byte ptr [{address}], 1"; address = in(reg) address);
}

/// The fault comes at the target itself.
fn execute(shared: &Shared, address: u64) {
    shared.set(ADDRESS, address);
    shared.set(INSTRUCTION, address);
    // SAFETY: if it should be possible, a `ret` is there.
    unsafe { asm!("call {}", in(reg) address, clobber_abi("sysv64")) };
}

/// Recursion without end.
fn overflow(shared: &Shared) {
    let here = 0u8;
    shared.set(ADDRESS, core::ptr::from_ref(&here) as u64);
    recurse(0);
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 32]);
    if depth == u64::MAX {
        return 0;
    }
    recurse(depth + 1) + frame[7]
}

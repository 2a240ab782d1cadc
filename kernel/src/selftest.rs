//! Provoking the kernel's own protections, which no program can do: `selftest=NAME` at boot.
//!
//! Where the protection holds the processor refuses, and the kernel panics: that is the good end.
//! Otherwise a line says that it is not enforced, and the machine ends with a failure.

use core::{arch::asm, hint::black_box, sync::atomic::AtomicU8};

use alloc::sync::Arc;
use spillway_abi::{PAGE_SIZE, Rights, layout};
use spillway_bootinfo::{BootInfo, DIRECT_MAP, Segment};
use spillway_kernel_core::options::SelfTest;
use x86_64::PhysAddr;

use crate::{
    arch, first, kernel,
    memory::{paging, stacks::KERNEL_STACK_SIZE},
    object::Process,
    platform::power,
};

/// Where the program's page for the tests is; nothing else is there in a program that has not run.
const USER_PAGE: u64 = layout::MAP_END - PAGE_SIZE;
/// The instruction `ret`.
const RETURN: u8 = 0xc3;

/// Provokes one protection, on the first core, with the first program's address space loaded and
/// the loader's page tables still whole.
pub fn run(test: SelfTest, init: &Arc<Process>, boot: &BootInfo) -> ! {
    log::info!("self-test: {test:?}");
    match test {
        SelfTest::Smap => {
            let page = user_page(init);
            // SAFETY: a page of a program that holds one byte, read to provoke a fault.
            black_box(unsafe { (page as *const u8).read_volatile() });
        }
        SelfTest::Smep => call(user_page(init)),
        SelfTest::Text => write(text_address()),
        SelfTest::TextAlias => write(DIRECT_MAP + text_frame(boot)),
        SelfTest::TextIdentity => {
            paging::load(PhysAddr::new(boot.page_table));
            write(text_frame(boot));
        }
        SelfTest::Exec => {
            static DATA: AtomicU8 = AtomicU8::new(RETURN);
            call(DATA.as_ptr() as u64);
        }
        SelfTest::ExecAlias => call(DIRECT_MAP + text_frame(boot)),
        SelfTest::Stack => overflow(),
        SelfTest::Panic => outer(),
    }
    not_enforced()
}

extern "C" fn not_enforced() -> ! {
    log::error!("self-test: not enforced");
    power::exit(power::Outcome::Failure)
}

/// Gives the first program a page with a `ret` in it, and loads its address space.
fn user_page(init: &Arc<Process>) -> u64 {
    let access = Rights::READ | Rights::EXECUTE;
    let memory = first::memory_with(init, PAGE_SIZE, &[RETURN]);
    memory
        .and_then(|memory| first::map(&mut kernel::lock(), init, memory, USER_PAGE, access))
        .expect("the first program has room for a page");
    init.space.enter(arch::core());
    USER_PAGE
}

/// Does nothing, and so may be called and written over with itself.
#[unsafe(naked)]
extern "C" fn nothing() {
    core::arch::naked_asm!("ret")
}

fn text_address() -> u64 {
    nothing as *const () as u64
}

/// The physical address of [`nothing`].
fn text_frame(boot: &BootInfo) -> u64 {
    let holds = |segment: &&Segment| {
        let end = segment.virtual_start + segment.length;
        (segment.virtual_start..end).contains(&text_address())
    };
    let segment = boot.segments().iter().find(holds);
    let segment = segment.expect("the kernel's text is in a segment");
    segment.physical_start + (text_address() - segment.virtual_start)
}

/// Writes the `ret` at an address over itself.
fn write(address: u64) {
    // SAFETY: a `ret` is there and stays there; the write is meant to fault.
    unsafe { (address as *mut u8).write_volatile(RETURN) }
}

/// Calls the `ret` at an address.
fn call(address: u64) {
    // SAFETY: a `ret` is there; the call is meant to fault.
    unsafe { asm!("call {}", in(reg) address, clobber_abi("C")) }
}

/// Recurses without end on this core's kernel stack.
fn overflow() -> ! {
    let top = arch::core().kernel_stack();
    // SAFETY: the stack is this core's own and empty, and nothing on the old one is used again.
    unsafe {
        asm!(
            "mov rsp, {top}",
            "xor ebp, ebp",
            "call {deepen}",
            "ud2",
            top = in(reg) top,
            deepen = sym deepen,
            in("rdi") top - KERNEL_STACK_SIZE,
            options(noreturn),
        )
    }
}

/// One frame more, until the processor refuses or the bottom was passed.
#[inline(never)]
extern "C" fn deepen(bottom: u64) -> u64 {
    let frame = black_box([bottom; 16]);
    if (frame.as_ptr() as u64) < bottom {
        // What is down here belongs to somebody else: speak on a fresh stack.
        // SAFETY: nothing on the stack is used again.
        unsafe {
            asm!(
                "mov rsp, {top}",
                "call {not_enforced}",
                "ud2",
                top = in(reg) bottom + KERNEL_STACK_SIZE,
                not_enforced = sym not_enforced,
                options(noreturn),
            )
        }
    }
    deepen(bottom) + frame[7]
}

#[inline(never)]
fn outer() {
    inner(black_box(7));
    black_box(());
}

#[inline(never)]
fn inner(number: u32) {
    if number == 7 {
        panic!("as the command line asked");
    }
}

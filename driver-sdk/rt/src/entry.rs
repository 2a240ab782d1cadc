//! From the first instruction to `main` and back.

use core::fmt::Display;

use spillway_abi::{
    ExitStatus, Handle,
    note::AbiNote,
    startup::{self as names, Startup},
};

use crate::{
    eprintln,
    object::{Log, OwnedHandle, Process},
    startup::{self, Environment},
    syscall,
};

/// The ABI for which the program was built; who loads it checks this first.
#[used]
#[unsafe(link_section = ".note.spillway")]
static ABI_NOTE: AbiNote = AbiNote::CURRENT;

unsafe extern "C" {
    /// What [`crate::main!`] defines.
    safe fn spillway_main() -> i32;
}

/// The first instruction. `rdi` and `rsi` have the startup block's address and length, the stack
/// is aligned to 16 bytes. The time-stamp counter is read before anything else happens.
///
/// # Safety
///
/// Only for the kernel, as the entry of a process.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    core::arch::naked_asm!(
        "rdtsc",
        "shl rdx, 32",
        "or rdx, rax",
        "mov rcx, rsp",
        // The end of the chain of frames.
        "xor ebp, ebp",
        "call {start}",
        "ud2",
        start = sym start,
    )
}

/// # Safety
///
/// Called once, by the entry, with what the creator of the process passed.
unsafe extern "C" fn start(block: *const u8, length: usize, tsc: u64, stack_top: u64) -> ! {
    // SAFETY: whoever creates a process maps the block there for good; a creator that does not
    // breaks only the process that it made.
    let bytes = unsafe { core::slice::from_raw_parts(block, length) };
    // Without a block there is no log to complain to.
    let Ok(startup) = Startup::parse(bytes) else {
        syscall::exit_process(ExitStatus::PANIC_CODE)
    };
    let handle = |name| startup.handle(name).map(OwnedHandle::new);
    // SAFETY: this is the first thread at its beginning.
    unsafe {
        startup::set(Environment {
            process: Process::from(handle(names::SELF).unwrap_or(OwnedHandle::new(Handle::NULL))),
            log: handle(names::LOG).map(Log::from),
            startup,
            entry_tsc: tsc,
            stack_top,
        });
    }
    syscall::exit_process(spillway_main())
}

/// What `main` may return.
pub trait Termination {
    /// The exit code of the process.
    fn report(self) -> i32;
}

impl Termination for () {
    fn report(self) -> i32 {
        0
    }
}

impl Termination for i32 {
    fn report(self) -> i32 {
        self
    }
}

impl<T: Termination, E: Display> Termination for Result<T, E> {
    fn report(self) -> i32 {
        match self {
            Ok(value) => value.report(),
            Err(error) => {
                eprintln!("error: {error}");
                1
            }
        }
    }
}

/// Names the function that the program runs: `fn()`, or one that returns an exit code (`i32`) or
/// a `Result` whose error can be displayed.
///
/// ```ignore
/// driver_sdk::main!(main);
///
/// fn main() {
///     driver_sdk::println!("Hello.");
/// }
/// ```
#[macro_export]
macro_rules! main {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn spillway_main() -> i32 {
            $crate::entry::Termination::report($main())
        }
    };
}

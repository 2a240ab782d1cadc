//! The panic report: what happened, where, and how the program came there.

use core::{
    panic::PanicInfo,
    sync::atomic::{AtomicBool, Ordering},
};

use spillway_abi::ExitStatus;

use crate::{backtrace, eprintln, syscall};

/// Set by the first panic: a second one, in the report or on another thread, adds nothing.
static PANICKED: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if !PANICKED.swap(true, Ordering::Relaxed) {
        match info.location() {
            Some(location) => eprintln!("panicked at {location}: {}", info.message()),
            None => eprintln!("panicked: {}", info.message()),
        }
        backtrace::print();
    }
    syscall::exit_process(ExitStatus::PANIC_CODE)
}

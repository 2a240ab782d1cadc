//! The kernel found itself wrong: say everything that helps, stop the machine.
//!
//! The first core that panics takes the log, stops the others, reports and ends the machine. A
//! core that panics at the same time stands still. If the report itself fails, one more line
//! tells where.

use core::{
    fmt::{Arguments, Write},
    panic::{Location, PanicInfo},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{
    backtrace,
    log::panic_writer,
    power::{self, Outcome},
    smp,
};
use crate::arch;

/// No core has panicked.
const NOBODY: usize = usize::MAX;

/// The core that reports.
static REPORTER: AtomicUsize = AtomicUsize::new(NOBODY);

/// Whether a core has panicked. The handler of the non-maskable interrupt asks this and, if so,
/// halts the core for good ([`power::halt`]).
pub fn is_panicking() -> bool {
    REPORTER.load(Ordering::Relaxed) != NOBODY
}

/// Ends the machine because of an exception in the kernel at `rip`, with the frame `rbp`.
pub fn fatal(message: Arguments, rip: u64, rbp: u64) -> ! {
    report(message, None, rip, rbp)
}

#[panic_handler]
fn on_panic(info: &PanicInfo) -> ! {
    report(
        format_args!("{}", info.message()),
        info.location(),
        0,
        backtrace::frame_pointer(),
    )
}

fn report(message: Arguments, location: Option<&Location>, rip: u64, rbp: u64) -> ! {
    let this = arch::core_index();
    match REPORTER.compare_exchange(NOBODY, this, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => {}
        Err(reporter) if reporter == this => report_again(location, rip),
        Err(_) => power::halt(),
    }
    // The log first: so the line that another core is writing is still whole.
    let mut out = panic_writer();
    smp::send_nmi_others();
    // Writing to the log does not fail; what a value's own formatting refuses is left out.
    let _ = writeln!(out, "{message}");
    if let Some(location) = location {
        let _ = writeln!(out, "at {location}");
    }
    let _ = backtrace::write(&mut out, rip, rbp);
    drop(out);
    power::exit(Outcome::Panic)
}

/// The report failed: one line, and the end. If that fails, too, only the end of this core.
fn report_again(location: Option<&Location>, rip: u64) -> ! {
    static AGAIN: AtomicBool = AtomicBool::new(false);
    if AGAIN.swap(true, Ordering::Relaxed) {
        power::halt();
    }
    let mut out = panic_writer();
    let _ = match location {
        Some(location) => writeln!(out, "and again while that was reported, at {location}"),
        None => writeln!(out, "and again while that was reported, at {rip:#x}"),
    };
    drop(out);
    power::exit(Outcome::Panic)
}

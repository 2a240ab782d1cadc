//! The system calls: one function per number, in a table that the entry code indexes.
//!
//! A call's own module checks its arguments and rights and does the work. The functions here
//! only turn registers into arguments and the outcome into registers. Whatever a call holds is
//! let go before the scheduler is entered, because that never returns.

mod create;
mod device;
mod enter;
mod event;
mod exit;
mod futex;
mod handles;
mod io;
mod map;
mod meta;
mod processes;
mod serve;
mod service;
mod wait;

pub use handles::{check_reachable, close, hold, insert};
pub use io::{MAX_TRANSFER, perform};
pub use service::check_server;
pub use wait::{already, wait_on};

use core::arch::naked_asm;

use alloc::sync::Arc;
use spillway_abi::{ABI_VERSION, Error, call::CALL_COUNT};

use crate::{
    arch::{core, cpu},
    kernel::Guard,
    object::Thread,
    sched::{
        self,
        work::{self, Work},
    },
};

/// What a system call came to.
pub enum Outcome {
    /// The caller goes on with this result.
    Done(Result<u64, Error>),
    /// The caller has been put into a queue or a wait, or has ended: another thread runs.
    Switch(Guard),
    /// The same, and it is known which: a thread that is on no list.
    SwitchTo(Guard, Arc<Thread>),
    /// The caller goes on with what stands in its saved state.
    Resume(Guard),
}

/// What an operation on an object comes to.
pub enum Action {
    /// It is done.
    Done(Result<u64, Error>),
    /// It takes long, and is done by the thread that asked for it.
    Work(Work),
}

impl From<Result<u64, Error>> for Action {
    #[inline]
    fn from(result: Result<u64, Error>) -> Self {
        Self::Done(result)
    }
}

impl Action {
    /// Does it as a whole system call.
    #[inline]
    fn run(self, guard: Guard, thread: &Arc<Thread>) -> Outcome {
        match self {
            Self::Done(result) => Outcome::Done(result),
            Self::Work(work) => work::begin(guard, thread, work),
        }
    }
}

impl From<Result<u64, Error>> for Outcome {
    #[inline]
    fn from(result: Result<u64, Error>) -> Self {
        Self::Done(result)
    }
}

/// The two result registers.
#[repr(C)]
pub struct Registers {
    /// 0 or the error.
    rax: u64,
    /// The value.
    rdx: u64,
}

/// The arguments of a system call, in order.
type Arguments = [u64; 6];
/// A system call's function as the entry code calls it.
type Entry = extern "C" fn(u64, u64, u64, u64, u64, u64) -> Registers;

/// The functions by number.
pub static CALL_TABLE: [Entry; CALL_COUNT as usize] = [
    version,
    entry::<io::DoIo>,
    entry::<handles::Close>,
    entry::<handles::Duplicate>,
    entry::<map::Map>,
    entry::<map::Unmap>,
    entry::<wait::Wait>,
    entry::<futex::FutexWait>,
    entry::<futex::FutexWake>,
    entry::<exit::Yield>,
    entry::<exit::ExitThread>,
    entry::<exit::ExitProcess>,
    entry::<serve::Serve>,
    entry::<enter::Enter>,
    entry::<event::SignalAndWait>,
];

/// A system call.
trait SystemCall {
    /// Does it for a thread.
    fn call(thread: &Arc<Thread>, arguments: Arguments) -> Outcome;
}

extern "C" fn entry<C: SystemCall>(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> Registers {
    match core().with_current(|thread| C::call(thread, [a, b, c, d, e, f])) {
        Outcome::Done(Ok(value)) => Registers { rax: 0, rdx: value },
        Outcome::Done(Err(error)) => Registers {
            rax: error as u64,
            rdx: 0,
        },
        Outcome::Switch(guard) => sched::schedule(guard),
        Outcome::SwitchTo(guard, next) => sched::switch_to(guard, next),
        Outcome::Resume(guard) => {
            drop(guard);
            sched::resume_after_call()
        }
    }
}

/// [`spillway_abi::Call::Version`]: the cheapest way through the kernel, so without even a frame.
#[unsafe(naked)]
extern "C" fn version(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> Registers {
    naked_asm!("xor eax, eax", "mov edx, {version}", "ret", version = const ABI_VERSION)
}

/// Any number that is not in the table.
pub extern "C" fn unknown_call() -> Registers {
    cpu::assert_clean_flags();
    Registers {
        rax: Error::UnknownCall as u64,
        rdx: 0,
    }
}

/// A handle from a register; [`Error::BadHandle`] if it does not fit.
pub fn handle(raw: u64) -> Result<spillway_abi::Handle, Error> {
    u32::try_from(raw)
        .map(spillway_abi::Handle::from_raw)
        .map_err(|_| Error::BadHandle)
}

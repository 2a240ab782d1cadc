//! What this program was given: its handles by name, its arguments, and where it began.

use core::{cell::UnsafeCell, mem::ManuallyDrop};

use spillway_abi::{Handle, startup::Startup};

use crate::object::{Log, Object, OwnedHandle, Process};

/// Everything that is known before `main` runs.
pub(crate) struct Environment {
    pub startup: Startup<'static>,
    pub process: Process,
    pub log: Option<Log>,
    /// The time-stamp counter at the first instruction.
    pub entry_tsc: u64,
    /// The first thread's stack pointer at its first instruction.
    pub stack_top: u64,
}

struct Slot(UnsafeCell<Option<Environment>>);

// SAFETY: written once, by the only thread there is, before anything can read it.
unsafe impl Sync for Slot {}

static ENVIRONMENT: Slot = Slot(UnsafeCell::new(None));

/// Makes the environment known.
///
/// # Safety
///
/// Called once, by the first thread, before anything else of the run time is used.
pub(crate) unsafe fn set(environment: Environment) {
    // SAFETY: nobody reads yet.
    unsafe { *ENVIRONMENT.0.get() = Some(environment) };
}

/// The environment; `None` only in the first instructions of the program.
pub(crate) fn environment() -> Option<&'static Environment> {
    // SAFETY: it is never written again after the start.
    unsafe { (*ENVIRONMENT.0.get()).as_ref() }
}

fn known() -> &'static Environment {
    environment().expect("the run time is set up before main")
}

/// The startup block: all handles with their names, all arguments.
pub fn startup() -> &'static Startup<'static> {
    &known().startup
}

/// The arguments, in order.
pub fn arguments() -> impl Iterator<Item = &'static str> {
    startup().arguments()
}

/// This process.
pub fn own_process() -> &'static Process {
    &known().process
}

/// The object that goes by this name, if the program was given it. It is not given back when
/// the value is dropped: whoever asks next finds it again.
///
/// The name says nothing about the kind; an object of another kind answers every use with
/// [`spillway_abi::Error::WrongObject`].
pub fn object<T: Object>(name: &str) -> Option<ManuallyDrop<T>> {
    startup().handle(name).map(borrow)
}

pub(crate) fn borrow<T: Object>(handle: Handle) -> ManuallyDrop<T> {
    ManuallyDrop::new(T::from(OwnedHandle::new(handle)))
}

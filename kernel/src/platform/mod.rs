//! The machine around the processor: serial port, log, firmware tables, interrupt controllers,
//! clock, the start of the other cores, panic and power.
//!
//! Nothing here knows about processes or objects. At boot the modules are set up in this order:
//!
//! 1. [`log::init`], which also finds the serial port: from here on everything can be told,
//! 2. [`backtrace::init`] with the kernel's own file, for symbols in backtraces,
//! 3. [`acpi::Machine::read`]: what the firmware says is there,
//! 4. [`power::init`], [`legacy::mask_all`],
//! 5. [`clock::calibrate`], then [`apic::init_bsp`] (the measurement wants the state before),
//! 6. [`smp::start_cores`]; each core calls [`apic::init_ap`].

pub mod acpi;
pub mod apic;
pub mod backtrace;
pub mod clock;
pub mod io;
pub mod legacy;
pub mod log;
pub mod panic;
pub mod power;
pub mod reference;
pub mod serial;
pub mod smp;
pub mod tables;
pub mod trampoline;
pub mod vectors;

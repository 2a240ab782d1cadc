//! Emulated devices for testing drivers on the host, fast, repeatable and suspicious.
//!
//! A [`Machine`] holds one [`EmulatedDevice`] and hands its [`Function`] to the driver under test,
//! which sees it through the traits of `spillway-hal`, like hardware.
//!
//! ```
//! use spillway_emu::{Machine, edu::Edu};
//! use spillway_hal::Device;
//!
//! let machine = Machine::new(Edu::new());
//! let function = machine.function().unwrap(); // goes to the driver
//! assert_eq!(function.id().vendor, 0x1234);
//! machine.with(|edu| assert!(!edu.is_busy())); // looks into the device from outside
//! ```
//!
//! **One thread, virtual time.** The device moves only when the driver does something: on every
//! register access, `pause`, `now`, sleep or wait. So a test that passes once passes always.
//!
//! **Checked DMA.** The device reaches memory only through its [`Bus`]. Each access is checked
//! against the pins: an address that was never pinned, one that no longer is, the wrong direction,
//! bus mastering turned off. What is wrong becomes a [`Violation`], and a machine that is dropped
//! with violations fails its test. I/O addresses are never used twice, so an access to memory that
//! was given back cannot hit something new.
//!
//! **Faults on command.** [`Faults`] changes register values, loses, repeats and forges interrupts, and
//! breaks DMA, for any device; [`Machine::unplug`] takes the device away. What only one kind of
//! device can do wrong is up to its emulation, which [`Machine::with`] reaches.
#![forbid(unsafe_code)]

mod bus;
mod config;
mod device;
pub mod edu;
mod faults;
mod function;
mod interrupts;
mod machine;
mod memory;
pub mod nvme;
mod pins;
mod violation;

pub use bus::{Bus, DmaFault};
pub use config::{BarKind, ConfigSpace};
pub use device::EmulatedDevice;
pub use faults::Faults;
pub use function::{EmulatedClock, EmulatedDma, EmulatedInterrupt, EmulatedRegisters, Function};
pub use machine::Machine;
pub use violation::{Violation, ViolationKind};

//! What a driver is written against: one granted PCI function, and nothing of the system below it.
//!
//! A driver is generic over [`Device`]. The same crate then runs on Spillway's capabilities
//! (`spillway-native`), on an emulated device in `cargo test` (`spillway-emu`), and on any other
//! back end that somebody writes. So no signature here names a type of Spillway.
//!
//! | what | trait | of the back end |
//! |---|---|---|
//! | the function itself | [`Device`] | configuration space, BARs, reset |
//! | a mapped BAR | [`Registers`] | typed access by [`Register`] constants |
//! | memory that the device reaches | [`DmaMemory`], wrapped in [`DmaBuffer`] | volatile access, the direction in the type |
//! | an interrupt vector | [`Interrupt`] | counting edges, waiting |
//! | time | [`Clock`] | now, pause, sleep |
//!
//! [`block`] is the other side: what a block driver offers to whoever links it.
//! [`Traced`] logs every access by register name, on any back end.
//!
//! # Two contracts
//!
//! Each trait says what its implementer promises and what its caller promises. None of the
//! caller's promises is needed for memory safety: a driver that breaks one gets an error or a
//! panic, and a device that breaks its own rules gets an error from the driver.
#![no_std]
#![forbid(unsafe_code)]

mod address;
pub mod block;
mod borrowed;
mod clock;
mod device;
mod direction;
mod dma;
mod error;
mod interrupt;
mod register;
mod traced;
mod word;

pub use address::IoAddress;
pub use clock::Clock;
pub use device::{ConfigWidth, Device, DeviceId, DmaConstraints, PAGE_SIZE};
pub use direction::{
    Both, Direction, DmaDirection, DriverReads, DriverWrites, FromDevice, ToDevice,
};
pub use dma::{DmaBuffer, DmaMemory};
pub use error::{DriverError, DriverErrorKind, HalError, HalErrorKind};
pub use interrupt::Interrupt;
pub use register::{
    Access, ReadOnly, ReadWrite, Readable, Register, RegisterArray, Registers, Writable, WriteOnly,
};
pub use traced::{Event, Trace, Traced, TracedInterrupt, TracedRegisters};
pub use word::Word;

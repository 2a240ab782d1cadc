//! What the device manager decides, apart from how it is done: which driver a device gets
//! (`settings.rs`), and whether one that died is started again (`deaths.rs`).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod deaths;
mod settings;

pub use deaths::Deaths;
pub use settings::{Match, Settings};

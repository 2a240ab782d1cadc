//! What programs that measure the system from inside have in common: regions that an emulator can
//! find from outside ([`measure`]), the cases of a plan ([`plan`]), and results in the form that
//! `cargo xtask bench` reads ([`report`]).
#![no_std]

extern crate alloc;

pub mod measure;
pub mod plan;
pub mod report;

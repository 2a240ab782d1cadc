//! What programs that test the system from inside have in common: tests that report in a form that
//! `cargo xtask test` reads ([`harness`]), and copies of themselves that play a victim ([`child`]).
#![no_std]

extern crate alloc;

pub mod child;
pub mod harness;

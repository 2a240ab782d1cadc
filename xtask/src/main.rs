//! `cargo xtask`: set up, build, run, test and measure Spillway.
#![deny(unsafe_op_in_unsafe_fn)]

mod accel;
mod bench;
mod cargo;
mod cli;
mod elf;
mod gdb;
mod guest;
mod image;
mod interrupt;
mod lint;
mod log;
mod parts;
mod qemu;
mod qmp;
mod run;
mod session;
mod setup;
mod test;
mod ui;
mod workspace;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};

fn main() -> ExitCode {
    interrupt::install();
    let result = match Cli::parse().command {
        Command::Setup(options) => setup::run(&options),
        Command::Build(options) => run::build(&options),
        Command::Run(options) => run::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Guards(options) => test::guards::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Lint(options) => lint::run(&options),
        Command::Gdb(options) => gdb::run(&options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

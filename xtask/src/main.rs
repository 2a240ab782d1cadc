//! `cargo xtask`: set up, build, run, test and measure Spillway.
#![deny(unsafe_op_in_unsafe_fn)]

mod accel;
mod cargo;
mod cli;
mod elf;
mod guest;
mod image;
mod interrupt;
mod parts;
mod qemu;
mod run;
mod session;
mod setup;
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
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

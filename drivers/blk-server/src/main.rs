//! The block server as a program: what it serves is said by its arguments (`arguments.rs`).
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
};

use driver_sdk::{
    hal::block::{BlockCount, BlockSize},
    native::{Clock, Function},
    prelude::*,
};
use spillway_blk_server::{
    BlkServer,
    arguments::{Arguments, Driver},
    backend::{Backend, Mapped, NvmeBackend, RamBackend},
};
use spillway_nvme::{Nvme, Options};
use spillway_ramdisk::RamDisk;

driver_sdk::main!(main);

fn main() -> Result<(), String> {
    let given = Arguments::parse(arguments())?;
    match given.driver.clone() {
        Driver::Nvme(name) => serve(&given, nvme(&name)?),
        Driver::Ram(bytes, delay, seed) => serve(&given, ram(bytes, delay, seed)?),
    }
}

fn nvme(name: &str) -> Result<NvmeBackend, String> {
    // As long as the process.
    let function: &'static Function = Box::leak(Box::new(
        Function::named(name).map_err(|error| format!("no device `{name}`: {error}"))?,
    ));
    let driver = Nvme::new(function, Options::default()).map_err(|error| error.to_string())?;
    NvmeBackend::new(driver, function).map_err(|error| error.to_string())
}

fn ram(bytes: u64, delay: u64, seed: u64) -> Result<RamBackend, String> {
    let block_size = BlockSize::B512;
    let options = spillway_ramdisk::Options {
        block_size,
        blocks: BlockCount(bytes >> block_size.shift()),
        delay,
        seed,
    };
    let disk = RamDisk::new(Mapped::default(), Clock, options);
    disk.map(RamBackend)
        .ok_or_else(|| format!("`ram={bytes}`: there is no disk of this size"))
}

fn serve<B: Backend>(given: &Arguments, mut backend: B) -> Result<(), String> {
    let ranges = given.ranges(backend.driver())?;
    let server = BlkServer::new(&given.service, backend, ranges, given.options);
    let server = server.map_err(|error| format!("cannot serve `{}`: {error}", given.service))?;
    server.run().map_err(|error| error.to_string())
}

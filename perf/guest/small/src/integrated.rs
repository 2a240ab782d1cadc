//! The small program at level `integrated`.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::{String, ToString};

use driver_sdk::{
    io::{Integrated, NamespaceId},
    native::Function,
};
use spillway_nvme::Nvme;

driver_sdk::main!(main);

fn main() -> Result<(), String> {
    let function = Function::named("disk").map_err(|error| error.to_string())?;
    let driver = Nvme::new(&function, Default::default()).map_err(|error| error.to_string())?;
    let device = Integrated::new(driver, Nvme::device, NamespaceId(1));
    bench_small::run("integrated", &device.map_err(|error| error.to_string())?)
}

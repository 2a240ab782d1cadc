//! A block server that a test starts, and ends.

use alloc::{format, string::String, vec::Vec};
use core::mem::ManuallyDrop;

use driver_sdk::{
    abi::{limits::Limits, startup as names},
    io::{Async, BlockDevice, Error as IoError, Shared, Sync},
    prelude::*,
    rt::object::{OwnedHandle, Snapshot},
};
use guest_harness::harness::Outcome;

/// The disk in the table of devices.
pub const DISK: &str = "class:010802";

/// What a client's handle allows.
pub const CLIENT: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MAP)
    .union(Rights::PASS);

/// A block server.
pub struct BlkServer {
    pub process: Process,
    service: Service,
}

fn file() -> &'static Memory {
    static FILE: OnceLock<ManuallyDrop<Memory>> = OnceLock::new();
    FILE.get_or_init(|| object("blk-server").expect("the manifest grants the module"))
}

fn program() -> &'static Program<'static> {
    static PROGRAM: OnceLock<Program<'static>> = OnceLock::new();
    PROGRAM.get_or_init(|| Program::new(file()).expect("blk-server is a program"))
}

impl BlkServer {
    /// Starts one with these arguments; with the disk, if it is to have that.
    pub fn start(arguments: &[String], with_disk: bool) -> Outcome<Self> {
        let log: Option<ManuallyDrop<Log>> = object(names::LOG);
        let devices: Option<ManuallyDrop<Devices>> = object(names::DEVICES);
        let limits = Limits {
            memory: 48 << 20,
            handles: 1024,
            threads: 4,
            requests: 512,
            ..Limits::DEFAULT
        };
        let mut command = Command::new("blk-server", program()).limits(limits);
        for argument in arguments {
            command = command.argument(argument.clone());
        }
        if let Some(log) = &log {
            command = command.give(names::LOG, &**log, Rights::WRITE);
        }
        let rights = Rights::READ | Rights::MAP | Rights::EXECUTE;
        command = command.give(names::IMAGE, file(), rights);
        if with_disk {
            let devices = devices.as_deref().ok_or("the manifest grants no devices")?;
            command = command.give_device("disk", devices, DISK);
        }
        let process = command.create()?;
        let service = Service::of(&process)?;
        let served = Rights::READ | Rights::WRITE | Rights::MANAGE | Rights::WAIT;
        let given: OwnedHandle = service.duplicate(served | Rights::PASS)?.into();
        let name = format!("{}disk", names::SERVICE_PREFIX);
        command.give(&name, &given, served).start(&process)?;
        Ok(Self { process, service })
    }

    /// A RAM-disk of 8 MiB.
    pub fn ram(more: &[&str]) -> Outcome<Self> {
        let mut arguments: Vec<String> = ["ram=8388608".into()].into();
        arguments.extend(more.iter().map(|&argument| argument.into()));
        Self::start(&arguments, false)
    }

    /// A handle to a range.
    pub fn range(&self, number: u64, rights: Rights) -> Outcome<Remote> {
        Ok(self.service.mint(number, rights)?)
    }

    /// What the server's process has counted.
    pub fn counters(&self) -> Outcome<Snapshot> {
        Ok(self.process.counters()?.snapshot()?)
    }
}

impl Drop for BlkServer {
    fn drop(&mut self) {
        let _ = self.process.kill(0);
        let _ = self
            .process
            .wait(Deadline::after(guest_harness::child::PATIENCE));
    }
}

/// A level, as a test runs at each.
pub trait AtLevel {
    /// What comes of it.
    type Output;

    /// Runs with a device.
    fn run<D: BlockDevice>(self, device: D) -> Outcome<Self::Output>;
}

/// The names of the levels.
pub const LEVELS: [&str; 3] = ["sync", "async", "shared"];

/// Runs something with the device behind a handle, at a level.
pub fn at_level<T: AtLevel>(level: &str, object: &Remote, test: T) -> Outcome<T::Output> {
    match level {
        "sync" => test.run(Sync::open(object)?),
        "copying" => test.run(Sync::open(object)?.copying()?),
        "async" => test.run(Async::open(object)?),
        "shared" => test.run(Shared::open(object)?),
        _ => Err(IoError::new(driver_sdk::io::ErrorKind::InvalidRequest, "no such level").into()),
    }
}

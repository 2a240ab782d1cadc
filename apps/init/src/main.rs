//! The first program: starts what the manifest lists, gives each process what its entry says and
//! nothing else, reports how each one ended, and switches the machine off after the last that is not in the background.
//!
//! An argument `{entry_tsc}` in the manifest is replaced by the time-stamp counter at init's own
//! first instruction, which is the system's first unprivileged one: `bench-kernel` measures the
//! boot with it.
#![no_std]
#![no_main]

extern crate alloc;

mod start;

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use driver_sdk::{abi::startup as names, prelude::*};
use spillway_manifest::{Manifest, Shutdown};
use start::Provided;

driver_sdk::main!(main);

fn main() -> i32 {
    let (code, shutdown) = match manifest() {
        Ok(manifest) => (run(&manifest), manifest.shutdown),
        Err(reason) => {
            println!("init: there is no manifest: {reason}");
            (1, Shutdown::WhenAllExit)
        }
    };
    match shutdown {
        Shutdown::WhenAllExit => switch_off(code),
        Shutdown::Never => loop {
            thread::sleep(Duration::from_secs(3600));
        },
    }
    code
}

/// Ends the machine; returns only if that fails, after a line that says why.
fn switch_off(code: i32) {
    let refused = match object::<Power>(names::POWER) {
        Some(power) => power
            .off(code)
            .err()
            .map_or("it stays on", |error| error.describe()),
        None => "the kernel gave no power switch",
    };
    println!("init: cannot switch the machine off: {refused}");
}

/// Reads the manifest from the boot image.
fn manifest() -> Result<Manifest, String> {
    let module = start::module("manifest").ok_or("the boot image has no module `manifest`")?;
    let bytes = module
        .read_all()
        .map_err(|error| format!("it cannot be read: {error}"))?;
    Manifest::decode(&bytes).map_err(|error| format!("{error}"))
}

/// Starts everything and waits for its end, but for what is in the background. Returns the
/// machine's exit code: that of the first process of the manifest that failed, or 0.
///
/// All processes are made, with the services that they provide, before the first one starts: so a
/// client finds its server's objects wherever in the manifest the server is.
fn run(manifest: &Manifest) -> i32 {
    let mut services = Vec::new();
    let processes = manifest.processes.iter();
    let made: Vec<_> = processes
        .map(|entry| (entry, start::make(entry, &mut services)))
        .collect();
    let (servers, others): (Vec<_>, Vec<_>) = made
        .into_iter()
        .map(|(entry, made)| (entry, start_and_watch(entry, made, &services)))
        .enumerate()
        .partition(|(_, (entry, _))| entry.background);
    drop(services);
    let ended = |watcher: Option<thread::JoinHandle<_>>| watcher.map_or(1, |it| it.join());
    let mut codes: Vec<_> = others
        .into_iter()
        .map(|(place, (_, watcher))| (place, ended(watcher)))
        .collect();
    // Those in the background count if they have ended by now.
    let servers = servers.into_iter().filter_map(|(place, (_, watcher))| {
        let runs = watcher.as_ref().is_some_and(|it| !it.is_finished());
        (!runs).then(|| (place, ended(watcher)))
    });
    codes.extend(servers);
    let failed = codes.into_iter().filter(|&(_, code)| code != 0);
    failed.min().map_or(0, |(_, code)| code)
}

/// Starts one process and a thread that waits for its end, so that every end is reported when it
/// comes. `None` if the process could not be started.
fn start_and_watch(
    entry: &spillway_manifest::Process,
    made: Result<Process, String>,
    services: &[Provided<'_>],
) -> Option<thread::JoinHandle<i32>> {
    let started = made.and_then(|child| start::start(entry, &child, services).map(|()| child));
    match started {
        Ok(child) => {
            println!("init: started {}", entry.name);
            let name = entry.name.clone();
            Some(thread::spawn(move || watch(&name, &child)))
        }
        Err(reason) => {
            println!("init: cannot start {}: {reason}", entry.name);
            None
        }
    }
}

/// Waits for a process's end, reports it, and returns its exit code; 1 if it has none.
fn watch(name: &str, child: &Process) -> i32 {
    let status = loop {
        match child.wait(Deadline::NEVER) {
            Ok(status) => break status,
            Err(Error::Interrupted) => {}
            Err(error) => {
                println!("init: cannot wait for {name}: {error}");
                return 1;
            }
        }
    };
    println!("init: {name} {status}");
    if let Ok(Some(report)) = child.fault() {
        let (instruction, address) = (report.instruction, report.address);
        println!("init: {name} was at {instruction:#x} and reached for {address:#x}");
    }
    match status {
        ExitStatus::Exited(code) => code,
        ExitStatus::Killed(_) | ExitStatus::Faulted(_) => 1,
    }
}

//! From an entry of the manifest to a running process.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::mem::ManuallyDrop;

use driver_sdk::{
    abi::{limits::Limits, startup as names},
    prelude::*,
    rt::object::OwnedHandle,
};
use spillway_manifest::{Device, Grant, Process as Entry};

/// In an argument: the time-stamp counter at init's first instruction.
const ENTRY_TSC: &str = "{entry_tsc}";

/// A file of the boot image.
pub fn module(name: &str) -> Option<ManuallyDrop<Memory>> {
    object(&format!("module:{name}"))
}

/// Starts a process with what its entry gives it; or says why it cannot.
pub fn start(entry: &Entry) -> Result<Process, String> {
    let file = module(&entry.program)
        .ok_or_else(|| format!("the boot image has no module `{}`", entry.program))?;
    let program = Program::new(&file).map_err(|error| error.to_string())?;
    let grants: Vec<_> = entry
        .grants
        .iter()
        .map(|grant| Granted::find(grant, entry))
        .collect::<Result<_, _>>()?;
    let mut command = Command::new(&entry.name, &program)
        .limits(Limits {
            memory: entry.memory,
            handles: entry.handles,
            threads: entry.threads,
            processes: entry.processes,
            requests: Limits::DEFAULT.requests,
        })
        .affinity(entry.cores)
        .priority(entry.priority);
    for argument in &entry.arguments {
        command = command.argument(argument.replace(ENTRY_TSC, &time::entry_tsc().to_string()));
    }
    for grant in &grants {
        command = command.give(grant.name, &*grant.handle, grant.rights);
    }
    let devices = object::<Devices>(names::DEVICES);
    for Device { name, device } in &entry.devices {
        let table = devices.as_deref().ok_or("there are no devices to grant")?;
        command = command.give_device(name, table, device);
    }
    command.spawn().map_err(|error| error.to_string())
}

/// A handle that a child will find under a name.
struct Granted<'a> {
    name: &'a str,
    handle: ManuallyDrop<OwnedHandle>,
    rights: Rights,
}

impl<'a> Granted<'a> {
    /// Looks up what a grant stands for among init's own handles.
    fn find(grant: &'a Grant, entry: &Entry) -> Result<Self, String> {
        let file = Rights::READ | Rights::MAP | Rights::EXECUTE;
        let (name, rights) = match grant {
            Grant::Log => (names::LOG, Rights::WRITE),
            Grant::Clock => (names::CLOCK, Rights::READ),
            Grant::Counters => (names::COUNTERS, Rights::READ),
            Grant::Power => (names::POWER, Rights::MANAGE),
            Grant::Image => (names::IMAGE, file),
            Grant::Module(name) => (name.as_str(), file),
            Grant::Devices => (names::DEVICES, Rights::READ | Rights::MANAGE),
        };
        let handle = match grant {
            Grant::Image => startup().handle(&format!("module:{}", entry.program)),
            Grant::Module(name) => startup().handle(&format!("module:{name}")),
            _ => startup().handle(name),
        };
        let handle = handle.ok_or_else(|| format!("there is no `{name}` to grant"))?;
        Ok(Self {
            name,
            handle: ManuallyDrop::new(OwnedHandle::new(handle)),
            rights: rights | Rights::PASS,
        })
    }
}

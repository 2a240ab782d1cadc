//! From an entry of the manifest to a running process, in two steps.

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
use spillway_manifest::{Device, Grant, Process as Entry, ServedObject, ServiceRight};

/// In an argument: the time-stamp counter at init's first instruction.
const ENTRY_TSC: &str = "{entry_tsc}";

/// What a server may do with its own service.
const SERVER_RIGHTS: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MANAGE)
    .union(Rights::WAIT);

/// A service that a process of the manifest provides.
pub struct Provided<'m> {
    name: &'m str,
    service: Service,
}

/// A file of the boot image.
pub fn module(name: &str) -> Option<ManuallyDrop<Memory>> {
    object(&format!("module:{name}"))
}

/// Makes a process, without memory and threads, and the services that it provides; or says why it
/// cannot.
pub fn make<'m>(entry: &'m Entry, services: &mut Vec<Provided<'m>>) -> Result<Process, String> {
    let file = program_file(entry)?;
    let program = Program::new(&file).map_err(|error| error.to_string())?;
    let child = command(entry, &program)
        .create()
        .map_err(|error| error.to_string())?;
    for name in &entry.provides {
        let service = Service::of(&child)
            .map_err(|error| format!("cannot make its service `{name}`: {error}"))?;
        services.push(Provided { name, service });
    }
    Ok(child)
}

/// Gives a process what its entry says, and its first thread; or says why it cannot, and ends it.
pub fn start(entry: &Entry, child: &Process, services: &[Provided<'_>]) -> Result<(), String> {
    let file = program_file(entry)?;
    let program = Program::new(&file).map_err(|error| error.to_string())?;
    let given = given(entry, child, services)?;
    let mut command = command(entry, &program);
    for argument in &entry.arguments {
        command = command.argument(argument.replace(ENTRY_TSC, &time::entry_tsc().to_string()));
    }
    for given in &given {
        command = command.give(&given.name, given, given.rights);
    }
    let devices = object::<Devices>(names::DEVICES);
    for Device { name, device } in &entry.devices {
        let table = devices.as_deref().ok_or("there are no devices to grant")?;
        command = command.give_device(name, table, device);
    }
    command.start(child).map_err(|error| error.to_string())
}

fn program_file(entry: &Entry) -> Result<ManuallyDrop<Memory>, String> {
    module(&entry.program)
        .ok_or_else(|| format!("the boot image has no module `{}`", entry.program))
}

fn command<'a>(entry: &'a Entry, program: &'a Program<'a>) -> Command<'a> {
    Command::new(&entry.name, program)
        .limits(Limits {
            memory: entry.memory,
            handles: entry.handles,
            threads: entry.threads,
            processes: entry.processes,
            requests: entry.requests,
        })
        .affinity(entry.cores)
        .priority(entry.priority)
}

/// A handle that a child will find under a name.
struct Given {
    name: String,
    handle: Held,
    rights: Rights,
}

/// A handle here.
enum Held {
    /// Made for this child.
    New(OwnedHandle),
    /// One of init's own, for others, too.
    Own(ManuallyDrop<OwnedHandle>),
}

impl AsRef<OwnedHandle> for Given {
    fn as_ref(&self) -> &OwnedHandle {
        match &self.handle {
            Held::New(handle) => handle,
            Held::Own(handle) => handle,
        }
    }
}

/// Everything that a process finds by name, but for its devices.
fn given(entry: &Entry, child: &Process, services: &[Provided<'_>]) -> Result<Vec<Given>, String> {
    let find = |name: &str| {
        let found = services.iter().find(|provided| provided.name == name);
        found
            .map(|provided| &provided.service)
            .ok_or_else(|| format!("the server of `{name}` could not be made"))
    };
    let grants = entry.grants.iter();
    let grants = grants.map(|grant| Given::grant(grant, entry, child));
    let own = entry.provides.iter();
    let own = own.map(|name| Given::to_serve(name, find(name)?));
    let served = entry.services.iter();
    let served = served.map(|object| Given::served(object, find(&object.from)?));
    grants.chain(own).chain(served).collect()
}

impl Given {
    fn new(name: String, handle: Held, rights: Rights) -> Self {
        Self {
            name,
            handle,
            rights: rights | Rights::PASS,
        }
    }

    /// What a grant stands for: mostly one of init's own handles.
    fn grant(grant: &Grant, entry: &Entry, child: &Process) -> Result<Self, String> {
        let file = Rights::READ | Rights::MAP | Rights::EXECUTE;
        let (name, rights) = match grant {
            Grant::Log => (names::LOG, Rights::WRITE),
            Grant::Clock => (names::CLOCK, Rights::READ),
            Grant::Counters => (names::COUNTERS, Rights::READ),
            Grant::Power => (names::POWER, Rights::MANAGE),
            Grant::Image => (names::IMAGE, file),
            Grant::Module(name) => (name.as_str(), file),
            Grant::Devices => (names::DEVICES, Rights::READ | Rights::MANAGE),
            Grant::Processes => (names::PROCESSES, Rights::READ | Rights::MANAGE),
        };
        let handle = match grant {
            Grant::Processes => {
                let table = Processes::of(child);
                let table = table.map_err(|error| format!("cannot grant `{name}`: {error}"))?;
                return Ok(Self::new(name.into(), Held::New(table.into()), rights));
            }
            Grant::Image => startup().handle(&format!("module:{}", entry.program)),
            Grant::Module(name) => startup().handle(&format!("module:{name}")),
            _ => startup().handle(name),
        };
        let handle = handle.ok_or_else(|| format!("there is no `{name}` to grant"))?;
        let own = Held::Own(ManuallyDrop::new(OwnedHandle::new(handle)));
        Ok(Self::new(name.into(), own, rights))
    }

    /// A service that the process is to serve itself.
    fn to_serve(name: &str, service: &Service) -> Result<Self, String> {
        let handle = service.duplicate(SERVER_RIGHTS | Rights::PASS);
        let handle = handle.map_err(|error| format!("cannot give it `{name}`: {error}"))?;
        let name = format!("{}{name}", names::SERVICE_PREFIX);
        Ok(Self::new(name, Held::New(handle.into()), SERVER_RIGHTS))
    }

    /// An object that another process serves.
    fn served(object: &ServedObject, service: &Service) -> Result<Self, String> {
        let rights = object
            .rights
            .iter()
            .map(|right| ServiceRight::right(*right));
        let rights = rights.fold(Rights::empty(), Rights::union);
        let handle = service.mint(object.object, rights | Rights::PASS);
        let handle =
            handle.map_err(|error| format!("cannot give it `{}`: {error}", object.name))?;
        Ok(Self::new(
            object.name.clone(),
            Held::New(handle.into()),
            rights,
        ))
    }
}

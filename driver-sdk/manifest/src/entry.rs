//! The tables and keys of the TOML form, and what each of them comes to.

use alloc::{format, string::String, vec::Vec};
use serde::Deserialize;
use spillway_abi::limits::{DEFAULT_PRIORITY, Limits, MAX_CORES};

use crate::{
    Device, Grant, Invalid, MAX_MODULE_NAME, Process, ServedObject, ServiceRight, Shutdown,
    check::check_name,
    size,
    source::{Module, Origin},
};

/// A whole manifest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    #[serde(default)]
    pub system: System,
    #[serde(default)]
    pub module: Vec<ModuleEntry>,
    #[serde(default)]
    pub process: Vec<ProcessEntry>,
}

/// `[system]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    #[serde(default)]
    pub shutdown: Shutdown,
}

/// `[[module]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleEntry {
    name: Option<String>,
    program: Option<String>,
    path: Option<String>,
    elf: Option<String>,
    file: Option<String>,
}

/// `[[process]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessEntry {
    name: String,
    program: Option<String>,
    path: Option<String>,
    elf: Option<String>,
    #[serde(default)]
    arguments: Vec<String>,
    memory: Option<Amount>,
    handles: Option<u32>,
    threads: Option<u32>,
    processes: Option<u32>,
    requests: Option<u32>,
    #[serde(default)]
    cores: Vec<u64>,
    priority: Option<u32>,
    #[serde(default)]
    grants: Vec<GrantName>,
    #[serde(default)]
    modules: Vec<String>,
    #[serde(default)]
    devices: Vec<DeviceEntry>,
    #[serde(default)]
    provides: Vec<String>,
    #[serde(default)]
    services: Vec<ServiceEntry>,
    #[serde(default)]
    background: bool,
}

/// One of a process's `services`: the name of a service, or more about it.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a service is a name, or { name, from, object, rights } with rights of \"read\", \"write\", \"map\", \"manage\""
)]
enum ServiceEntry {
    Name(String),
    Full(FullServiceEntry),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FullServiceEntry {
    name: String,
    from: Option<String>,
    #[serde(default)]
    object: u64,
    rights: Option<Vec<ServiceRight>>,
}

impl From<ServiceEntry> for ServedObject {
    fn from(entry: ServiceEntry) -> Self {
        let entry = match entry {
            ServiceEntry::Full(entry) => entry,
            ServiceEntry::Name(name) => FullServiceEntry {
                name,
                from: None,
                object: 0,
                rights: None,
            },
        };
        Self {
            from: entry.from.unwrap_or_else(|| entry.name.clone()),
            name: entry.name,
            object: entry.object,
            rights: entry
                .rights
                .unwrap_or_else(|| ServiceRight::DEFAULT.to_vec()),
        }
    }
}

/// One of a process's `devices`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceEntry {
    name: String,
    device: String,
}

/// A number of bytes, or a number with a unit.
#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Bytes(u64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum GrantName {
    Log,
    Clock,
    Counters,
    Power,
    Image,
    Devices,
    Processes,
}

impl GrantName {
    fn grant(self) -> Grant {
        match self {
            Self::Log => Grant::Log,
            Self::Clock => Grant::Clock,
            Self::Counters => Grant::Counters,
            Self::Power => Grant::Power,
            Self::Image => Grant::Image,
            Self::Devices => Grant::Devices,
            Self::Processes => Grant::Processes,
        }
    }
}

impl ModuleEntry {
    pub fn resolve(self) -> Result<Module, Invalid> {
        let what = match &self.name {
            Some(name) => format!("module `{name}`"),
            None => "a module without a name".into(),
        };
        let origin = match (self.program, self.path, self.elf, self.file) {
            (None, None, None, Some(file)) => Origin::File(file),
            (program, path, elf, None) => program_origin(&what, program, path, elf)?,
            _ => return Err(no_single_origin(&what)),
        };
        named(&what, self.name, origin)
    }
}

impl ProcessEntry {
    pub fn resolve(&self) -> Result<Module, Invalid> {
        let what = format!("process `{}`", self.name);
        let (program, path, elf) = (self.program.clone(), self.path.clone(), self.elf.clone());
        named(&what, None, program_origin(&what, program, path, elf)?)
    }

    pub fn into_process(self, program: String) -> Result<Process, Invalid> {
        let limits = Limits::DEFAULT;
        let memory = match self.memory {
            None => limits.memory,
            Some(Amount::Bytes(bytes)) => bytes,
            Some(Amount::Text(text)) => size::parse(&text).ok_or_else(|| {
                Invalid(format!(
                    "`memory = {text:?}` of process `{}` is not an amount; write for example \"16 MiB\"",
                    self.name
                ))
            })?,
        };
        let cores = mask(&self.name, &self.cores)?;
        let grants = self.grants.into_iter().map(GrantName::grant);
        let devices = self.devices.into_iter().map(|entry| Device {
            name: entry.name,
            device: entry.device,
        });
        Ok(Process {
            name: self.name,
            program,
            arguments: self.arguments,
            memory,
            handles: self.handles.unwrap_or(limits.handles),
            threads: self.threads.unwrap_or(limits.threads),
            processes: self.processes.unwrap_or(limits.processes),
            requests: self.requests.unwrap_or(limits.requests),
            cores,
            priority: self.priority.unwrap_or(DEFAULT_PRIORITY),
            grants: grants
                .chain(self.modules.into_iter().map(Grant::Module))
                .collect(),
            devices: devices.collect(),
            provides: self.provides,
            background: self.background,
            services: self.services.into_iter().map(ServedObject::from).collect(),
        })
    }
}

fn mask(name: &str, cores: &[u64]) -> Result<u64, Invalid> {
    cores.iter().try_fold(0, |mask, &core| {
        if core >= MAX_CORES as u64 {
            return Err(Invalid(format!(
                "process `{name}` asks for core {core}; cores are numbered 0 to {}",
                MAX_CORES - 1
            )));
        }
        Ok(mask | 1 << core)
    })
}

fn program_origin(
    what: &str,
    program: Option<String>,
    path: Option<String>,
    elf: Option<String>,
) -> Result<Origin, Invalid> {
    match (program, path, elf) {
        (Some(program), None, None) => Ok(Origin::Workspace(program)),
        (binary, Some(path), None) => Ok(Origin::Package(path, binary)),
        (None, None, Some(elf)) => Ok(Origin::Elf(elf)),
        _ => Err(no_single_origin(what)),
    }
}

fn no_single_origin(what: &str) -> Invalid {
    Invalid(format!(
        "{what} must say once where it comes from: `program` (of the workspace), `path` (a package, with `program` for one of several binaries), `elf` (a ready ELF file), or for a module `file`"
    ))
}

/// A module's name is what the manifest says, or follows from its origin.
fn named(what: &str, name: Option<String>, origin: Origin) -> Result<Module, Invalid> {
    let name = name.unwrap_or_else(|| match &origin {
        Origin::Workspace(program) | Origin::Package(_, Some(program)) => program.clone(),
        Origin::Package(path, None) => last(path).into(),
        Origin::Elf(path) => last(path).trim_end_matches(".elf").into(),
        Origin::File(path) => last(path).into(),
    });
    if name == ".." || name == "." {
        return Err(Invalid(format!(
            "the path of {what} must end in the name of the package's folder"
        )));
    }
    check_name("a module", &name, MAX_MODULE_NAME)?;
    Ok(Module { name, origin })
}

fn last(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path)
}

//! The rules that every manifest keeps, wherever it came from.

use alloc::{collections::BTreeSet, format, string::String};
use spillway_abi::{
    PAGE_SIZE,
    limits::{MAX_HANDLES, MAX_MEMORY, MAX_PRIORITY, MAX_REQUESTS, MAX_THREADS},
    object::is_process_name,
    startup,
};
use spillway_kernel_core::pci::name::Selector;

use crate::{
    Grant, MAX_ARGUMENT, MAX_ARGUMENTS, MAX_DEVICES, MAX_GRANTS, MAX_MODULE_NAME, MAX_NAME,
    MAX_PROCESSES, Manifest, Process, services,
};

/// What a manifest asks for that cannot be: a sentence that also says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl core::fmt::Display for Invalid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Invalid {}

/// The names of handles that are not modules.
pub(crate) const OWN_NAMES: [&str; 8] = [
    startup::SELF,
    startup::LOG,
    startup::CLOCK,
    startup::COUNTERS,
    startup::POWER,
    startup::DEVICES,
    startup::PROCESSES,
    startup::IMAGE,
];

impl Manifest {
    /// Whether every process keeps the limits, and no name stands for two things.
    pub fn check(&self) -> Result<(), Invalid> {
        let count = self.processes.len();
        require((1..=MAX_PROCESSES).contains(&count), || {
            format!("a manifest has 1 to {MAX_PROCESSES} processes, this one has {count}")
        })?;
        let mut names = BTreeSet::new();
        for process in &self.processes {
            require(names.insert(&process.name), || {
                format!(
                    "two processes are called `{}`; give each a name of its own",
                    process.name
                )
            })?;
            process.check()?;
        }
        services::check(self)
    }
}

impl Process {
    fn check(&self) -> Result<(), Invalid> {
        check_process_name(&self.name)?;
        check_name("a program", &self.program, MAX_MODULE_NAME)?;
        self.check_limits()?;
        self.check_arguments()?;
        self.check_grants()?;
        self.check_devices()?;
        services::check_process(self)
    }

    fn check_limits(&self) -> Result<(), Invalid> {
        let name = &self.name;
        let between = |what: &str, value: u64, least: u64, most: u64| {
            require((least..=most).contains(&value), || {
                format!("`{what}` of process `{name}` is {value}; it can be {least} to {most}")
            })
        };
        between("memory", self.memory, PAGE_SIZE, MAX_MEMORY)?;
        between("handles", self.handles.into(), 1, MAX_HANDLES.into())?;
        between("threads", self.threads.into(), 1, MAX_THREADS as u64)?;
        between("processes", self.processes.into(), 0, MAX_THREADS as u64)?;
        between("requests", self.requests.into(), 0, MAX_REQUESTS as u64)?;
        between("priority", self.priority.into(), 0, MAX_PRIORITY.into())
    }

    fn check_arguments(&self) -> Result<(), Invalid> {
        let name = &self.name;
        require(self.arguments.len() <= MAX_ARGUMENTS, || {
            format!("process `{name}` has more than {MAX_ARGUMENTS} arguments")
        })?;
        require(
            self.arguments.iter().all(|text| text.len() <= MAX_ARGUMENT),
            || format!("an argument of process `{name}` has more than {MAX_ARGUMENT} bytes"),
        )
    }

    fn check_grants(&self) -> Result<(), Invalid> {
        let name = &self.name;
        require(self.grants.len() <= MAX_GRANTS, || {
            format!("process `{name}` has more than {MAX_GRANTS} grants")
        })?;
        for (index, grant) in self.grants.iter().enumerate() {
            require(!self.grants[..index].contains(grant), || {
                format!("process `{name}` is granted {grant:?} twice; once is enough")
            })?;
            if let Grant::Module(module) = grant {
                check_name("a module", module, MAX_MODULE_NAME)?;
                require(!OWN_NAMES.contains(&module.as_str()), || {
                    format!(
                        "process `{name}` cannot be granted a module called `{module}`: that is the name of another handle"
                    )
                })?;
            }
        }
        Ok(())
    }

    fn check_devices(&self) -> Result<(), Invalid> {
        let name = &self.name;
        require(self.devices.len() <= MAX_DEVICES, || {
            format!("process `{name}` has more than {MAX_DEVICES} devices")
        })?;
        for (index, device) in self.devices.iter().enumerate() {
            check_name("a device", &device.name, MAX_NAME)?;
            let before = &self.devices[..index];
            require(before.iter().all(|other| other.name != device.name), || {
                format!(
                    "two devices of process `{name}` are called `{}`; give each a name of its own",
                    device.name
                )
            })?;
            require(Selector::parse(&device.device).is_some(), || {
                format!(
                    "{:?} of process `{name}` is no device; write `pci:SSSS:BB:DD.F` (segment, bus, device, function), `class:CCSSII` or `id:VVVV:DDDD`, in hexadecimal digits, the last two with `#N` for the N-th, from 0",
                    device.device
                )
            })?;
        }
        Ok(())
    }
}

/// Names appear in log lines and on command lines, so they have no spaces or control characters.
pub(crate) fn check_name(what: &str, name: &str, most: usize) -> Result<(), Invalid> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = (1..=most).contains(&name.len()) && name.bytes().all(plain);
    require(fits, || {
        format!(
            "{name:?} cannot be the name of {what}: use 1 to {most} letters, digits, `-`, `_` and `.`"
        )
    })
}

/// The kernel's rule, and room for a zero behind it.
fn check_process_name(name: &str) -> Result<(), Invalid> {
    let fits = name.len() <= MAX_NAME && is_process_name(name.as_bytes());
    require(fits, || {
        format!(
            "{name:?} cannot be the name of a process: use 1 to {MAX_NAME} lower-case letters, digits, `-`, `_` and `.`"
        )
    })
}

pub(crate) fn require(holds: bool, sentence: impl FnOnce() -> String) -> Result<(), Invalid> {
    if holds {
        Ok(())
    } else {
        Err(Invalid(sentence()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use alloc::{string::ToString, vec, vec::Vec};

    fn refusal(change: impl FnOnce(&mut Process)) -> String {
        let mut process = Process::new("one", "program");
        change(&mut process);
        let manifest = Manifest {
            processes: vec![process],
            ..Manifest::default()
        };
        match manifest.check() {
            Ok(()) => "accepted".into(),
            Err(invalid) => invalid.to_string(),
        }
    }

    #[test]
    fn every_limit_holds_on_both_sides() {
        assert_eq!(refusal(|p| p.name = "n".repeat(MAX_NAME)), "accepted");
        assert!(refusal(|p| p.name = "n".repeat(MAX_NAME + 1)).contains("1 to 31"));
        assert!(refusal(|p| p.name = "".into()).contains("name of a process"));
        for name in ["two words", "Hello", "grün", "a\n", "a]"] {
            assert!(refusal(|p| p.name = name.into()).contains("lower-case letters"));
        }
        assert_eq!(refusal(|p| p.name = "a-1_b.c".into()), "accepted");
        assert_eq!(
            refusal(|p| p.program = "n".repeat(MAX_MODULE_NAME)),
            "accepted"
        );
        assert!(refusal(|p| p.program = "n".repeat(MAX_MODULE_NAME + 1)).contains("program"));
        assert_eq!(refusal(|p| p.memory = PAGE_SIZE), "accepted");
        assert!(refusal(|p| p.memory = 0).contains("`memory` of process `one` is 0"));
        assert_eq!(refusal(|p| p.memory = MAX_MEMORY), "accepted");
        assert!(refusal(|p| p.memory = MAX_MEMORY + 1).contains("memory"));
        assert_eq!(refusal(|p| p.priority = MAX_PRIORITY), "accepted");
        assert!(refusal(|p| p.priority = MAX_PRIORITY + 1).contains("0 to 31"));
        assert!(refusal(|p| p.handles = 0).contains("handles"));
        assert!(refusal(|p| p.handles = MAX_HANDLES + 1).contains("handles"));
        assert!(refusal(|p| p.threads = 0).contains("threads"));
        assert!(refusal(|p| p.processes = u32::MAX).contains("processes"));
        assert_eq!(refusal(|p| p.requests = MAX_REQUESTS as u32), "accepted");
        assert!(refusal(|p| p.requests = MAX_REQUESTS as u32 + 1).contains("requests"));
        let argument = |length| vec!["a".repeat(length)];
        assert_eq!(
            refusal(|p| p.arguments = argument(MAX_ARGUMENT)),
            "accepted"
        );
        assert!(refusal(|p| p.arguments = argument(MAX_ARGUMENT + 1)).contains("argument"));
        let many = |count| vec![String::new(); count];
        assert_eq!(refusal(|p| p.arguments = many(MAX_ARGUMENTS)), "accepted");
        assert!(refusal(|p| p.arguments = many(MAX_ARGUMENTS + 1)).contains("arguments"));
    }

    #[test]
    fn a_grant_is_given_once_and_a_module_cannot_pose_as_another_handle() {
        assert!(refusal(|p| p.grants = vec![Grant::Log, Grant::Log]).contains("twice"));
        let module = |name: &str| vec![Grant::Module(name.into())];
        assert_eq!(refusal(|p| p.grants = module("data")), "accepted");
        assert!(refusal(|p| p.grants = module("self")).contains("another handle"));
        let modules = |count| (0..count).map(|n| Grant::Module(n.to_string()));
        assert_eq!(
            refusal(|p| p.grants = modules(MAX_GRANTS).collect()),
            "accepted"
        );
        assert!(refusal(|p| p.grants = modules(MAX_GRANTS + 1).collect()).contains("grants"));
    }

    #[test]
    fn devices_have_names_of_both_kinds() {
        let device = |name: &str, device: &str| Device {
            name: name.into(),
            device: device.into(),
        };
        let disk = || device("disk", "class:010802");
        for right in ["class:010802#1", "id:1234:11e8", "pci:0000:00:1f.2"] {
            let devices = vec![disk(), device("other", right)];
            assert_eq!(refusal(|p| p.devices = devices), "accepted");
        }
        let wrong = refusal(|p| p.devices = vec![device("disk", "nvme0")]);
        assert!(wrong.contains("\"nvme0\" of process `one` is no device"));
        assert!(wrong.contains("class:CCSSII"));
        assert!(refusal(|p| p.devices = vec![device("a disk", "")]).contains("letters"));
        assert!(refusal(|p| p.devices = vec![disk(), disk()]).contains("called `disk`"));
        let many = |count: usize| (0..count).map(|n| device(&n.to_string(), "class:010802"));
        assert_eq!(
            refusal(|p| p.devices = many(MAX_DEVICES).collect()),
            "accepted"
        );
        assert!(refusal(|p| p.devices = many(MAX_DEVICES + 1).collect()).contains("devices"));
    }

    #[test]
    fn there_are_processes_and_their_names_differ() {
        let named = |count: usize| Manifest {
            processes: (0..count)
                .map(|n| Process::new(&n.to_string(), "p"))
                .collect::<Vec<_>>(),
            ..Manifest::default()
        };
        assert!(named(0).check().is_err());
        assert!(named(MAX_PROCESSES).check().is_ok());
        assert!(named(MAX_PROCESSES + 1).check().is_err());
        let mut twins = named(2);
        twins.processes[1].name = "0".into();
        assert!(
            twins
                .check()
                .unwrap_err()
                .0
                .contains("two processes are called `0`")
        );
    }
}

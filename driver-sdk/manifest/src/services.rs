//! The rules for services: each has one server, and every client names one that there is.

use alloc::{collections::BTreeMap, format};

use spillway_abi::startup;

use crate::{
    Invalid, MAX_MODULE_NAME, MAX_NAME, MAX_PROVIDES, MAX_SERVICES, Manifest, Process,
    check::{check_name, require},
};

/// What one process provides and gets.
pub fn check_process(process: &Process) -> Result<(), Invalid> {
    let name = &process.name;
    require(process.provides.len() <= MAX_PROVIDES, || {
        format!("process `{name}` provides more than {MAX_PROVIDES} services")
    })?;
    require(process.services.len() <= MAX_SERVICES, || {
        format!("process `{name}` gets objects of more than {MAX_SERVICES} services")
    })?;
    for service in &process.provides {
        check_name("a service", service, MAX_NAME)?;
    }
    for (index, object) in process.services.iter().enumerate() {
        check_name("an object of a service", &object.name, MAX_MODULE_NAME)?;
        let before = &process.services[..index];
        // A name that is not granted is free: a process can serve what the kernel would otherwise.
        let is_taken = object.name == startup::SELF
            || process
                .grants
                .iter()
                .any(|grant| grant.name() == object.name)
            || before.iter().any(|other| other.name == object.name);
        require(!is_taken, || {
            format!(
                "process `{name}` cannot get an object called `{}`: that is the name of another handle; give it another `name`, and say `from` which service it is",
                object.name
            )
        })?;
        require(!object.rights.is_empty(), || {
            format!(
                "the object `{}` of process `{name}` has no rights; write some of \"read\", \"write\", \"map\", \"manage\"",
                object.name
            )
        })?;
    }
    Ok(())
}

/// Who serves what.
pub fn check(manifest: &Manifest) -> Result<(), Invalid> {
    let mut servers = BTreeMap::new();
    for process in &manifest.processes {
        for service in &process.provides {
            let other = servers.insert(service, &process.name);
            require(other.is_none(), || {
                format!(
                    "the service `{service}` is provided twice, the second time by process `{}`; give each a name of its own",
                    process.name
                )
            })?;
        }
    }
    for process in &manifest.processes {
        for object in &process.services {
            require(servers.contains_key(&object.from), || {
                format!(
                    "process `{}` gets an object of the service `{}`, which no process provides; add `provides = [\"{}\"]` to its server",
                    process.name, object.from, object.from
                )
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grant, ServedObject, ServiceRight};
    use alloc::{
        string::{String, ToString},
        vec,
        vec::Vec,
    };

    fn object(name: &str, from: &str) -> ServedObject {
        ServedObject {
            name: name.into(),
            from: from.into(),
            object: 0,
            rights: ServiceRight::DEFAULT.to_vec(),
        }
    }

    /// A client before its server, which provides `disk`.
    fn refusal(change: impl FnOnce(&mut Process, &mut Process)) -> String {
        let mut client = Process::new("client", "p");
        let mut server = Process::new("server", "p");
        server.provides = vec!["disk".into()];
        change(&mut client, &mut server);
        let manifest = Manifest {
            processes: vec![client, server],
            ..Manifest::default()
        };
        match manifest.check() {
            Ok(()) => "accepted".into(),
            Err(invalid) => invalid.to_string(),
        }
    }

    #[test]
    fn a_client_names_a_service_that_there_is_wherever_its_server_is() {
        let disk = || vec![object("disk", "disk"), object("second", "disk")];
        assert_eq!(refusal(|client, _| client.services = disk()), "accepted");
        let unknown = refusal(|client, _| client.services = vec![object("disk", "disc")]);
        assert!(unknown.contains("`disc`, which no process provides"));
    }

    #[test]
    fn a_service_has_one_server() {
        let twice = refusal(|client, _| client.provides = vec!["disk".into()]);
        assert!(twice.contains("provided twice"));
        let alone = refusal(|_, server| server.provides.push("disk".into()));
        assert!(alone.contains("provided twice"));
        assert!(refusal(|_, server| server.provides.push("a b".into())).contains("letters"));
    }

    #[test]
    fn an_object_cannot_pose_as_another_handle() {
        let own = refusal(|client, _| client.services = vec![object("self", "disk")]);
        assert!(own.contains("another handle"));
        for (name, grant) in [("log", Grant::Log), ("processes", Grant::Processes)] {
            let change = |granted: bool| {
                refusal(|client, _| {
                    client.services = vec![object(name, "disk")];
                    client.grants = if granted { vec![grant.clone()] } else { vec![] };
                })
            };
            assert!(change(true).contains("another handle"), "{name}");
            assert_eq!(change(false), "accepted");
        }
        let twins = refusal(|client, _| client.services = vec![object("a", "disk"); 2]);
        assert!(twins.contains("another handle"));
        let module = refusal(|client, _| {
            client.grants = vec![Grant::Module("data".into())];
            client.services = vec![object("data", "disk")];
        });
        assert!(module.contains("another handle"));
        // Handles with a prefix cannot be meant: a name has no colon.
        let prefixed = refusal(|client, _| client.services = vec![object("service:a", "disk")]);
        assert!(prefixed.contains("letters"));
    }

    #[test]
    fn both_lists_end_at_their_limits() {
        let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        let provide = |count| refusal(|client, _| client.provides = names(count));
        assert_eq!(provide(MAX_PROVIDES), "accepted");
        assert!(provide(MAX_PROVIDES + 1).contains("more than 16"));
        let get = |count| {
            let objects = names(count)
                .iter()
                .map(|name| object(name, "disk"))
                .collect();
            refusal(|client, _| client.services = objects)
        };
        assert_eq!(get(MAX_SERVICES), "accepted");
        assert!(get(MAX_SERVICES + 1).contains("more than 32"));
    }

    #[test]
    fn an_object_without_rights_is_refused() {
        let nothing = ServedObject {
            rights: vec![],
            ..object("disk", "disk")
        };
        assert!(refusal(|client, _| client.services = vec![nothing]).contains("no rights"));
    }
}

//! The TOML form that people write.
//!
//! ```toml
//! [[process]]
//! name = "hello"
//! program = "hello"            # a program of the workspace, by its package or binary
//! arguments = ["world"]
//! memory = "16 MiB"
//! cores = [0, 1]
//! priority = 16
//! grants = ["log", "clock"]
//! ```
//!
//! Instead of `program`, `path` names a package elsewhere and `elf` a ready ELF file; both are
//! relative to the manifest. `[[module]]` puts a further file or program into the boot image, and
//! `modules` grants them. `docs/manifest.md` describes every key.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use crate::{
    Grant, Invalid, Manifest,
    entry::{Document, ProcessEntry},
};

/// A manifest with the places from which its modules come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What `init` is told.
    pub manifest: Manifest,
    /// Every module that the manifest needs, each once.
    pub modules: Vec<Module>,
}

/// A file of the boot image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name in the image.
    pub name: String,
    /// Where the host finds it.
    pub origin: Origin,
}

/// Where the host finds a module. Paths are as written: relative to the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A program of the workspace, by the name of its package or binary.
    Workspace(String),
    /// A package elsewhere, by its folder; and its binary, if it has several.
    Package(String, Option<String>),
    /// A ready ELF file.
    Elf(String),
    /// Any other file.
    File(String),
}

/// Reads and checks a manifest that somebody wrote.
pub fn parse(text: &str) -> Result<Source, Invalid> {
    let document: Document =
        toml::from_str(text).map_err(|error| Invalid(error.to_string().trim_end().to_string()))?;
    let mut source = Source {
        manifest: Manifest {
            shutdown: document.system.shutdown,
            processes: Vec::new(),
        },
        modules: Vec::new(),
    };
    for entry in document.module {
        source.add(entry.resolve()?)?;
    }
    for entry in document.process {
        source.add_process(entry)?;
    }
    source.manifest.check()?;
    source.check_granted_modules()?;
    Ok(source)
}

impl Source {
    fn add(&mut self, module: Module) -> Result<(), Invalid> {
        if ["kernel", "manifest", "init"].contains(&module.name.as_str()) {
            return Err(Invalid(format!(
                "`{}` is in every boot image already; give the module another name",
                module.name
            )));
        }
        match self.modules.iter().find(|other| other.name == module.name) {
            Some(other) if *other == module => Ok(()),
            Some(_) => Err(Invalid(format!(
                "two different modules are called `{}`; give one a name of its own",
                module.name
            ))),
            None => {
                self.modules.push(module);
                Ok(())
            }
        }
    }

    fn add_process(&mut self, entry: ProcessEntry) -> Result<(), Invalid> {
        let module = entry.resolve()?;
        let program = module.name.clone();
        self.add(module)?;
        self.manifest.processes.push(entry.into_process(program)?);
        Ok(())
    }

    fn check_granted_modules(&self) -> Result<(), Invalid> {
        for process in &self.manifest.processes {
            for grant in &process.grants {
                let Grant::Module(name) = grant else { continue };
                if !self.modules.iter().any(|module| module.name == *name) {
                    return Err(Invalid(format!(
                        "process `{}` is granted module `{name}`, which the manifest does not have; add a [[module]] with that name",
                        process.name
                    )));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Process, ServedObject, ServiceRight, Shutdown};
    use alloc::vec;
    use proptest::prelude::*;

    fn refusal(text: &str) -> String {
        match parse(text) {
            Ok(_) => "accepted".into(),
            Err(Invalid(sentence)) => sentence,
        }
    }

    fn process(keys: &str) -> String {
        format!("[[process]]\nname = \"p\"\nprogram = \"hello\"\n{keys}\n")
    }

    /// The text of a file of the repository.
    fn read(path: &std::path::Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn every_manifest_of_the_repository_is_right() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder = std::fs::read_dir(root.join("manifests")).unwrap();
        for file in folder {
            let path = file.unwrap().path();
            assert_eq!(refusal(&read(&path)), "accepted", "{}", path.display());
        }
        // And those that the documents show: the blocks that have a process with a program.
        let mut shown = 0;
        for page in ["manifest.md", "devmgr.md", "driver-sdk.md"] {
            let text = read(&root.join("docs").join(page));
            let blocks = text.split("```toml").skip(1);
            let blocks = blocks.filter_map(|rest| rest[rest.find('\n')?..].split("```").next());
            for block in blocks.filter(|block| block.contains("[[process]]")) {
                assert_eq!(refusal(block), "accepted", "{page}: {block}");
                shown += 1;
            }
        }
        assert!(shown >= 3);
    }

    #[test]
    fn every_key_is_understood() {
        let source = parse(
            r#"
            [system]
            shutdown = "never"
            [[module]]
            name = "data"
            file = "data.bin"
            [[process]]
            name = "hello"
            program = "hello"
            arguments = ["world"]
            memory = "32 MiB"
            handles = 10
            threads = 11
            processes = 12
            requests = 13
            cores = [0, 2]
            priority = 17
            grants = ["log", "clock", "counters", "power", "image", "devices", "processes"]
            modules = ["data"]
            devices = [{ name = "disk", device = "class:010802" }]
            provides = ["table", "list"]
            background = true
            services = ["table", { name = "rest", from = "list", object = 3, rights = ["read", "manage"] }]
            "#,
        )
        .unwrap();
        assert_eq!(source.manifest.shutdown, Shutdown::Never);
        let expected = Process {
            arguments: vec!["world".into()],
            memory: 32 << 20,
            handles: 10,
            threads: 11,
            processes: 12,
            requests: 13,
            cores: 0b101,
            priority: 17,
            grants: vec![
                Grant::Log,
                Grant::Clock,
                Grant::Counters,
                Grant::Power,
                Grant::Image,
                Grant::Devices,
                Grant::Processes,
                Grant::Module("data".into()),
            ],
            devices: vec![Device {
                name: "disk".into(),
                device: "class:010802".into(),
            }],
            provides: vec!["table".into(), "list".into()],
            background: true,
            services: vec![
                ServedObject {
                    name: "table".into(),
                    from: "table".into(),
                    object: 0,
                    rights: vec![ServiceRight::Read, ServiceRight::Write, ServiceRight::Map],
                },
                ServedObject {
                    name: "rest".into(),
                    from: "list".into(),
                    object: 3,
                    rights: vec![ServiceRight::Read, ServiceRight::Manage],
                },
            ],
            ..Process::new("hello", "hello")
        };
        assert_eq!(source.manifest.processes, [expected]);
        assert_eq!(
            source.modules,
            [
                Module {
                    name: "data".into(),
                    origin: Origin::File("data.bin".into())
                },
                Module {
                    name: "hello".into(),
                    origin: Origin::Workspace("hello".into())
                },
            ]
        );
    }

    #[test]
    fn what_is_not_said_is_modest() {
        let source = parse(&process("")).unwrap();
        assert_eq!(source.manifest.shutdown, Shutdown::WhenAllExit);
        assert_eq!(source.manifest.processes, [Process::new("p", "hello")]);
    }

    #[test]
    fn programs_come_from_the_workspace_a_package_or_a_file() {
        let origin = |keys: &str| {
            let text = format!("[[process]]\nname = \"p\"\n{keys}");
            parse(&text).map(|source| source.modules[0].clone())
        };
        let module = |name: &str, origin| {
            Ok(Module {
                name: name.into(),
                origin,
            })
        };
        assert_eq!(
            origin("path = \"../mine/\""),
            module("mine", Origin::Package("../mine/".into(), None))
        );
        assert_eq!(
            origin("path = \"..\"\nprogram = \"b\""),
            module("b", Origin::Package("..".into(), Some("b".into())))
        );
        assert_eq!(
            origin("elf = \"out/tool.elf\""),
            module("tool", Origin::Elf("out/tool.elf".into()))
        );
        assert!(
            origin("path = \"..\"")
                .unwrap_err()
                .0
                .contains("must end in the name")
        );
        for keys in [
            "",
            "program = \"a\"\nelf = \"b\"",
            "path = \"a\"\nelf = \"b\"",
        ] {
            assert!(
                origin(keys).unwrap_err().0.contains("must say once"),
                "{keys}"
            );
        }
        assert!(origin("file = \"b\"").is_err());
    }

    #[test]
    fn two_processes_can_share_a_program_but_not_a_name_of_different_ones() {
        let two = |second: &str| format!("{}[[process]]\nname = \"q\"\n{second}\n", process(""));
        assert_eq!(parse(&two("program = \"hello\"")).unwrap().modules.len(), 1);
        assert!(refusal(&two("path = \"x/hello\"")).contains("two different modules"));
    }

    #[test]
    fn refusals_say_what_would_be_right() {
        assert!(refusal(&process("memroy = 5")).contains("expected one of"));
        assert!(refusal(&process("memory = \"16 MB\"")).contains("16 MiB"));
        assert!(refusal(&process("memory = 0")).contains("4096 to"));
        assert!(refusal(&process("cores = [64]")).contains("0 to 63"));
        assert_eq!(refusal(&process("cores = [63]")), "accepted");
        assert!(refusal(&process("priority = 32")).contains("0 to 31"));
        assert!(refusal(&process("grants = [\"everything\"]")).contains("`log`"));
        let device = "devices = [{ name = \"d\", device = \"eth0\" }]";
        assert!(refusal(&process(device)).contains("is no device"));
        assert!(refusal(&process("devices = [{ name = \"d\" }]")).contains("device"));
        assert!(refusal(&process("modules = [\"data\"]")).contains("[[module]]"));
        assert!(refusal(&process("services = [\"disk\"]")).contains("no process provides"));
        let right = "services = [{ name = \"disk\", rights = [\"all\"] }]";
        assert!(refusal(&process(right)).contains("\"manage\""));
        assert!(refusal("[system]\nshutdown = \"soon\"").contains("when-all-exit"));
        assert!(refusal("").contains("1 to 128 processes"));
        assert!(refusal("[[process]]\nname = \"p\"\nprogram = \"init\"").contains("already"));
        assert!(refusal("not toml").contains("TOML"));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_accepted_can_be_encoded(keys in "(memory|cores|priority|grants) = .{0,12}") {
            if let Ok(source) = parse(&process(&keys)) {
                prop_assert!(source.manifest.encode().is_ok());
            }
        }
    }
}

//! The boot image: from a manifest to one file with the kernel, the manifest and the programs.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use spillway_manifest::source::{self, Module, Origin, Source};

use crate::{
    cargo::Build,
    cli::Profile,
    elf,
    parts::{self, Part},
    workspace::{self, Workspace},
};

/// How the files that a machine boots from are made.
pub struct Recipe {
    profile: Profile,
    source: Source,
    loader: Build,
    kernel: Build,
    programs: Build,
    modules: Vec<Planned>,
    output: PathBuf,
}

/// A module and what yields it.
struct Planned {
    name: String,
    place: Place,
}

enum Place {
    Workspace { binary: String },
    Outside { build: Build, binary: String },
    Elf(PathBuf),
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// What a machine boots from.
pub struct BootFiles {
    pub loader: PathBuf,
    pub image: PathBuf,
    /// The ELF files with all that a debugger wants, by the names of their modules.
    pub symbols: Vec<(String, PathBuf)>,
}

/// What several recipes have built together: the binaries by the commands that made them. It must not
/// outlive a change of the sources.
#[derive(Default)]
pub struct Builds(BTreeMap<String, Vec<(String, PathBuf)>>);

impl Builds {
    fn run(&mut self, build: &Build) -> Result<Vec<(String, PathBuf)>> {
        let line = build.shell_line();
        if let Some(binaries) = self.0.get(&line) {
            return Ok(binaries.clone());
        }
        let binaries = build.run()?;
        self.0.insert(line, binaries.clone());
        Ok(binaries)
    }
}

impl Recipe {
    /// Reads the manifest and finds out where everything that it names comes from.
    pub fn new(workspace: &Workspace, profile: Profile, manifest: &Path) -> Result<Self> {
        let path = locate(workspace, manifest)?;
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let source = source::parse(&text)
            .map_err(|error| anyhow!("{} is not right: {error}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut packages = vec![workspace.program("init")?.0.name.clone()];
        let mut modules = Vec::new();
        for module in &source.modules {
            let place = plan(workspace, profile, folder, module, &mut packages)?;
            modules.push(Planned {
                name: module.name.clone(),
                place,
            });
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}-{}", profile.name());
        let part = |part: Part| part.build(workspace, profile, &workspace.packages_of(part));
        Ok(Self {
            loader: part(Part::Loader),
            kernel: part(Part::Kernel),
            programs: Part::Programs.build(workspace, profile, &packages),
            output: workspace.target.join("image").join(format!("{name}.img")),
            profile,
            source,
            modules,
        })
    }

    /// The calls of cargo, in order.
    pub fn builds(&self) -> impl Iterator<Item = &Build> {
        let outside = self
            .modules
            .iter()
            .filter_map(|module| match &module.place {
                Place::Outside { build, .. } => Some(build),
                _ => None,
            });
        [&self.loader, &self.kernel, &self.programs]
            .into_iter()
            .chain(outside)
    }

    /// Builds everything and writes the image.
    pub fn make(&self) -> Result<BootFiles> {
        self.make_with(&mut Builds::default())
    }

    /// The same, without building again what another recipe has just built.
    pub fn make_with(&self, builds: &mut Builds) -> Result<BootFiles> {
        let loader = parts::binary(&builds.run(&self.loader)?, "bootloader")?;
        let kernel = parts::binary(&builds.run(&self.kernel)?, "kernel")?;
        let programs = builds.run(&self.programs)?;
        let mut symbols = vec![
            ("kernel".to_string(), kernel),
            ("init".into(), parts::binary(&programs, "init")?),
        ];
        let mut entries = Vec::new();
        for module in &self.modules {
            let path = match &module.place {
                Place::Workspace { binary } => parts::binary(&programs, binary)?,
                Place::Outside { build, binary } => parts::binary(&builds.run(build)?, binary)?,
                Place::Elf(path) => path.clone(),
                Place::File(path) => {
                    entries.push((module.name.clone(), read(path)?));
                    continue;
                }
                Place::Bytes(bytes) => {
                    entries.push((module.name.clone(), bytes.clone()));
                    continue;
                }
            };
            symbols.push((module.name.clone(), path));
        }
        for (name, path) in &symbols {
            entries.push((name.clone(), load(name, path)?));
        }
        let image = self.write(entries)?;
        Ok(BootFiles {
            loader,
            image,
            symbols,
        })
    }

    fn write(&self, mut entries: Vec<(String, Vec<u8>)>) -> Result<PathBuf> {
        let manifest = self
            .source
            .manifest
            .encode()
            .map_err(|error| anyhow!("{error}"))?;
        entries.push(("manifest".into(), manifest));
        // The kernel first, then the manifest: what a reader of a dump looks for.
        entries.sort_by_key(|(name, _)| match name.as_str() {
            "kernel" => 0,
            "manifest" => 1,
            "init" => 2,
            _ => 3,
        });
        let borrowed: Vec<_> = entries
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        let bytes =
            spillway_bootinfo::image::write(&borrowed).map_err(|error| anyhow!("{error}"))?;
        write_whole(&self.output, &bytes)?;
        Ok(self.output.clone())
    }

    /// Changes the arguments of the processes that run a program.
    pub fn change_arguments(&mut self, program: &str, change: impl Fn(&mut Vec<String>)) {
        let processes = self.source.manifest.processes.iter_mut();
        for process in processes.filter(|process| process.program == program) {
            change(&mut process.arguments);
        }
    }

    /// Puts texts in the place of words in the arguments of all processes.
    pub fn replace_in_arguments(&mut self, words: &[(&str, &str)]) {
        for process in &mut self.source.manifest.processes {
            for argument in &mut process.arguments {
                for (word, text) in words {
                    *argument = argument.replace(word, text);
                }
            }
        }
    }

    /// Puts bytes in the place of a module's file, which need not exist then.
    pub fn provide(&mut self, module: &str, bytes: Vec<u8>) -> Result<()> {
        let found = self.modules.iter_mut().find(|other| other.name == module);
        let found = found.with_context(|| {
            format!(
                "the manifest has no module `{module}`; add [[module]] with this name and a `file`"
            )
        })?;
        found.place = Place::Bytes(bytes);
        Ok(())
    }

    /// Has the image written beside the one that the manifest is named after.
    pub fn rename(&mut self, name: &str) {
        let name = format!("{name}-{}.img", self.profile.name());
        self.output.set_file_name(name);
    }

    /// Where the image will be.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// Where the loader will be.
    pub fn loader(&self, workspace: &Workspace) -> PathBuf {
        Part::Loader
            .folder(workspace, self.profile)
            .join("bootloader")
    }
}

/// Writes a file so that nobody ever sees half of it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let attempt = || -> Result<()> {
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut file, bytes)?;
        file.persist(path)?;
        Ok(())
    };
    attempt().with_context(|| format!("{} cannot be written", path.display()))
}

/// A manifest by its path from here, or else from the root of the workspace.
fn locate(workspace: &Workspace, manifest: &Path) -> Result<PathBuf> {
    [manifest.to_path_buf(), workspace.root.join(manifest)]
        .into_iter()
        .find(|path| path.is_file())
        .with_context(|| {
            format!(
                "there is no manifest {}; give the path of a TOML file, manifests/ has examples",
                manifest.display()
            )
        })
}

fn plan(
    workspace: &Workspace,
    profile: Profile,
    folder: &Path,
    module: &Module,
    packages: &mut Vec<String>,
) -> Result<Place> {
    Ok(match &module.origin {
        Origin::Workspace(name) => {
            let (package, binary) = workspace.program(name)?;
            if !packages.contains(&package.name) {
                packages.push(package.name.clone());
            }
            Place::Workspace {
                binary: binary.into(),
            }
        }
        Origin::Package(path, binary) => {
            let folder = folder.join(path);
            let binary = workspace::outside_binary(&folder, binary.as_deref())?;
            let build = Part::build_outside(workspace, profile, &folder);
            Place::Outside { build, binary }
        }
        Origin::Elf(path) => Place::Elf(folder.join(path)),
        Origin::File(path) => Place::File(folder.join(path)),
    })
}

/// An ELF file as it goes into the image: checked, and without what only a debugger wants.
fn load(name: &str, path: &Path) -> Result<Vec<u8>> {
    let bytes = read(path)?;
    let stripped = elf::without_debug_information(&bytes)
        .with_context(|| format!("{} is not an ELF file", path.display()))?;
    if name != "kernel" {
        elf::check_program(&stripped)
            .with_context(|| format!("{} cannot run on Spillway", path.display()))?;
    }
    Ok(stripped)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

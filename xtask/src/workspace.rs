//! What cargo knows about the workspace: its root, its packages, and which of them run on the host.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{cargo, parts::Part};

/// The loader's package.
pub const LOADER: &str = "spillway-bootloader";
/// The kernel's package.
pub const KERNEL: &str = "spillway-kernel";

/// The workspace that xtask belongs to.
pub struct Workspace {
    pub root: PathBuf,
    pub target: PathBuf,
    /// Whether builds are to say nothing but errors.
    pub quiet: bool,
    packages: Vec<Package>,
    host: Vec<String>,
}

#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    id: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    target: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
    workspace_default_members: Vec<String>,
}

impl Workspace {
    /// Asks cargo.
    pub fn load() -> Result<Self> {
        Self::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))
    }

    /// A copy of the workspace, built elsewhere, without a word about its warnings.
    pub fn copy_in(root: &Path, target: PathBuf) -> Result<Self> {
        let copy = Self::read(&root.join("Cargo.toml"))?;
        Ok(Self {
            target,
            quiet: true,
            ..copy
        })
    }

    fn read(manifest: &Path) -> Result<Self> {
        let metadata = read(manifest)?;
        Ok(Self {
            root: metadata.workspace_root,
            target: metadata.target_directory,
            quiet: false,
            packages: metadata.packages,
            host: metadata.workspace_default_members,
        })
    }

    /// The package and binary that a manifest means by a name.
    pub fn program(&self, name: &str) -> Result<(&Package, &str)> {
        let freestanding = || {
            self.packages
                .iter()
                .filter(|package| !self.is_host(package))
        };
        let by_binary = freestanding().find_map(|package| {
            let binary = package.binaries().find(|binary| *binary == name)?;
            Some((package, binary))
        });
        if let Some(found) = by_binary {
            return Ok(found);
        }
        if let Some(package) = freestanding().find(|package| package.name == name) {
            return Ok((package, package.only_binary()?));
        }
        let mut names: Vec<_> = freestanding().flat_map(Package::binaries).collect();
        names.retain(|name| !["bootloader", "kernel", "init"].contains(name));
        if names.is_empty() {
            bail!("the workspace has no program `{name}`, nor any other; add one under apps/");
        }
        bail!(
            "the workspace has no program `{name}`; use one of: {}",
            names.join(", ")
        )
    }

    /// The packages whose binaries belong to a part.
    pub fn packages_of(&self, part: Part) -> Vec<String> {
        let own = [LOADER, KERNEL];
        match part {
            Part::Loader => vec![LOADER.into()],
            Part::Kernel => vec![KERNEL.into()],
            Part::Programs => {
                let programs = self.packages.iter().filter(|package| {
                    !self.is_host(package)
                        && !own.contains(&package.name.as_str())
                        && package.binaries().next().is_some()
                });
                programs.map(|package| package.name.clone()).collect()
            }
        }
    }

    /// Packages that cannot be built without the flags of their part.
    pub fn freestanding(&self) -> impl Iterator<Item = &str> {
        let packages = self
            .packages
            .iter()
            .filter(|package| !self.is_host(package));
        packages.map(|package| package.name.as_str())
    }

    /// Packages that have models for loom.
    pub fn with_models(&self) -> impl Iterator<Item = &str> {
        let under_loom =
            |dependency: &Dependency| dependency.target.as_deref() == Some("cfg(loom)");
        let packages = self.packages.iter();
        packages
            .filter(move |package| package.dependencies.iter().any(under_loom))
            .map(|package| package.name.as_str())
    }

    fn is_host(&self, package: &Package) -> bool {
        self.host.contains(&package.id)
    }
}

impl Package {
    fn binaries(&self) -> impl Iterator<Item = &str> {
        let is_binary = |target: &&Target| target.kind.iter().any(|kind| kind == "bin");
        self.targets
            .iter()
            .filter(is_binary)
            .map(|target| target.name.as_str())
    }

    fn only_binary(&self) -> Result<&str> {
        let names: Vec<_> = self.binaries().collect();
        match names[..] {
            [name] => Ok(name),
            [] => bail!("package `{}` has no binary; add a src/main.rs", self.name),
            _ => bail!(
                "package `{}` has several binaries; set `program` to one of: {}",
                self.name,
                names.join(", ")
            ),
        }
    }
}

/// The binary that is meant in a package outside the workspace.
pub fn outside_binary(folder: &Path, binary: Option<&str>) -> Result<String> {
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        bail!(
            "{} does not exist; `path` must name the folder of a package",
            manifest.display()
        );
    }
    let manifest = manifest.canonicalize()?;
    let metadata = read(&manifest)?;
    let package = metadata
        .packages
        .iter()
        .find(|package| package.manifest_path == manifest)
        .with_context(|| {
            format!(
                "{} has no [package]; `path` must name one",
                manifest.display()
            )
        })?;
    match binary {
        None => Ok(package.only_binary()?.into()),
        Some(name) if package.binaries().any(|binary| binary == name) => Ok(name.into()),
        Some(name) => bail!(
            "package `{}` has no binary `{name}`; `program` must name one",
            package.name
        ),
    }
}

fn read(manifest: &Path) -> Result<Metadata> {
    let output = cargo::command()
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--manifest-path",
        ])
        .arg(manifest)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cargo cannot be started; install Rust from https://rustup.rs")?;
    if !output.status.success() {
        bail!(
            "cargo cannot read {}; mend what it says above",
            manifest.display()
        );
    }
    serde_json::from_slice(&output.stdout).context("cargo's metadata has an unknown form")
}

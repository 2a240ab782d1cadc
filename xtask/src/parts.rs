//! The parts of the system, and the flags that each is compiled and linked with.
//!
//! Stable cargo has no flags per package, so each part is one call of cargo with its own flags
//! and its own target folder. The explicit `--target` keeps the flags off build scripts.

use std::{
    fs,
    hash::{DefaultHasher, Hasher},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{cargo::Build, cli::Profile, workspace::Workspace};

/// The target of the stock toolchain that every part is built for.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A part of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The second boot stage
    Loader,
    /// The microkernel
    Kernel,
    /// Every program of the workspace
    Programs,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Loader => "loader",
            Self::Kernel => "kernel",
            Self::Programs => "programs",
        }
    }

    fn linker_script(self) -> &'static str {
        match self {
            Self::Loader => "bootloader/link.ld",
            Self::Kernel => "kernel/link.ld",
            Self::Programs => "driver-sdk/rt/program.ld",
        }
    }

    /// Loader and kernel take interrupts on the stack that they run on, so nothing may lie below
    /// the stack pointer: no red zone. Frame pointers are what a panic's backtrace follows.
    fn code_flags(self) -> &'static [&'static str] {
        match self {
            Self::Loader => &["-Crelocation-model=static", "-Cno-redzone=yes"],
            Self::Kernel => &[
                "-Crelocation-model=static",
                "-Cno-redzone=yes",
                "-Ccode-model=kernel",
            ],
            Self::Programs => &["-Crelocation-model=static"],
        }
    }

    /// Every flag for the compiler.
    pub fn rustflags(self, root: &Path) -> Vec<String> {
        let mut flags: Vec<String> = self
            .code_flags()
            .iter()
            .map(|flag| flag.to_string())
            .collect();
        flags.push("-Cforce-frame-pointers=yes".into());
        let script = root.join(self.linker_script());
        // cargo does not watch the linker script, so its content is part of the flags.
        let content = fs::read(&script).unwrap_or_default();
        flags.push(format!("-Cmetadata={}", hash(&content)));
        let script = format!("-T{}", script.display());
        let link = [
            script.as_str(),
            "-nostartfiles",
            "-nostdlib",
            "-static",
            "-no-pie",
            "-Wl,--build-id=none",
            "-Wl,-z,max-page-size=4096",
            "-Wl,-z,noexecstack",
            "-Wl,--gc-sections",
        ];
        flags.extend(link.iter().map(|argument| format!("-Clink-arg={argument}")));
        flags
    }

    /// Where the binaries of this part come to lie.
    pub fn folder(self, workspace: &Workspace, profile: Profile) -> PathBuf {
        let target = workspace.target.join(self.name());
        target.join(TARGET).join(profile.name())
    }

    /// The call of cargo for some packages of this part.
    pub fn build(self, workspace: &Workspace, profile: Profile, packages: &[String]) -> Build {
        let mut arguments: Vec<String> = packages
            .iter()
            .flat_map(|package| ["--package".into(), package.clone()])
            .collect();
        arguments.push("--bins".into());
        let target = workspace.target.join(self.name());
        self.call(workspace, profile, arguments, &target, self.name().into())
    }

    /// The call of cargo for a program that lives outside the workspace. It has a target folder
    /// of its own, because its names may be those of other packages.
    pub fn build_outside(workspace: &Workspace, profile: Profile, folder: &Path) -> Build {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.into());
        let manifest = folder.join("Cargo.toml").display().to_string();
        let arguments = vec!["--manifest-path".into(), manifest, "--bins".into()];
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let hash = hash(folder.as_os_str().as_encoded_bytes());
        let target = workspace
            .target
            .join("outside")
            .join(format!("{name}-{hash}"));
        let what = format!("package in {}", folder.display());
        Self::Programs.call(workspace, profile, arguments, &target, what)
    }

    fn call(
        self,
        workspace: &Workspace,
        profile: Profile,
        mut arguments: Vec<String>,
        target: &Path,
        what: String,
    ) -> Build {
        arguments.extend(["--target", TARGET, "--target-dir"].map(String::from));
        arguments.push(target.display().to_string());
        if profile == Profile::Release {
            arguments.push("--release".into());
        }
        let mut rustflags = self.rustflags(&workspace.root);
        if workspace.quiet {
            arguments.push("--quiet".into());
            rustflags.push("-Awarnings".into());
        }
        Build {
            what,
            root: workspace.root.clone(),
            rustflags,
            arguments,
        }
    }
}

fn hash(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    format!("{:016x}", hasher.finish())
}

/// The binary of this name among those that a build made.
pub fn binary(binaries: &[(String, PathBuf)], name: &str) -> Result<PathBuf> {
    binaries
        .iter()
        .find(|(binary, _)| binary == name)
        .map(|(_, path)| path.clone())
        .with_context(|| format!("cargo built no binary `{name}`; check its Cargo.toml"))
}

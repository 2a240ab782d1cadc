//! Calls of cargo.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{interrupt, ui};

/// cargo, without what an outer cargo told xtask about itself.
pub fn command() -> Command {
    let mut command = Command::new(program());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

fn program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// One `cargo build` of binaries for the guest.
pub struct Build {
    /// For people: "kernel".
    pub what: String,
    /// The workspace in which cargo looks for packages.
    pub root: PathBuf,
    pub rustflags: Vec<String>,
    pub arguments: Vec<String>,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

impl Build {
    /// The command as a shell would take it.
    pub fn shell_line(&self) -> String {
        let mut words = vec!["cargo".to_string(), "build".into()];
        words.extend(self.arguments.iter().cloned());
        let flags = self.rustflags.join(" ");
        format!(
            "RUSTFLAGS={} {}",
            ui::shell_line(&[flags]),
            ui::shell_line(&words)
        )
    }

    /// Builds, and returns the binaries by name. cargo shows its own progress and errors.
    pub fn run(&self) -> Result<Vec<(String, PathBuf)>> {
        let mut child = command()
            .current_dir(&self.root)
            .arg("build")
            .args(&self.arguments)
            .arg("--message-format=json-render-diagnostics")
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags.join("\x1f"))
            // There is nothing to unwind with; packages elsewhere may not have said so.
            .env("CARGO_PROFILE_DEV_PANIC", "abort")
            .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cargo cannot be started; install Rust from https://rustup.rs")?;
        let stdout = child.stdout.take().context("cargo has no output")?;
        let mut binaries = Vec::new();
        for line in BufReader::new(stdout).lines() {
            let Ok(message) = serde_json::from_str::<Message>(&line?) else {
                continue;
            };
            if let ("compiler-artifact", Some(path), Some(target)) =
                (message.reason.as_str(), message.executable, message.target)
            {
                binaries.push((target.name, path));
            }
        }
        let status = child.wait()?;
        if interrupt::requested() {
            bail!("interrupted");
        }
        if !status.success() {
            bail!(
                "the {} does not build; mend the errors above and try again",
                self.what
            );
        }
        Ok(binaries)
    }
}

//! The plugin that says where instructions went (`perf/places`), and what it says.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use spillway_report::places::{self, Places};
use tempfile::NamedTempFile;

use crate::{cargo, qemu::Machine, setup};

/// The oldest QEMU whose plugins can read registers and instructions.
const OLDEST: (u32, u32) = (9, 1);

/// The plugin, built.
pub struct Plugin(PathBuf);

/// A machine that is watched.
pub struct Watched {
    pub machine: Machine,
    out: NamedTempFile,
}

impl Plugin {
    /// Builds it, if this QEMU can load it; says so if not.
    pub fn build(target: &Path, qemu: &Path) -> Result<Option<Self>> {
        let version = setup::qemu_version(qemu);
        if !can_load(qemu, &version) {
            let (major, minor) = OLDEST;
            eprintln!(
                "QEMU {version} cannot say where instructions went; {major}.{minor} or newer, with \
                 plugins, could"
            );
            return Ok(None);
        }
        let target = target.join("places");
        let status = cargo::command()
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--release", "-p", "spillway-places"])
            .arg("--target-dir")
            .arg(&target)
            .stdin(Stdio::null())
            .status()
            .context("cargo cannot be started")?;
        ensure!(
            status.success(),
            "the plugin for QEMU does not build; mend the errors above and try again"
        );
        Ok(Some(Self(target.join("release/libspillway_places.so"))))
    }

    /// The same machine with the plugin loaded.
    pub fn watch(&self, machine: &Machine) -> Result<Watched> {
        let out = NamedTempFile::new().context("there is no room for what the plugin writes")?;
        let mut machine = machine.clone();
        let argument = format!("{},out={}", self.0.display(), out.path().display());
        machine.extra.extend(["-plugin".into(), argument]);
        Ok(Watched { machine, out })
    }
}

impl Watched {
    /// What the plugin wrote.
    pub fn read(&self) -> Result<Places> {
        let text = fs::read_to_string(self.out.path())?;
        places::parse(&text).context("the plugin of QEMU wrote nonsense")
    }
}

/// Whether a QEMU knows the option, and is new enough.
fn can_load(qemu: &Path, version: &str) -> bool {
    let help = Command::new(qemu).arg("-help").output();
    let knows = help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("-plugin"));
    knows && is_new_enough(version)
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version
        .split('.')
        .map(|number| number.parse::<u32>().unwrap_or(0));
    let mut number = || numbers.next().unwrap_or(0);
    (number(), number()) >= OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_told_from_new_ones() {
        for (version, is_new) in [
            ("8.2.2", false),
            ("9.0.4", false),
            ("9.1.0", true),
            ("10.0.2", true),
            ("unknown", false),
        ] {
            assert_eq!(is_new_enough(version), is_new, "{version}");
        }
    }
}

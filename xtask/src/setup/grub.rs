//! GRUB's tools for a bootable CD, which one test needs and nothing else.

use std::process::{Command, Stdio};

use anyhow::Result;

use super::{Consent, apt, ask, distribution};

/// The packages of Debian and Ubuntu.
const PACKAGES: [&str; 4] = ["grub-pc-bin", "grub-common", "xorriso", "mtools"];
/// Where GRUB's modules for a BIOS lie.
const MODULES: &str = "/usr/lib/grub/i386-pc/multiboot2.mod";

/// Whether a CD for a BIOS can be made here.
pub fn is_there() -> bool {
    let starts = |program: &str| {
        Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    std::path::Path::new(MODULES).is_file()
        && starts("grub-mkrescue")
        && starts("xorriso")
        && starts("mformat")
}

/// Installs the tools if they are missing and that is possible; otherwise says in a sentence why
/// not.
pub fn ensure(consent: Consent) -> Result<(), String> {
    if is_there() {
        return Ok(());
    }
    let missing = "GRUB's tools for a CD are missing";
    let install = || {
        let system = distribution::current();
        anyhow::ensure!(
            system.has_apt(),
            "install grub-mkrescue, xorriso and mtools"
        );
        ask("GRUB's tools for a CD", consent)?;
        apt::install_plain(&PACKAGES, consent.dry_run)
    };
    install().map_err(|error| format!("{missing}; {error:#}"))?;
    if is_there() || consent.dry_run {
        Ok(())
    } else {
        Err(format!("{missing} even after the installation"))
    }
}

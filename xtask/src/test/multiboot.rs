//! A boot by GRUB from a CD, under a BIOS: the way of a real machine, by the other protocol.
//!
//! It is also the only boot in which memory begins to be free so low that the loader's page tables
//! lie in the same 2 MiB as the kernel's text: the loader once wrote to them when it had made the
//! block read-only.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::tally::Tally;
use crate::{
    guest::{Ending, Guest},
    image::BootFiles,
    log,
    qemu::Machine,
    setup,
};

const NAME: &str = "loader::multiboot2_bios";
/// Seconds that the firmware, GRUB and the system may take.
const LIMIT: u64 = 180;

/// Boots the CD, if the filter wants it and the tools are there.
pub fn run(machine: &Machine, files: &BootFiles, tally: &mut Tally) -> Result<()> {
    if !tally.wants(NAME) {
        return Ok(());
    }
    if let Err(reason) = setup::ensure_grub() {
        tally.skip(NAME, &reason);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let result = make_cd(machine, files, folder.path()).and_then(|cd| {
        let cd = Some(cd);
        boots(&Machine {
            cd,
            cores: 2,
            ..machine.clone()
        })
    });
    tally.note(NAME, result.map_err(|error| format!("{error:#}")));
    Ok(())
}

fn make_cd(machine: &Machine, files: &BootFiles, folder: &Path) -> Result<PathBuf> {
    let boot = folder.join("tree/boot");
    fs::create_dir_all(boot.join("grub"))?;
    fs::copy(&files.loader, boot.join("loader"))?;
    fs::copy(&files.image, boot.join("image"))?;
    let command_line = machine.append.join(" ");
    let menu = format!(
        "set timeout=0\nmenuentry Spillway {{\n\
         multiboot2 /boot/loader {command_line}\nmodule2 /boot/image\nboot\n}}\n"
    );
    fs::write(boot.join("grub/grub.cfg"), menu)?;
    let cd = folder.join("spillway.iso");
    let output = Command::new("grub-mkrescue")
        .args(["--directory=/usr/lib/grub/i386-pc", "-o"])
        .args([&cd, &folder.join("tree")])
        .output()
        .context("grub-mkrescue cannot be started")?;
    if !output.status.success() {
        bail!(
            "grub-mkrescue failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(cd)
}

/// Whether the loader says that GRUB started it, and the system comes up.
fn boots(machine: &Machine) -> Result<()> {
    let (mut by_grub, mut first_program) = (false, false);
    let limit = Some(Duration::from_secs(LIMIT));
    let report = Guest::start(machine)?.watch(limit, |line| {
        by_grub |= line.contains("loader: Multiboot2");
        first_program |= log::parse(line).is_some_and(|line| line.text == "tests done");
        Ok(())
    })?;
    if report.ending != Ending::Success {
        bail!("the machine {}:\n{}", report.ending, report.evidence());
    }
    ensure!(
        by_grub && first_program,
        "it did not come up by GRUB:\n{}",
        report.evidence()
    );
    Ok(())
}

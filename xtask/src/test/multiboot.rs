//! A boot by GRUB from a CD, under a BIOS: the way of a real machine, by the other protocol.
//!
//! GRUB puts the boot image low. The one here fills what is free below the kernel, so that
//! the loader's page tables come to lie in the same 2 MiB as the kernel's text: the loader once
//! wrote to them when it had made that block read-only.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use spillway_bootinfo::image as format;

use super::tally::Tally;
use crate::{
    cli::Profile,
    guest::{Ending, Guest},
    image::{BootFiles, Recipe},
    log,
    qemu::Machine,
    setup,
    workspace::Workspace,
};

const NAME: &str = "loader::multiboot2_bios";
/// Seconds that the firmware, GRUB and the system may take.
const LIMIT: u64 = 180;

/// Bytes of the boot image. GRUB puts it where the loader ends, not far above 1 MiB; so it ends
/// some 128 KiB below 4 MiB, where the kernel then begins. The loader takes memory for page tables
/// 256 KiB at a time, for which there is no room in front of the kernel.
const IMAGE: usize = 2604 << 10;

/// Boots the CD, if the filter wants it and the tools are there.
pub fn run(
    workspace: &Workspace,
    profile: Profile,
    machine: &Machine,
    tally: &mut Tally,
) -> Result<()> {
    if !tally.wants(NAME) {
        return Ok(());
    }
    if let Err(reason) = setup::ensure_grub() {
        tally.skip(NAME, &reason);
        return Ok(());
    }
    let files = Recipe::new(workspace, profile, Path::new("manifests/hello.toml"))?.make()?;
    let folder = tempfile::tempdir()?;
    let result = make_cd(machine, &files, folder.path()).and_then(|cd| {
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
    fs::write(boot.join("image"), filled_up(&fs::read(&files.image)?)?)?;
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

/// A boot image with one file more, so that it has [`IMAGE`] bytes.
fn filled_up(image: &[u8]) -> Result<Vec<u8>> {
    let parsed = format::parse(image).map_err(|error| anyhow!("{error}"))?;
    let filling = vec![0; IMAGE.saturating_sub(image.len())];
    let mut entries: Vec<_> = parsed
        .entries()
        .map(|entry| (entry.name, entry.content))
        .collect();
    entries.push(("filling", &filling));
    format::write(&entries).map_err(|error| anyhow!("{error}"))
}

/// Whether the loader says that GRUB started it, and the system comes up.
fn boots(machine: &Machine) -> Result<()> {
    let (mut by_grub, mut greets) = (false, false);
    let limit = Some(Duration::from_secs(LIMIT));
    let report = Guest::start(machine)?.watch(limit, |line| {
        by_grub |= line.contains("loader: Multiboot2");
        greets |= log::parse(line).is_some_and(|line| line.text.contains("a thread on core 1"));
        Ok(())
    })?;
    if report.ending != Ending::Success {
        bail!("the machine {}:\n{}", report.ending, report.evidence());
    }
    ensure!(
        by_grub && greets,
        "it did not come up by GRUB:\n{}",
        report.evidence()
    );
    Ok(())
}

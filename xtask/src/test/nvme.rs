//! Real data on a real (emulated) NVMe: what a program with nothing but the disk reads and writes,
//! and what is left when owners of a disk are killed.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use super::{guest_suite, tally::Tally};
use crate::{
    cli::TestOptions,
    image::BootFiles,
    qemu::{Disk, Machine},
    session::Session,
    workspace::Workspace,
};

const PROGRAM: &str = "nvme-tests";
/// Bytes of the disk.
pub(super) const DISK: u64 = 64 << 20;
/// The seeds of what the disk holds before and afterwards.
pub(super) const BEFORE: u64 = 0x5111_1a7e;
pub(super) const AFTER: u64 = 0x0dd5_eed5;
/// The formats, as they appear in the names of tests, and QEMU's block sizes.
pub(super) const FORMATS: [(&str, u32); 2] = [("nvme[512 B]", 512), ("nvme[4 KiB]", 4096)];
/// The tests of owners that are killed, and how many there are.
const OWNERS: &str = "nvme[owners]";
const KILLED: u32 = 50;
const KILLED_IN_SOAK: u32 = 1000;
/// What the kernel's log says when a device tried to reach what it may not.
pub(super) const FAULT: &str = "blocked by the IOMMU";

/// Runs everything that the filter wants.
pub fn run(
    workspace: &Workspace,
    options: &TestOptions,
    machine: &Machine,
    limit: Duration,
    tally: &mut Tally,
) -> Result<()> {
    let boot = |manifest: &str, arguments: &[String]| -> Result<Machine> {
        let path = format!("manifests/{manifest}.toml");
        let mut session = Session::new(workspace, &options.machine, Path::new(&path))?;
        session
            .recipe
            .change_arguments(PROGRAM, |own| own.clone_from(&arguments.to_vec()));
        let BootFiles { image, .. } = session.recipe.make()?;
        Ok(Machine {
            image: Some(image),
            iommu: true,
            cores: 2,
            ..machine.clone()
        })
    };
    for (kind, block_size) in FORMATS {
        if tally.wants_within(kind) {
            let seeds = ["data".into(), BEFORE.to_string(), AFTER.to_string()];
            data(kind, block_size, boot("nvme-data", &seeds)?, limit, tally)?;
        }
    }
    if tally.wants_within(OWNERS) {
        let count = if options.soak { KILLED_IN_SOAK } else { KILLED };
        let arguments = ["owners".into(), count.to_string()];
        owners(boot("nvme-owners", &arguments)?, limit, tally)?;
    }
    Ok(())
}

/// The program reads, writes and reads back; then the image must have what was written last.
fn data(
    kind: &str,
    block_size: u32,
    mut machine: Machine,
    limit: Duration,
    tally: &mut Tally,
) -> Result<()> {
    let image = NamedTempFile::new().context("the disk image cannot be made")?;
    fill(image.as_file()).context("the disk image cannot be written")?;
    machine.disk = Some(Disk::file(image.path()).with_blocks(block_size));
    guest_suite::run(kind, &machine, limit, tally)?;
    let name = format!("{kind}::the_image_has_what_was_written");
    tally.note(&name, check(image.path()));
    Ok(())
}

/// Bytes that are made or checked at once.
const CHUNK: usize = 1 << 20;

pub(super) fn fill(mut file: &File) -> std::io::Result<()> {
    let mut bytes = vec![0; CHUNK];
    for offset in (0..DISK).step_by(CHUNK) {
        test_pattern::fill(BEFORE, offset, &mut bytes);
        file.write_all(&bytes)?;
    }
    Ok(())
}

pub(super) fn check(path: &Path) -> Result<(), String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = vec![0; CHUNK];
    for offset in (0..DISK).step_by(CHUNK) {
        file.read_exact(&mut bytes)
            .map_err(|error| error.to_string())?;
        if let Some(at) = test_pattern::first_wrong(AFTER, offset, &bytes) {
            return Err(format!("byte {at:#x} is wrong"));
        }
    }
    Ok(())
}

/// Owners are killed while they write; the kernel must have nothing to say about DMA.
fn owners(mut machine: Machine, limit: Duration, tally: &mut Tally) -> Result<()> {
    let image = NamedTempFile::new().context("the disk image cannot be made")?;
    image.as_file().set_len(DISK)?;
    machine.disk = Some(Disk::file(image.path()));
    let mut fault = None;
    guest_suite::run_and(OWNERS, &machine, limit, tally, |line, _| {
        if line.contains(FAULT) {
            fault.get_or_insert_with(|| line.to_string());
        }
    })?;
    let name = format!("{OWNERS}::no_dma_goes_astray");
    tally.note(&name, fault.map_or(Ok(()), Err));
    Ok(())
}

//! A disk through blk-server: what the program `blk-tests` finds, with one core and with several.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use super::{
    guest_suite,
    nvme::{AFTER, BEFORE, DISK, FAULT, FORMATS, check, fill},
    tally::Tally,
};
use crate::{
    cli::TestOptions,
    image::BootFiles,
    qemu::{Disk, Machine},
    session::Session,
    workspace::Workspace,
};

const PROGRAM: &str = "blk-tests";
/// The numbers of cores.
const CORES: [u32; 2] = [1, 2];
/// And where devmgr starts what was killed.
const CORES_MANAGED: [u32; 3] = [1, 2, 4];
/// Servers that are killed.
const KILLED: u64 = 12;
const KILLED_IN_SOAK: u64 = 300;

/// Runs everything that the filter wants.
pub fn run(
    workspace: &Workspace,
    options: &TestOptions,
    machine: &Machine,
    limit: Duration,
    tally: &mut Tally,
) -> Result<()> {
    let boot = |manifest: &str, arguments: &[String], cores: u32| -> Result<Machine> {
        let path = format!("manifests/{manifest}.toml");
        let mut session = Session::new(workspace, &options.machine, Path::new(&path))?;
        session
            .recipe
            .change_arguments(PROGRAM, |own| own.clone_from(&arguments.to_vec()));
        let BootFiles { image, .. } = session.recipe.make()?;
        Ok(Machine {
            image: Some(image),
            iommu: true,
            cores,
            ..machine.clone()
        })
    };
    for cores in options.cores.map_or(CORES.to_vec(), |cores| vec![cores]) {
        let kind = format!("blk[ram, {cores}]");
        if tally.wants_within(&kind) {
            let machine = boot("blk-ram", &["ram".into()], cores)?;
            guest_suite::run(&kind, &machine, limit, tally)?;
        }
    }
    for (kind, block_size) in FORMATS {
        let kind = kind.replace("nvme[", "blk[");
        if tally.wants_within(&kind) {
            let blocks = DISK / u64::from(block_size);
            let numbers = [BEFORE, AFTER, blocks].map(|number| number.to_string());
            let arguments = [&["data".into()], &numbers[..]].concat();
            let machine = boot("blk-data", &arguments, 2)?;
            data(&kind, block_size, machine, limit, tally)?;
        }
    }
    for cores in options.cores.map_or(CORES.to_vec(), |cores| vec![cores]) {
        let kind = format!("blk[killed, {cores}]");
        if tally.wants_within(&kind) {
            let rounds = if options.soak { KILLED_IN_SOAK } else { KILLED };
            let numbers = [rounds, DISK / 512].map(|number| number.to_string());
            let arguments = [&["killed".into()], &numbers[..]].concat();
            killed(&kind, boot("blk-killed", &arguments, cores)?, limit, tally)?;
        }
    }
    for cores in options
        .cores
        .map_or(CORES_MANAGED.to_vec(), |cores| vec![cores])
    {
        let kind = format!("blk[managed, {cores}]");
        if tally.wants_within(&kind) {
            let rounds = if options.soak { KILLED_IN_SOAK } else { KILLED };
            let arguments = ["managed".into(), rounds.to_string()];
            killed(&kind, boot("blk-managed", &arguments, cores)?, limit, tally)?;
        }
    }
    Ok(())
}

/// The clients read, write and read back; then the image must have what was written last.
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

/// Servers are killed while clients write; the kernel must have nothing to say about DMA.
fn killed(kind: &str, mut machine: Machine, limit: Duration, tally: &mut Tally) -> Result<()> {
    let image = NamedTempFile::new().context("the disk image cannot be made")?;
    image.as_file().set_len(DISK)?;
    machine.disk = Some(Disk::file(image.path()));
    let mut fault = None;
    guest_suite::run_and(kind, &machine, limit, tally, |line, _| {
        if line.contains(FAULT) {
            fault.get_or_insert_with(|| line.to_string());
        }
    })?;
    let name = format!("{kind}::no_dma_goes_astray");
    tally.note(&name, fault.map_or(Ok(()), Err));
    Ok(())
}

//! `apps/hello-io` as newcomers start it, at every level.

use std::{fs::File, io::Read, path::Path, time::Duration};

use anyhow::{Result, bail, ensure};
use spillway_plan::Level;
use tempfile::NamedTempFile;

use super::tally::Tally;
use crate::{
    cli::Profile,
    guest::{Ending, Guest},
    image::Recipe,
    log,
    qemu::{Disk, Machine},
    workspace::Workspace,
};

const PROGRAM: &str = "hello-io";
/// What it writes, reads and says.
const TEXT: &str = "Hello from the disk.";
/// Bytes of a disk of its own.
const DISK: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(120);

/// Boots it at each level that the filter wants.
pub fn run(
    workspace: &Workspace,
    profile: Profile,
    machine: &Machine,
    tally: &mut Tally,
) -> Result<()> {
    for level in Level::ALL {
        let name = format!("boot::hello_io_says_hello_at_level_{}", level.name());
        if tally.wants(&name) {
            let said = say(workspace, profile, machine, *level);
            tally.note(&name, said.map_err(|error| format!("{error:#}")));
        }
    }
    Ok(())
}

fn say(workspace: &Workspace, profile: Profile, machine: &Machine, level: Level) -> Result<()> {
    let manifest = match level {
        Level::Integrated => "manifests/hello-io-integrated.toml",
        _ => "manifests/hello-io.toml",
    };
    let mut recipe = Recipe::new(workspace, profile, Path::new(manifest))?;
    recipe.change_arguments(PROGRAM, |own| *own = vec![level.name().into()]);
    let mut machine = Machine {
        image: Some(recipe.make()?.image),
        ..machine.clone()
    };
    let disk = NamedTempFile::new()?;
    disk.as_file().set_len(DISK)?;
    if level == Level::Integrated {
        machine.disk = Some(Disk::file(disk.path()));
        machine.iommu = true;
    }
    let mut missing = vec![TEXT, "32 reads back"];
    let report = Guest::start(&machine)?.watch(Some(LIMIT), |line| {
        let text = log::parse(line).map(|line| line.text);
        missing.retain(|wanted| !text.is_some_and(|text| text.contains(wanted)));
        Ok(())
    })?;
    if report.ending != Ending::Success {
        bail!("the machine {}:\n{}", report.ending, report.evidence());
    }
    ensure!(
        missing.is_empty(),
        "nobody said {missing:?}:\n{}",
        report.evidence()
    );
    if level == Level::Integrated {
        let mut first = [0; TEXT.len()];
        File::open(disk.path())?.read_exact(&mut first)?;
        ensure!(first == *TEXT.as_bytes(), "it is not on the disk");
    }
    Ok(())
}

//! The tests of granted devices: on a machine with an IOMMU, on one without, on one without where
//! devices are trusted, and on machines whose firmware or IOMMU gets in the way.

mod hung;
mod reserved;
mod told;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use super::{guest_suite, tally::Tally};
use crate::{
    cli::TestOptions,
    guest::Guest,
    qemu::{Disk, Machine},
    session::Session,
    workspace::Workspace,
};

use told::{STORM, Told};

/// The program, which is told first what machine it runs on.
const PROGRAM: &str = "device-tests";
/// Bytes of the disk.
const DISK: u64 = 16 << 20;
/// Cores of the machines.
const CORES: u32 = 2;
/// How many teaching devices there are. Each that was owned stays blocked: it cannot be reset.
const EDUS: usize = 15;
/// Edus that reach every address, at places that the program knows.
const WIDE_EDUS: [&str; 6] = ["18", "19", "1a", "1b", "1c", "1d"];
/// Small devices that can be reset, to be owned together. They need a port each for that.
const TWINS: usize = 3;
const TWIN: &str = "virtio-rng-pci-non-transitional";

/// A machine that the tests run on.
struct Variant {
    /// As it appears in the names of tests.
    kind: &'static str,
    /// What the program is told.
    mode: &'static str,
    iommu: bool,
    kernel: &'static [&'static str],
}

const VARIANTS: [Variant; 3] = [
    Variant {
        kind: "device[IOMMU]",
        mode: "iommu",
        iommu: true,
        kernel: &[],
    },
    Variant {
        kind: "device[dma=trust]",
        mode: "trust",
        iommu: false,
        kernel: &["dma=trust"],
    },
    Variant {
        kind: "device[no IOMMU]",
        mode: "none",
        iommu: false,
        kernel: &[],
    },
];

/// Boots every variant that the filter wants.
pub fn run(
    workspace: &Workspace,
    options: &TestOptions,
    machine: &Machine,
    limit: Duration,
    tally: &mut Tally,
) -> Result<()> {
    let disk = tempfile::NamedTempFile::new().context("the disk image cannot be made")?;
    disk.as_file().set_len(DISK)?;
    for variant in VARIANTS {
        if tally.wants_within(variant.kind) {
            let image = image(workspace, options, variant.mode)?;
            let machine = variant.machine(machine, image, disk.path());
            let mut told = Told::default();
            guest_suite::run_and(variant.kind, &machine, limit, tally, |line, _| {
                told.note(line)
            })?;
            let name = format!("{}::{STORM}_and_are_told_slowly", variant.kind);
            if variant.iommu && tally.wants(&name) {
                tally.note(&name, told.verdict());
            }
        }
    }
    if tally.wants_within(reserved::KIND) {
        let machine = Machine {
            image: Some(image(workspace, options, "reserved")?),
            disk: Some(Disk::file(disk.path())),
            ..machine.clone()
        };
        reserved::run(machine, limit, tally)?;
    }
    if tally.wants_within(hung::KIND) {
        let machine = Machine {
            image: Some(image(workspace, options, "hung")?),
            disk: Some(Disk::file(disk.path())),
            ..machine.clone()
        };
        hung::run(machine, limit, tally)?;
    }
    missing(workspace, options, machine, limit, tally)
}

/// The boot image whose program is told that it runs on a machine of this kind.
fn image(workspace: &Workspace, options: &TestOptions, mode: &str) -> Result<PathBuf> {
    let manifest = Path::new("manifests/device-test.toml");
    let mut session = Session::new(workspace, &options.machine, manifest)?;
    let mut arguments = vec![mode.to_string()];
    arguments.extend(guest_suite::arguments(
        options.filter.as_deref(),
        options.soak,
    ));
    session
        .recipe
        .change_arguments(PROGRAM, |own| own.clone_from(&arguments));
    session.recipe.rename(&format!("device-test-{mode}"));
    Ok(session.recipe.make()?.image)
}

impl Variant {
    fn machine(&self, plain: &Machine, image: PathBuf, disk: &Path) -> Machine {
        let mut machine = Machine {
            cores: CORES,
            iommu: self.iommu,
            disk: Some(Disk::file(disk)),
            image: Some(image),
            ..plain.clone()
        };
        machine
            .append
            .extend(self.kernel.iter().map(|word| word.to_string()));
        let mut add = |device: String| machine.extra.extend(["-device".into(), device]);
        (0..EDUS).for_each(|_| add("edu".into()));
        for number in 0..TWINS {
            let port = format!("pcie-root-port,id=port{number},bus=pcie.0,chassis={number}");
            add(port);
            // Of the last the kernel knows no better way than its power state.
            let way = if number + 1 == TWINS {
                ",x-pcie-flr-init=off"
            } else {
                ""
            };
            add(format!("{TWIN},bus=port{number}{way}"));
        }
        for slot in WIDE_EDUS {
            add(format!("edu,dma_mask=0xffffffffffffffff,addr=0x{slot}"));
        }
        machine
    }
}

/// A process whose device is not there is not started, and the log says why.
fn missing(
    workspace: &Workspace,
    options: &TestOptions,
    machine: &Machine,
    limit: Duration,
    tally: &mut Tally,
) -> Result<()> {
    const NAME: &str = "device[none]::a_missing_device_is_told";
    const LINE: &str = "init: cannot start device-tests: cannot grant `edu`: `id:1234:11e8` is not in this machine";
    if !tally.wants(NAME) {
        return Ok(());
    }
    let manifest = Path::new("manifests/device-test.toml");
    let session = Session::new(workspace, &options.machine, manifest)?;
    let image = session.recipe.make()?.image;
    let machine = Machine {
        image: Some(image),
        ..machine.clone()
    };
    let mut is_told = false;
    let report = Guest::start(&machine)?.watch(Some(limit), |line| {
        is_told |= line.contains(LINE);
        Ok(())
    })?;
    let failed = report.ending == crate::guest::Ending::Failure;
    let result = if is_told && failed {
        Ok(())
    } else {
        Err(format!(
            "the machine {}:\n{}",
            report.ending,
            report.evidence()
        ))
    };
    tally.note(NAME, result);
    Ok(())
}

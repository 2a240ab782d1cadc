//! The boots that newcomers see: each must say what it promises, and end well.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail, ensure};

use super::tally::Tally;
use crate::{
    cli::Profile,
    guest::{Ending, Guest},
    image::Recipe,
    log,
    qemu::Machine,
    workspace::Workspace,
};

struct Case {
    name: &'static str,
    manifest: &'static str,
    cores: u32,
    /// Memory of the machine in mebibytes.
    memory: u64,
    /// Texts that lines of the log must have.
    says: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "hello_greets_on_every_core",
        manifest: "manifests/hello.toml",
        cores: 4,
        memory: 512,
        says: &[
            "Hello from an unprivileged program.",
            "a thread on core 0",
            "a thread on core 1",
            "a thread on core 2",
            "a thread on core 3",
        ],
    },
    Case {
        name: "a_program_outside_the_workspace_runs",
        manifest: "examples/outside/manifest.toml",
        cores: 1,
        memory: 256,
        says: &["Greetings from outside."],
    },
];

/// Seconds that a boot may take.
const LIMIT: u64 = 120;

/// Boots every case that the filter wants.
pub fn run(
    workspace: &Workspace,
    profile: Profile,
    machine: &Machine,
    tally: &mut Tally,
) -> Result<()> {
    for case in CASES {
        let name = format!("boot::{}", case.name);
        if !tally.wants(&name) {
            continue;
        }
        let files = Recipe::new(workspace, profile, Path::new(case.manifest))?.make()?;
        let machine = Machine {
            image: Some(files.image),
            cores: case.cores,
            memory: case.memory << 20,
            ..machine.clone()
        };
        tally.note(
            &name,
            boot(&machine, case).map_err(|error| format!("{error:#}")),
        );
    }
    Ok(())
}

fn boot(machine: &Machine, case: &Case) -> Result<()> {
    let mut missing = case.says.to_vec();
    let report = Guest::start(machine)?.watch(Some(Duration::from_secs(LIMIT)), |line| {
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
    Ok(())
}

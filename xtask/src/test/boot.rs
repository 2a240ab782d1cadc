//! The boots that newcomers see, also on lesser processors and with little or much memory: each
//! must say what it promises, and end well.

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
    /// The processor, if not the usual one.
    cpu: Option<&'static str>,
    cores: u32,
    /// Memory of the machine in mebibytes.
    memory: u64,
    /// Texts that lines of the log must have.
    says: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "boot::hello_greets_on_every_core",
        manifest: "manifests/hello.toml",
        cpu: None,
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
        name: "boot::a_program_outside_the_workspace_runs",
        manifest: "examples/outside/manifest.toml",
        cpu: None,
        cores: 1,
        memory: 256,
        says: &["Greetings from outside."],
    },
    Case {
        name: "boot::a_table_is_served_whichever_process_comes_first",
        manifest: "manifests/table.toml",
        cpu: None,
        cores: 1,
        memory: 256,
        says: &["city is Ljubljana; 2 values", "city: nothing has this name"],
    },
    disk("boot::a_disk_in_another_process[1 core]", 1),
    disk("boot::a_disk_in_another_process[2 cores]", 2),
    disk("boot::a_disk_in_another_process[4 cores]", 4),
    filtered("boot::a_filter_refuses_writes_and_nothing_else[1 core]", 1),
    filtered("boot::a_filter_refuses_writes_and_nothing_else[2 cores]", 2),
    filtered("boot::a_filter_refuses_writes_and_nothing_else[4 cores]", 4),
    of(
        "boot::threads_end_when_they_are_asked_to",
        2,
        "manifests/workers.toml",
        &[
            "the sum is 5050: the channel is closed",
            "the sum is 41: the thread was asked to stop",
            "the sleeper: the thread was asked to stop",
            "the counter looked: true",
        ],
    ),
    of(
        "boot::jobs_run_in_the_kernels_table",
        2,
        "manifests/jobs.toml",
        &[
            "the square of 3 is 9, on core ",
            "job-3 exited with code 0",
            "0 jobs are left",
        ],
    ),
    placed("boot::jobs_run_in_a_served_table[1 core]", 1, &PLACED[0]),
    placed("boot::jobs_run_in_a_served_table[2 cores]", 2, &PLACED[1]),
    placed("boot::jobs_run_in_a_served_table[4 cores]", 4, &PLACED[2]),
    // No x2APIC, SMAP, SMEP, UMIP, AVX, xsave or large pages of 1 GiB.
    hello("cpu::the_least", Some("qemu64,+rdtscp"), 512),
    hello("cpu::no_x2apic", Some("max,-x2apic"), 512),
    hello("cpu::no_avx", Some("max,-avx,-avx2"), 512),
    hello("cpu::no_xsave", Some("max,-xsave"), 512),
    hello("cpu::no_1_gib_pages", Some("max,-pdpe1gb"), 512),
    hello("cpu::memory_of_256_mib", None, 256),
    hello("cpu::memory_of_20_gib", None, 20 << 10),
];

/// The greeting on two cores.
const fn hello(name: &'static str, cpu: Option<&'static str>, memory: u64) -> Case {
    Case {
        name,
        manifest: "manifests/hello.toml",
        cpu,
        cores: 2,
        memory,
        says: &["a thread on core 0", "a thread on core 1"],
    }
}

const fn of(name: &'static str, cores: u32, manifest: &'static str, says: Says) -> Case {
    Case {
        name,
        manifest,
        cpu: None,
        cores,
        memory: 512,
        says,
    }
}

type Says = &'static [&'static str];

/// The jobs of `jobs.toml` in a table that places them, one core after the other.
const fn placed(name: &'static str, cores: u32, says: Says) -> Case {
    of(name, cores, "manifests/placed-jobs.toml", says)
}

/// What one core, two and four come to.
const PLACED: [[&str; 3]; 3] = [
    [
        "job-1 said: the square of 1 is 1, on core 0",
        "job-3 said: the square of 3 is 9, on core 0",
        "0 jobs are left",
    ],
    [
        "job-1 said: the square of 1 is 1, on core 1",
        "job-2 said: the square of 2 is 4, on core 0",
        "0 jobs are left",
    ],
    [
        "job-1 said: the square of 1 is 1, on core 1",
        "job-3 said: the square of 3 is 9, on core 3",
        "0 jobs are left",
    ],
];

/// A program that uses a disk at levels 1 to 3.
const fn disk(name: &'static str, cores: u32) -> Case {
    const SAYS: Says = &[
        "sync: wrote a page, read 0x5a, copied 0",
        "copying: wrote a page, read 0x5a, copied 4096",
        "async: wrote a page, read 0x5a, copied 0",
        "shared: wrote a page, read 0x5a, copied 0",
    ];
    of(name, cores, "manifests/disk.toml", SAYS)
}

/// The same program, with a filter before the disk.
const fn filtered(name: &'static str, cores: u32) -> Case {
    const SAYS: Says = &[
        "filter: a write of 4096 is refused",
        "sync: no write: the handle has no right to do this (Denied); read 0x0, copied 0",
        "copying: no write: the handle has no right to do this (Denied); read 0x0, copied 8192",
        "async: no write: the handle has no right to do this (Denied); read 0x0, copied 0",
        "shared: no write: the handle has no right to do this (Denied); read 0x0, copied 0",
    ];
    of(name, cores, "manifests/filtered.toml", SAYS)
}

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
        if !tally.wants(case.name) {
            continue;
        }
        let files = Recipe::new(workspace, profile, Path::new(case.manifest))?.make()?;
        let machine = Machine {
            image: Some(files.image),
            cores: case.cores,
            memory: case.memory << 20,
            ..machine.clone()
        };
        let machine = match case.cpu {
            Some(cpu) => machine.with_cpu(cpu),
            None => machine,
        };
        tally.note(
            case.name,
            boot(&machine, case.says).map_err(|error| format!("{error:#}")),
        );
    }
    Ok(())
}

/// Boots a machine, which must end well and say all of this.
pub fn boot(machine: &Machine, says: &[&str]) -> Result<()> {
    let mut missing = says.to_vec();
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

//! `test`: everything that can be tested, closed by one line with the counts.

mod bench;
mod blk;
mod boot;
pub mod browser;
mod device;
mod fuzz;
pub mod guards;
mod guest_suite;
mod guide;
mod hello_io;
mod host;
mod kernel;
mod linux;
mod loader;
mod multiboot;
mod nmi;
mod nvme;
mod page;
mod perf;
mod protocol;
mod red_zone;
mod statics;
mod tally;
mod vectors;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Result;
use tally::Tally;

use crate::{cli::TestOptions, qemu::Machine, session::Session, workspace::Workspace};

/// The numbers of cores that the guest suite runs with.
const CORES: [u32; 3] = [1, 2, 4];
/// Whether every guard still is where the list of guards says.
const GUARDS: &str = "static::guards::each_is_where_the_list_says";
/// Seconds that a boot of the test programs may take.
const LIMIT: u64 = 120;
/// The same for the long campaigns.
const SOAK_LIMIT: u64 = 3600;

/// Runs the tests whose names contain the filter.
pub fn run(options: &TestOptions) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let manifest = options
        .manifest
        .as_deref()
        .unwrap_or(Path::new("manifests/test.toml"));
    let mut session = Session::new(&workspace, &options.machine, manifest)?;
    let filter = options.filter.as_deref();
    let arguments = guest_suite::arguments(filter, options.soak);
    session
        .recipe
        .change_arguments("guest-tests", |own| own.clone_from(&arguments));
    if options.machine.dry_run {
        println!("cargo test --no-fail-fast");
        session.describe();
        return Ok(ExitCode::SUCCESS);
    }
    let mut tally = Tally::new(filter);
    if tally.wants_kind(tally::HOST) {
        host::run(&workspace, filter, &mut tally)?;
        host::run_models(&workspace, filter, &mut tally)?;
    }
    if tally.wants_kind(tally::FUZZ) {
        fuzz::run(&workspace, options.soak, &mut tally)?;
    }
    if tally.wants_kind(tally::PAGE) {
        page::run(&workspace, &mut tally)?;
    }
    if tally.wants_linked() {
        linked(&workspace, options, &mut session, &mut tally)?;
    }
    if tally.wants(GUARDS) {
        tally.note(GUARDS, guards::list::check(&workspace.root));
    }
    if options.soak && filter.is_none() {
        guards::run_all(&options.machine, None, &mut tally)?;
    }
    Ok(match tally.close() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Everything that needs the linked system.
fn linked(
    workspace: &Workspace,
    options: &TestOptions,
    session: &mut Session,
    tally: &mut Tally,
) -> Result<()> {
    let files = session.prepare()?;
    let machine = &session.machine;
    let profile = options.machine.profile.profile();
    if tally.wants_kind(tally::STATIC) {
        statics::run(&files, tally)?;
    }
    if tally.wants_kind(tally::LOADER) {
        loader::run(machine, &files, tally)?;
        multiboot::run(workspace, profile, machine, tally)?;
    }
    if tally.wants_kind(tally::KERNEL) {
        kernel::run(machine, tally)?;
    }
    if tally.wants_kind(tally::BOOT) || tally.wants_kind(tally::CPU) {
        boot::run(workspace, profile, machine, tally)?;
        hello_io::run(workspace, profile, machine, tally)?;
        guide::run(workspace, profile, machine, tally)?;
    }
    if tally.wants_kind(tally::CPU) {
        vectors::run(workspace, profile, machine, tally)?;
    }
    if tally.wants_kind(tally::PERF) {
        perf::run(workspace, options, tally)?;
    }
    if tally.wants_kind(tally::BENCH) {
        bench::run(workspace, machine, tally)?;
        linux::run(workspace, options, machine, tally)?;
    }
    let usual = if options.soak { SOAK_LIMIT } else { LIMIT };
    let limit = Duration::from_secs(options.machine.timeout.unwrap_or(usual));
    if tally.wants_kind(tally::DEVICE) {
        device::run(workspace, options, machine, limit, tally)?;
    }
    if tally.wants_kind(tally::NVME) {
        nvme::run(workspace, options, machine, limit, tally)?;
    }
    if tally.wants_kind(tally::BLK) {
        blk::run(workspace, options, machine, limit, tally)?;
    }
    if tally.wants_kind(tally::GUEST) {
        guest(options, machine, limit, tally)?;
    }
    Ok(())
}

/// The guest suite, with each number of cores, and once more under fire.
fn guest(
    options: &TestOptions,
    machine: &Machine,
    limit: Duration,
    tally: &mut Tally,
) -> Result<()> {
    let filter = options.filter.as_deref();
    for cores in options.cores.map_or(CORES.to_vec(), |cores| vec![cores]) {
        let machine = Machine {
            cores,
            ..machine.clone()
        };
        let kind = guest_suite::kind(cores);
        if guest_suite::wants(filter, &kind) {
            guest_suite::run(&kind, &machine, limit, tally)?;
        }
    }
    if options.cores.is_none() && guest_suite::wants(filter, nmi::KIND) {
        nmi::run(machine, limit, tally)?;
    }
    Ok(())
}

//! `test`: everything that can be tested, closed by one line with the counts.

mod boot;
mod guest_suite;
mod host;
mod loader;
mod perf;
mod protocol;
mod red_zone;
mod statics;
mod tally;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Result;
use tally::Tally;

use crate::{cli::TestOptions, qemu::Machine, session::Session, workspace::Workspace};

/// The numbers of cores that the guest suite runs with.
const CORES: [u32; 3] = [1, 2, 4];
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
    if tally.wants_linked() {
        linked(&workspace, options, &mut session, &mut tally)?;
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
    if tally.wants_kind(tally::STATIC) {
        statics::run(&files, tally)?;
    }
    if tally.wants_kind(tally::LOADER) {
        loader::run(&session.machine, &files, tally)?;
    }
    if tally.wants_kind(tally::BOOT) {
        let profile = options.machine.profile.profile();
        boot::run(workspace, profile, &session.machine, tally)?;
    }
    if tally.wants_kind(tally::PERF) {
        perf::run(workspace, options, tally)?;
    }
    if tally.wants_kind(tally::GUEST) {
        let usual = if options.soak { SOAK_LIMIT } else { LIMIT };
        let limit = Duration::from_secs(options.machine.timeout.unwrap_or(usual));
        for cores in options.cores.map_or(CORES.to_vec(), |cores| vec![cores]) {
            let machine = Machine {
                cores,
                ..session.machine.clone()
            };
            if guest_suite::wants(options.filter.as_deref(), cores) {
                guest_suite::run(&machine, limit, tally)?;
            }
        }
    }
    Ok(())
}

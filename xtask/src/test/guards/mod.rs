//! `guards`: takes each guard of the system out, one at a time, and shows that its test fails.
//!
//! A test that has only ever passed proves little. So each guard of `tests/guards.toml` is taken
//! out of a copy of the sources, the copy is built, and the tests that are named beside it are run:
//! one at least must fail. A panic, a hang or a reset of the system is a failure as well.

pub mod list;
mod tree;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Result, bail};

use super::{guest_suite, host, linked, tally::Tally};
use crate::{
    cli::{GuardsOptions, MachineOptions, TestOptions},
    interrupt,
    session::Session,
    workspace::Workspace,
};
use list::Guard;
use tree::Missing;

/// Seconds that the guest's tests may take without a guard: one that hangs has failed. More than
/// their own patience.
const LIMIT: u64 = 60;
/// The most of a reason that is shown.
const SHOWN: usize = 150;

/// Takes out every guard whose name contains the filter.
pub fn run(options: &GuardsOptions) -> Result<ExitCode> {
    let filter = options.filter.as_deref();
    if options.machine.dry_run {
        for guard in wanted(&Workspace::load()?, filter)? {
            println!("{}: {}", guard.name, guard.tests);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut tally = Tally::new(None);
    run_all(&options.machine, filter, &mut tally)?;
    Ok(match tally.close() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The same, counted together with other tests.
pub fn run_all(machine: &MachineOptions, filter: Option<&str>, tally: &mut Tally) -> Result<()> {
    let original = Workspace::load()?;
    let folder = original.target.join("guards");
    let root = folder.join("tree");
    fs::create_dir_all(&root)?;
    tree::copy(&original.root, &root)?;
    let workspace = Workspace::copy_in(&root, folder.join("target"))?;
    let machine = MachineOptions {
        timeout: machine.timeout.or(Some(LIMIT)),
        ..machine.clone()
    };
    let mut session = Session::new(&workspace, &machine, Path::new("manifests/test.toml"))?;
    for guard in wanted(&original, filter)? {
        let result = without(&guard, &workspace, &machine, &mut session);
        if interrupt::requested() {
            bail!("interrupted");
        }
        let line = format!("guard {}: its test fails without it", guard.name);
        let result = result.unwrap_or_else(|error| Err(format!("{error:#}")));
        match &result {
            Ok(how) => println!("{line} ... ok ({how})"),
            Err(reason) => println!("{line} ... FAILED: {reason}"),
        }
        let (passed, failed) = (usize::from(result.is_ok()), usize::from(result.is_err()));
        tally.add(passed, failed, &format!("guard {}", guard.name));
    }
    Ok(())
}

fn wanted(workspace: &Workspace, filter: Option<&str>) -> Result<Vec<Guard>> {
    let mut guards = list::read(&workspace.root)?;
    guards.retain(|guard| filter.is_none_or(|filter| guard.name.contains(filter)));
    Ok(guards)
}

/// How the tests failed without the guard, or that they did not.
fn without(
    guard: &Guard,
    workspace: &Workspace,
    machine: &MachineOptions,
    session: &mut Session,
) -> Result<Result<String, String>> {
    let _missing = Missing::new(&workspace.root, guard)?;
    let mut tally = Tally::silent(Some(&guard.tests));
    match &guard.package {
        Some(package) => host::run_package(workspace, package, &guard.tests, &mut tally)?,
        None => {
            let options = TestOptions {
                filter: Some(guard.tests.clone()),
                machine: machine.clone(),
                manifest: None,
                cores: None,
                soak: false,
            };
            let arguments = guest_suite::arguments(Some(&guard.tests), false);
            session
                .recipe
                .change_arguments("guest-tests", |own| own.clone_from(&arguments));
            linked(workspace, &options, session, &mut tally)?;
        }
    }
    Ok(match tally.first_failure() {
        Some((name, reason)) => Ok(describe(name, reason)),
        None if tally.count() == 0 => Err(format!("there is no test {}", guard.tests)),
        None => Err(format!("{} still passes", guard.tests)),
    })
}

/// Which test failed, and the beginning of why.
fn describe(name: &str, reason: &str) -> String {
    let reason = reason.lines().next().unwrap_or_default();
    let reason = reason.trim_end_matches("; the end of the log:");
    let short: String = reason.chars().take(SHOWN).collect();
    match reason {
        "" => name.into(),
        _ if short.len() < reason.len() => format!("{name}: {short}…"),
        _ => format!("{name}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn a_reason_is_cut_to_a_line() {
        assert_eq!(describe("a", ""), "a");
        let reason = "it panicked after b; the end of the log:\n    x";
        assert_eq!(describe("a", reason), "a: it panicked after b");
        assert!(describe("a", &"x".repeat(1000)).len() < 200);
    }
}

//! Tests that run on the host: the pure crates, and the models of what is shared between cores.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::tally::Tally;
use crate::{cargo, interrupt, workspace::Workspace};

/// Unit and property tests of every crate that the host can build.
pub fn run(workspace: &Workspace, filter: Option<&str>, tally: &mut Tally) -> Result<()> {
    let mut command = cargo::command();
    command.args(["test", "--no-fail-fast"]).args(filter);
    libtest(workspace, command, "host tests", tally)?;
    Ok(())
}

/// The tests of one crate. The crate must build; anything else is a result.
pub fn run_package(
    workspace: &Workspace,
    package: &str,
    filter: &str,
    tally: &mut Tally,
) -> Result<()> {
    let command = |more: &[&str]| {
        let mut command = cargo::command();
        command
            .args(["test", "--quiet", "--no-fail-fast", "--package", package])
            .args(more)
            .env("CARGO_TARGET_DIR", workspace.target.join("host"))
            .env("RUSTFLAGS", "-Awarnings");
        command
    };
    let built = command(&["--no-run"])
        .current_dir(&workspace.root)
        .status()?;
    if !built.success() {
        bail!("{package} does not build; mend the errors above");
    }
    let mut command = command(&[filter]);
    command.stderr(Stdio::null());
    libtest(workspace, command, "host tests", tally)?;
    Ok(())
}

/// The models of every crate that depends on loom under `cfg(loom)`, with every order of memory
/// accesses tried. A model is a test in a module called `model`.
pub fn run_models(workspace: &Workspace, filter: Option<&str>, tally: &mut Tally) -> Result<()> {
    let filter = filter.unwrap_or("model::");
    if !filter.contains("model") {
        return Ok(());
    }
    for package in workspace.with_models() {
        let mut command = cargo::command();
        command
            .args(["test", "--release", "--lib", "--package", package, filter])
            .arg("--target-dir")
            .arg(workspace.target.join("loom"))
            .env("RUSTFLAGS", "--cfg loom")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        let what = format!("models of {package}");
        if libtest(workspace, command, &what, tally)? == 0 && filter == "model::" {
            tally.note_always(
                &what,
                Err("there is none; is its module called `model`?".into()),
            );
        }
    }
    Ok(())
}

/// Runs a `cargo test`, shows what it prints and counts its results. Returns how many there were.
fn libtest(
    workspace: &Workspace,
    mut command: Command,
    what: &str,
    tally: &mut Tally,
) -> Result<usize> {
    command.current_dir(&workspace.root);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo cannot be started; install Rust from https://rustup.rs")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let (mut passed, mut failed) = (0, 0);
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if let Some((good, bad)) = parse_result(&line) {
            passed += good;
            failed += bad;
        }
        if is_worth_showing(&line) {
            tally.say(&format!("{line}\n"));
        }
    }
    let status = child.wait()?;
    if interrupt::requested() {
        bail!("interrupted");
    }
    tally.add(passed, failed, what);
    if !status.success() && failed == 0 {
        let reason = "cargo test failed before it had a result; mend the errors above";
        tally.note_always(what, Err(reason.into()));
    }
    Ok(passed + failed)
}

/// The numbers in `test result: ok. 20 passed; 0 failed; 0 ignored; …`.
fn parse_result(line: &str) -> Option<(usize, usize)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = counts.split("; ");
    let passed = counts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = counts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some((passed, failed))
}

/// Everything but libtest's own frame around the results.
fn is_worth_showing(line: &str) -> bool {
    let frame = line.starts_with("running ") && line.trim_end().ends_with(['t', 's']);
    !line.is_empty() && !frame && parse_result(line).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_line_is_read_and_no_other() {
        let line = "test result: ok. 20 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(parse_result(line), Some((20, 0)));
        let line = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured";
        assert_eq!(parse_result(line), Some((1, 2)));
        for line in [
            "",
            "test result",
            "test result: ok",
            "test result: ok. x passed; 0 failed",
        ] {
            assert_eq!(parse_result(line), None, "{line}");
        }
    }

    #[test]
    fn tests_and_what_they_print_are_shown() {
        assert!(is_worth_showing("test a ... ok"));
        assert!(is_worth_showing("thread 'x' panicked at"));
        assert!(!is_worth_showing("running 2 tests"));
        assert!(!is_worth_showing("running 1 test"));
        assert!(!is_worth_showing(""));
    }
}

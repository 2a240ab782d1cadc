//! Fuzz targets: what `cargo test` runs briefly, with all optimisations and for longer.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use anyhow::{Context, Result, bail};

use super::tally::Tally;
use crate::{cargo, interrupt, ui::Step, workspace::Workspace};

/// The NVMe driver against a controller that lies (`drivers/nvme/tests/fuzz.rs`).
const NAME: &str = "fuzz::the_nvme_driver_bears_a_controller_that_lies";
/// Seconds in `test`, and in `test --soak`.
const SECONDS: u32 = 30;
const SECONDS_IN_SOAK: u32 = 600;
/// The fewest executions in a second of processor time, which the long form demands.
const LEAST: u32 = 10_000;

/// Runs the target, if it is wanted, and shows how fast it was.
pub fn run(workspace: &Workspace, soak: bool, tally: &mut Tally) -> Result<()> {
    if !tally.wants(NAME) {
        return Ok(());
    }
    let (seconds, least) = match soak {
        true => (SECONDS_IN_SOAK, LEAST),
        false => (SECONDS, 0),
    };
    let step = Step::new(format!("fuzzing the NVMe driver for {seconds} seconds"));
    let mut child = cargo::command()
        .args(["test", "--release", "--package", "spillway-nvme"])
        .args(["--test", "fuzz", "--", "--exact", "fuzz", "--nocapture"])
        .env("NVME_FUZZ_SECONDS", seconds.to_string())
        .env("NVME_FUZZ_LEAST", least.to_string())
        // Whole-program optimisation takes longer than it saves.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .current_dir(&workspace.root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo cannot be started; install Rust from https://rustup.rs")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut speed = None;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if line.contains("executions a second") {
            speed = Some(line);
        }
    }
    let status = child.wait()?;
    drop(step);
    if interrupt::requested() {
        bail!("interrupted");
    }
    let result = match &speed {
        Some(speed) => {
            tally.say(&format!("{NAME}: {speed}\n"));
            Ok(())
        }
        None => Err("it did not come to its end; see above".to_string()),
    };
    let result = result.and(match status.success() {
        true => Ok(()),
        false => Err("it failed; see above".into()),
    });
    tally.note(NAME, result);
    Ok(())
}

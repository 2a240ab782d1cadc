//! `lint`: formatting and clippy, without a warning.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::{cargo, cli::LintOptions, parts, ui, workspace::Workspace};

/// Runs every linter and says at the end which of them complained.
pub fn run(options: &LintOptions) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut complaints = Vec::new();
    for words in commands(&workspace) {
        let line = format!("cargo {}", ui::shell_line(&words));
        println!("{line}");
        if options.dry_run {
            continue;
        }
        let status = cargo::command()
            .current_dir(&workspace.root)
            .args(&words)
            .status()
            .context("cargo cannot be started; install Rust from https://rustup.rs")?;
        if !status.success() {
            complaints.push(line);
        }
    }
    if !complaints.is_empty() {
        bail!("mend what these say above: {}", complaints.join("; "));
    }
    Ok(ExitCode::SUCCESS)
}

/// The host's crates are linted with their tests; the freestanding ones without, because a test
/// harness needs the standard library.
fn commands(workspace: &Workspace) -> Vec<Vec<String>> {
    let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
    let deny = ["--", "-D", "warnings"].map(String::from);
    let mut host = words("clippy --quiet --all-targets");
    host.extend(deny.clone());
    let mut freestanding = words("clippy --quiet --target");
    freestanding.push(parts::TARGET.into());
    for package in workspace.freestanding() {
        freestanding.extend(["--package".into(), package.into()]);
    }
    freestanding.extend(deny);
    vec![words("fmt --all --check"), host, freestanding]
}

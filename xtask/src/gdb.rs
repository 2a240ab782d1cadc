//! `gdb`: a machine that waits at its first instruction, and a debugger that knows its symbols.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use crate::{cli::RunOptions, image::BootFiles, session::Session, ui, workspace::Workspace};

/// Boots a machine that waits for gdb, and becomes nothing else until gdb ends.
pub fn run(options: &RunOptions) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut session = Session::new(&workspace, &options.machine, &options.manifest)?;
    session.machine.cores = options.cores;
    let log = session.recipe.output().with_extension("log");
    session.machine.serial = format!("file,id=serial,path={}", log.display());
    session.machine.extra.extend(["-s", "-S"].map(String::from));
    if options.machine.dry_run {
        session.describe();
        return Ok(ExitCode::SUCCESS);
    }
    let files = session.prepare()?;
    todo!()
}

//! `build` and `run`.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;

use crate::{
    cli::{BuildOptions, RunOptions},
    guest::{Ending, Guest},
    image::Recipe,
    parts::Part,
    session::Session,
    workspace::Workspace,
};

/// Builds every part and the boot image.
pub fn build(options: &BuildOptions) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    if let Some(part) = options.part {
        return build_part(&workspace, part, options);
    }
    let recipe = Recipe::new(&workspace, options.profile.profile(), &options.manifest)?;
    if options.dry_run {
        for build in recipe.builds() {
            println!("{}", build.shell_line());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let files = recipe.make()?;
    println!("loader  {}", files.loader.display());
    println!("image   {}", files.image.display());
    Ok(ExitCode::SUCCESS)
}

fn build_part(workspace: &Workspace, part: Part, options: &BuildOptions) -> Result<ExitCode> {
    let profile = options.profile.profile();
    let build = part.build(workspace, profile, &workspace.packages_of(part));
    if options.dry_run {
        println!("{}", build.shell_line());
        return Ok(ExitCode::SUCCESS);
    }
    for (name, path) in build.run()? {
        println!("{name}  {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Boots a machine and shows its log.
pub fn run(options: &RunOptions) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut session = Session::new(&workspace, &options.machine, &options.manifest)?;
    session.machine.cores = options.cores;
    if options.machine.dry_run {
        session.describe();
        return Ok(ExitCode::SUCCESS);
    }
    session.prepare()?;
    let guest = Guest::start(&session.machine)?;
    let limit = options.machine.timeout.map(Duration::from_secs);
    let report = guest.watch(limit, |line| {
        println!("{line}");
        Ok(())
    })?;
    eprint!("{}", report.complaints);
    eprintln!("the machine {}", report.ending);
    Ok(match report.ending {
        Ending::Success => ExitCode::SUCCESS,
        Ending::Interrupted => ExitCode::from(130),
        _ => ExitCode::FAILURE,
    })
}

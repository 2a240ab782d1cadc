//! `build` and `run`.

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, bail};

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
    match report.ending {
        Ending::Success => {
            eprintln!("the machine {}", report.ending);
            Ok(ExitCode::SUCCESS)
        }
        Ending::Interrupted => Ok(ExitCode::from(130)),
        ref ending => bail!("the machine {ending}; {}", advice(ending)),
    }
}

fn advice(ending: &Ending) -> &'static str {
    match ending {
        Ending::TimedOut(_) => "look where it stands with `cargo xtask gdb`, or raise --timeout",
        Ending::Failure => "the log above says which program failed",
        Ending::Panic => "CONTRIBUTING.md says how to read the panic above",
        Ending::LoaderError => "mend what the loader's message above names",
        _ => "see above what came last, or look closer with `cargo xtask gdb`",
    }
}

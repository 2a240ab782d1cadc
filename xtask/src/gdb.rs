//! `gdb`: a machine that waits at its first instruction, and a debugger that knows its symbols.

use std::{
    io::IsTerminal,
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    cli::RunOptions, guest::Guest, image::BootFiles, interrupt, session::Session, ui,
    workspace::Workspace,
};

/// Boots a machine that waits, and runs gdb on it; or says how, where there is no terminal or gdb.
pub fn run(options: &RunOptions) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut session = Session::new(&workspace, &options.machine, &options.manifest)?;
    session.machine.cores = options.cores;
    let socket = session.recipe.output().with_extension("gdb");
    let log = session.recipe.output().with_extension("log");
    let files = match options.machine.dry_run {
        true => None,
        false => Some(session.prepare()?),
    };
    // A comma in a value is written twice.
    let double = |path: &Path| path.display().to_string().replace(',', ",,");
    session.machine.serial = format!("file,path={}", double(&log));
    let server = format!("unix:{},server=on,wait=off", double(&socket));
    session
        .machine
        .extra
        .extend(["-gdb".into(), server, "-S".into()]);
    let Some(files) = files else {
        session.describe();
        return Ok(ExitCode::SUCCESS);
    };
    // A socket of a machine that is gone would be mistaken for the new one's.
    let _ = std::fs::remove_file(&socket);
    let guest = Guest::start(&session.machine)?;
    wait_for(&socket)?;
    println!("the machine's log: {}", log.display());
    debug(&debugger(&files, &socket), guest, options.machine.timeout)
}

fn debug(words: &[String], guest: Guest, limit: Option<u64>) -> Result<ExitCode> {
    let installed = Command::new(&words[0]).arg("--version").output().is_ok();
    if installed && std::io::stdin().is_terminal() {
        // Ctrl-C now stops the guest for gdb, and not xtask.
        interrupt::leave_to_child();
        let status = Command::new(&words[0]).args(&words[1..]).status();
        status.context("gdb cannot be started")?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("the machine waits for:\n{}", ui::shell_line(words));
    let report = guest.watch(limit.map(Duration::from_secs), |_| Ok(()))?;
    eprintln!("the machine {}", report.ending);
    Ok(ExitCode::SUCCESS)
}

/// gdb with the symbols of the kernel, the loader and the first program of the manifest. All
/// programs are linked at the same address, so gdb can know one at a time.
fn debugger(files: &BootFiles, socket: &Path) -> Vec<String> {
    let add = |path: &Path| format!("add-symbol-file {}", path.display());
    let mut words = vec!["gdb".to_string(), "--quiet".into()];
    let programs = || files.symbols.iter().filter(|(name, _)| name != "kernel");
    let kernel = files.symbols.iter().find(|(name, _)| name == "kernel");
    words.extend(kernel.map(|(_, path)| path.display().to_string()));
    let mut execute = |line: String| words.extend(["-ex".into(), line]);
    execute("set confirm off".into());
    execute(add(&files.loader));
    let first = programs().find(|(name, _)| name != "init");
    if let Some((_, path)) = first.or_else(|| programs().next()) {
        execute(add(path));
    }
    for (name, path) in programs() {
        execute(format!("echo symbols of {name}: {}\\n", path.display()));
    }
    execute(format!("target remote {}", socket.display()));
    words
}

fn wait_for(socket: &Path) -> Result<()> {
    let start = Instant::now();
    while !socket.exists() {
        if start.elapsed() > Duration::from_secs(10) {
            bail!("QEMU did not open its gdb socket; try the same flags with `cargo xtask run`");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

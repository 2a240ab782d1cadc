//! `setup`: finds what is missing on this machine, and installs it where that is possible.
//!
//! Building needs only the stable Rust that already runs this; booting needs QEMU; one test needs
//! GRUB, and is left out where GRUB cannot be had.

mod apt;
mod distribution;
mod grub;
mod sources;

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{cli::SetupOptions, parts, test::browser::Browser};

/// The program that boots the system.
const QEMU: &str = "qemu-system-x86_64";
/// The oldest QEMU that everything here is expected to work with.
const OLDEST_QEMU: u32 = 8;

/// Checks everything, installs what is missing, and says what is there.
pub fn run(options: &SetupOptions) -> Result<ExitCode> {
    check_target()?;
    let consent = Consent {
        yes: options.yes,
        dry_run: options.dry_run,
    };
    let qemu = find_or_install(options.qemu.as_deref(), consent)?;
    if let State::Good(version) = state(&qemu) {
        println!("QEMU {version}: {}", qemu.display());
    }
    if Command::new("gdb")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok()
    {
        println!("gdb: found");
    } else {
        println!("gdb: not found; only `cargo xtask gdb` needs it");
    }
    if Browser::find().is_some() {
        println!("Chromium: found");
    } else {
        println!("Chromium: not found; only the tests of the results' page need it");
    }
    match grub::ensure(consent) {
        Ok(()) => println!("GRUB: found"),
        Err(reason) => println!("GRUB: {reason}; only one test needs it"),
    }
    Ok(ExitCode::SUCCESS)
}

/// GRUB's tools for a CD; installs them if need be. Why they are not there, as a sentence.
pub fn ensure_grub() -> Result<(), String> {
    grub::ensure(Consent {
        yes: false,
        dry_run: false,
    })
}

/// A QEMU that is recent enough; installs it if need be.
pub fn ensure_qemu(wish: Option<&Path>, dry_run: bool) -> Result<PathBuf> {
    if dry_run {
        return Ok(wish.unwrap_or(Path::new(QEMU)).into());
    }
    check_target()?;
    find_or_install(
        wish,
        Consent {
            yes: false,
            dry_run,
        },
    )
}

#[derive(Clone, Copy)]
struct Consent {
    yes: bool,
    dry_run: bool,
}

fn find_or_install(wish: Option<&Path>, consent: Consent) -> Result<PathBuf> {
    let qemu = wish.unwrap_or(Path::new(QEMU));
    match (state(qemu), wish) {
        (State::Good(_), _) => return Ok(qemu.into()),
        (bad, Some(_)) => bail!(
            "{} {bad}; give --qemu the path of a QEMU {OLDEST_QEMU} or newer",
            qemu.display()
        ),
        (bad, None) => eprintln!("{QEMU} {bad}"),
    }
    install(consent)?;
    match state(qemu) {
        _ if consent.dry_run => Ok(qemu.into()),
        State::Good(_) => Ok(qemu.into()),
        bad => bail!(
            "{QEMU} {bad} even after the installation; install QEMU {OLDEST_QEMU} or newer by hand, or name one with --qemu"
        ),
    }
}

fn install(consent: Consent) -> Result<()> {
    let system = distribution::current();
    if !system.has_apt() {
        bail!("install QEMU with `{}` and try again", system.command());
    }
    ask("QEMU", consent)?;
    apt::install(&system, consent.dry_run)
}

/// Asks before anything is installed, unless somebody said yes beforehand or nobody can.
fn ask(what: &str, consent: Consent) -> Result<()> {
    let terminal = std::io::stdin().is_terminal();
    let unattended_root = rustix::process::geteuid().is_root() && !terminal;
    if consent.dry_run || consent.yes || std::env::var_os("CI").is_some() || unattended_root {
        return Ok(());
    }
    if !terminal {
        bail!("run `cargo xtask setup --yes` to install {what} with apt");
    }
    print!("Install {what} with apt? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => bail!("nothing was installed; install {what} by hand"),
    }
}

enum State {
    Missing,
    Strange,
    Old(String),
    Good(String),
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("is not installed"),
            Self::Strange => f.write_str("does not answer like QEMU"),
            Self::Old(version) => {
                write!(f, "has version {version}, {OLDEST_QEMU} or newer is needed")
            }
            Self::Good(version) => write!(f, "has version {version}"),
        }
    }
}

fn state(qemu: &Path) -> State {
    let Ok(output) = Command::new(qemu).arg("--version").output() else {
        return State::Missing;
    };
    match version(&String::from_utf8_lossy(&output.stdout)) {
        None => State::Strange,
        Some((major, text)) if major < OLDEST_QEMU => State::Old(text),
        Some((_, text)) => State::Good(text),
    }
}

/// The version of a QEMU, for reports.
pub fn qemu_version(qemu: &Path) -> String {
    match state(qemu) {
        State::Good(version) | State::Old(version) => version,
        State::Missing | State::Strange => "unknown".into(),
    }
}

/// The version in a line such as `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
fn version(output: &str) -> Option<(u32, String)> {
    let rest = output.strip_prefix("QEMU emulator version ")?;
    let text = rest.split_whitespace().next()?;
    Some((text.split('.').next()?.parse().ok()?, text.into()))
}

/// The stock toolchain of another kind of machine lacks the target's standard library.
fn check_target() -> Result<()> {
    if cfg!(all(
        target_arch = "x86_64",
        target_os = "linux",
        target_env = "gnu"
    )) {
        return Ok(());
    }
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", parts::TARGET])
        .output()
        .context("rustc cannot be started; install Rust from https://rustup.rs")?;
    let folder = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !Path::new(folder.trim()).is_dir() {
        bail!("run `rustup target add {}` and try again", parts::TARGET);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_version_is_found_in_what_qemu_prints() {
        let line = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright";
        assert_eq!(version(line), Some((10, "10.0.2".into())));
        let line = "QEMU emulator version 8.2.50";
        assert_eq!(version(line), Some((8, "8.2.50".into())));
        let other = "false (GNU coreutils) 9.1\nLicense GPLv3+: GNU GPL version 3 or later";
        for text in [
            "",
            "QEMU",
            "QEMU emulator version ",
            "QEMU emulator version x.y",
            other,
        ] {
            assert_eq!(version(text), None, "{text}");
        }
    }
}

//! The installation by apt on Debian and Ubuntu.
//!
//! Debian 12 has a QEMU that is too old, and its plain packages conflict with a `qemu-utils` from
//! backports: there QEMU comes from backports as well.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{OLDEST_QEMU, distribution::System, sources};
use crate::ui;

const PACKAGE: &str = "qemu-system-x86";
const OUR_SOURCE: &str = "/etc/apt/sources.list.d/spillway-backports.sources";

/// Installs QEMU, or says how it would.
pub fn install(system: &System, dry_run: bool) -> Result<()> {
    let root = Root::new(dry_run)?;
    root.run(&["apt-get", "update"])?;
    let candidate = policy(PACKAGE)?;
    let packages = words_of("dpkg-query", &["-W", "-f", FORMAT, "qemu-*"])?;
    let newer = |version: &str| is_newer(version, candidate.as_deref().unwrap_or("0"));
    let mut arguments = vec!["apt-get", "install", "-y", "--no-install-recommends"];
    let suite;
    if !plain_works(candidate.as_deref(), &packages, newer) {
        suite = enable_backports(system, &root)?;
        arguments.extend(["-t", suite.as_str()]);
    }
    arguments.push(PACKAGE);
    root.run(&arguments)
}

/// Installs packages that are the same everywhere.
pub fn install_plain(packages: &[&str], dry_run: bool) -> Result<()> {
    let root = Root::new(dry_run)?;
    root.run(&["apt-get", "update"])?;
    let mut arguments = vec!["apt-get", "install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    root.run(&arguments)
}

const FORMAT: &str = "${Package} ${Version} ${db:Status-Status}\n";

/// Whether the plain package is recent enough and no installed sibling of it is newer.
fn plain_works(candidate: Option<&str>, packages: &str, newer: impl Fn(&str) -> bool) -> bool {
    let Some(candidate) = candidate else {
        return false;
    };
    let conflict = packages.lines().any(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        matches!(words[..], [_, version, "installed"] if newer(version))
    });
    upstream_major(candidate) >= OLDEST_QEMU && !conflict
}

/// The 10 in `1:10.0.2+ds-2`; 0 if there is none.
fn upstream_major(version: &str) -> u32 {
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    let digits: String = upstream.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// Makes apt know the backports of this release, and returns the suite's name.
fn enable_backports(system: &System, root: &Root) -> Result<String> {
    let Some(codename) = system.codename.as_deref().filter(|_| system.is_debian()) else {
        bail!(
            "this release has no QEMU {OLDEST_QEMU}; install a newer one by hand and name it with --qemu"
        );
    };
    let suite = format!("{codename}-backports");
    let known = read_sources();
    if known.iter().any(|source| source.serves(&suite)) {
        return Ok(suite);
    }
    let text = sources::backports(&known, codename).with_context(|| {
        format!(
            "no apt source of this machine serves {codename}; add one for {suite} and try again"
        )
    })?;
    root.write(OUR_SOURCE, &text)?;
    root.run(&["apt-get", "update"])?;
    Ok(suite)
}

fn read_sources() -> Vec<sources::Source> {
    let mut files = vec!["/etc/apt/sources.list".into()];
    if let Ok(folder) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(folder.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut known = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap_or_default();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => known.extend(sources::parse_deb822(&text)),
            Some("list") => known.extend(sources::parse_list(&text)),
            _ => {}
        }
    }
    known
}

/// The version that apt would install.
fn policy(package: &str) -> Result<Option<String>> {
    Ok(candidate(&words_of("apt-cache", &["policy", package])?))
}

fn candidate(policy: &str) -> Option<String> {
    let line = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate:"))?;
    Some(line.trim().to_string()).filter(|version| version != "(none)")
}

/// Debian's order of versions is dpkg's business.
fn is_newer(version: &str, than: &str) -> bool {
    Command::new("dpkg")
        .args(["--compare-versions", version, "gt", than])
        .status()
        .is_ok_and(|status| status.success())
}

/// What a command that only looks prints; nothing if it fails, as for packages that do not exist.
fn words_of(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("{program} cannot be started; is this Debian or Ubuntu?"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How commands that change the system are run.
struct Root {
    sudo: bool,
    dry_run: bool,
}

impl Root {
    fn new(dry_run: bool) -> Result<Self> {
        let sudo = !rustix::process::geteuid().is_root();
        let has_sudo = || {
            Command::new("sudo")
                .arg("-V")
                .stdout(Stdio::null())
                .status()
                .is_ok()
        };
        if sudo && !dry_run && !has_sudo() {
            bail!("become root and run `apt-get install {PACKAGE}`, then try again");
        }
        Ok(Self { sudo, dry_run })
    }

    fn run(&self, words: &[&str]) -> Result<()> {
        self.run_with(words, None)
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        eprintln!("the new apt source {path}:\n{text}");
        debug_assert!(Path::new(path).is_absolute());
        self.run_with(&["tee", path], Some(text))
    }

    fn run_with(&self, words: &[&str], input: Option<&str>) -> Result<()> {
        let words = match self.sudo {
            true => [&["sudo"], words].concat(),
            false => words.to_vec(),
        };
        let line = ui::shell_line(&words);
        eprintln!("+ {line}");
        if self.dry_run {
            return Ok(());
        }
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(if input.is_some() {
                Stdio::null()
            } else {
                Stdio::inherit()
            })
            .spawn()
            .with_context(|| format!("`{line}` cannot be started"))?;
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), input) {
            stdin.write_all(text.as_bytes())?;
        }
        if !child.wait()?.success() {
            bail!("`{line}` failed; mend what it says above and try again");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "1:7.2+dfsg-7";
    const NEW: &str = "1:10.0.2+ds-2~bpo12+1";

    #[test]
    fn the_candidate_is_read_from_the_policy() {
        let text = "qemu-system-x86:\n  Installed: (none)\n  Candidate: 1:7.2+dfsg-7\n";
        assert_eq!(candidate(text).as_deref(), Some(OLD));
        assert_eq!(candidate("x:\n  Candidate: (none)\n"), None);
        assert_eq!(candidate(""), None);
    }

    #[test]
    fn an_old_candidate_or_a_newer_sibling_asks_for_backports() {
        let newer = |version: &str| version == NEW;
        assert!(!plain_works(Some(OLD), "", newer));
        assert!(!plain_works(None, "", newer));
        assert!(plain_works(Some("1:8.2.2+ds-0ubuntu1"), "", newer));
        let sibling =
            |status: &str| format!("qemu-utils {NEW} {status}\nqemu-guest-agent  not-installed\n");
        assert!(!plain_works(Some("1:8.2.2"), &sibling("installed"), newer));
        assert!(plain_works(
            Some("1:8.2.2"),
            &sibling("config-files"),
            newer
        ));
        assert!(plain_works(Some(NEW), &sibling("installed"), |_| false));
    }

    #[test]
    fn the_upstream_version_stands_behind_the_epoch() {
        assert_eq!(upstream_major(OLD), 7);
        assert_eq!(upstream_major(NEW), 10);
        assert_eq!(upstream_major("8.2"), 8);
        assert_eq!(upstream_major("none"), 0);
    }
}

//! The kernel and BusyBox, from the packages of the distribution that this machine has. Nothing is
//! installed: the packages are downloaded as apt is set up here, and unpacked under `target/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    interrupt,
    ui::{self, Step},
};

/// The package that depends on the newest kernel for virtual machines. It has NVMe built in.
const KERNEL: &str = "linux-image-cloud-amd64";
const BUSYBOX: &str = "busybox-static";

/// What was unpacked.
pub struct Files {
    pub kernel: PathBuf,
    pub busybox: PathBuf,
}

/// The files, from `folder` if they were fetched before.
///
/// # Errors
///
/// If they are not there and cannot be fetched: what was tried, and what came of it.
pub fn fetch(folder: &Path) -> Result<Files> {
    fetch_by(Apt::default(), folder)
}

/// The same by apt with a configuration of its own.
fn fetch_by(system: Apt, folder: &Path) -> Result<Files> {
    if let Some(files) = find(folder) {
        return Ok(files);
    }
    let step = Step::new(format!("fetching {KERNEL} and {BUSYBOX}"));
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    // First with the lists of packages that the system has, then with new ones of our own. The
    // system's are left as they are.
    let own = Apt {
        lists: Some(folder.join("lists")),
        ..system.clone()
    };
    if let Err(first) = system.download(folder) {
        let second = own.update().and_then(|()| own.download(folder));
        if interrupt::requested() {
            bail!("interrupted");
        }
        if let Err(second) = second {
            bail!(
                "the Linux column needs the packages {KERNEL} and {BUSYBOX} of Debian, and they \
                 cannot be fetched.\nWith the package lists of this system: {first:#}\nWith new \
                 lists: {second:#}\nConnect this machine to its package mirror and try again, or \
                 unpack both packages with `dpkg-deb -x PACKAGE {}`",
                folder.join("root").display()
            );
        }
    }
    drop(step);
    find(folder).with_context(|| {
        format!("{KERNEL} or {BUSYBOX} does not hold what it should: /boot/vmlinuz-* with an NVMe driver built in, /bin/busybox")
    })
}

/// The files if they are there.
pub fn find(folder: &Path) -> Option<Files> {
    let root = folder.join("root");
    let mut kernels: Vec<_> = fs::read_dir(root.join("boot"))
        .ok()?
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.to_string()))
        .filter(|name| name.starts_with("vmlinuz-"))
        .collect();
    kernels.sort();
    let kernel = kernels.pop()?;
    let version = kernel.strip_prefix("vmlinuz-")?;
    let built_in = root
        .join("lib/modules")
        .join(version)
        .join("modules.builtin");
    let built_in = fs::read_to_string(built_in).ok()?;
    let has_nvme = built_in.lines().any(|line| line.ends_with("/nvme.ko"));
    // Distributions that have merged the two folders have it in the other one.
    let busybox = ["bin/busybox", "usr/bin/busybox"]
        .map(|path| root.join(path))
        .into_iter()
        .find(|path| path.is_file())?;
    has_nvme.then(|| Files {
        kernel: root.join("boot").join(kernel),
        busybox,
    })
}

/// apt, with the lists of packages of the system or with others.
#[derive(Clone, Default)]
struct Apt {
    lists: Option<PathBuf>,
    /// A file with settings that come first.
    settings: Option<PathBuf>,
}

impl Apt {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").stdin(Stdio::null());
        if let Some(settings) = &self.settings {
            command.env("APT_CONFIG", settings);
        }
        if let Some(lists) = &self.lists {
            let lists = lists.display();
            command.args(["-o", &format!("Dir::State::lists={lists}")]);
            command.args(["-o", &format!("Dir::Cache={lists}")]);
        }
        // Without a network it shall not take minutes to say so.
        command.args(["-o", "Acquire::Retries=1"]);
        command.args(["-o", "Acquire::http::Timeout=20"]);
        command.args(["-o", "Acquire::https::Timeout=20"]);
        command
    }

    /// Fetches the lists of packages.
    fn update(&self) -> Result<()> {
        if let Some(lists) = &self.lists {
            fs::create_dir_all(lists)?;
        }
        // A list that cannot be had is a warning to apt, with which a download fails later.
        output(self.command("apt-get").args(["update", "--error-on=any"])).map(drop)
    }

    /// Downloads both packages and unpacks them in `folder`.
    fn download(&self, folder: &Path) -> Result<()> {
        let depends = output(self.command("apt-cache").args(["depends", KERNEL]))?;
        let kernel = dependency(&depends)
            .with_context(|| format!("{KERNEL} depends on no kernel: {}", depends.trim()))?;
        let packages = tempfile::tempdir_in(folder)?;
        output(
            self.command("apt-get")
                .current_dir(packages.path())
                .args(["download", kernel, BUSYBOX]),
        )?;
        let root = tempfile::tempdir_in(folder)?;
        for package in fs::read_dir(packages.path())? {
            let package = package?.path();
            output(
                Command::new("dpkg-deb")
                    .arg("-x")
                    .arg(package)
                    .arg(root.path()),
            )?;
        }
        // Both are there whole, or none is.
        let place = folder.join("root");
        let _ = fs::remove_dir_all(&place);
        fs::rename(root.keep(), &place).context("the packages cannot be moved")
    }
}

/// The first dependency in what `apt-cache depends` prints that is a kernel.
fn dependency(text: &str) -> Option<&str> {
    let dependencies = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    dependencies
        .map(str::trim)
        .find(|name| name.starts_with("linux-image-"))
}

/// What a command prints. If it fails, what it complains of.
fn output(command: &mut Command) -> Result<String> {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into()));
    let line = ui::shell_line(&words);
    let output = command
        .output()
        .with_context(|| format!("`{line}` cannot be started"))?;
    if !output.status.success() {
        let complaints = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed: {}", complaints.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_what_the_package_depends_on() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-base\n  \
                    Depends: linux-image-6.1.0-56-cloud-amd64\n  Suggests: linux-image-x\n";
        assert_eq!(dependency(text), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(dependency("linux-image-cloud-amd64\n"), None);
        assert_eq!(dependency("  Suggests: linux-image-x\n"), None);
    }

    #[test]
    fn files_count_only_together_and_with_the_driver() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(find(folder.path()).is_none());
        write("boot/vmlinuz-6.1.0-1", "");
        write("boot/config-6.1.0-1", "");
        write(
            "lib/modules/6.1.0-1/modules.builtin",
            "kernel/drivers/nvme/host/nvme-core.ko\n",
        );
        write("usr/bin/busybox", "");
        assert!(find(folder.path()).is_none());
        write(
            "lib/modules/6.1.0-1/modules.builtin",
            "kernel/drivers/nvme/host/nvme.ko\n",
        );
        let files = find(folder.path()).unwrap();
        assert!(files.kernel.ends_with("boot/vmlinuz-6.1.0-1"));
        assert!(files.busybox.ends_with("usr/bin/busybox"));
    }

    #[test]
    fn packages_that_cannot_be_had_end_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("settings");
        let lists = folder.path().join("none");
        fs::create_dir(&lists).unwrap();
        let nowhere = format!(
            "Dir::Etc::sourcelist \"/dev/null\"; Dir::Etc::sourceparts \"/dev/null\"; \
             Dir::State::lists \"{}\";",
            lists.display()
        );
        fs::write(&settings, nowhere).unwrap();
        let apt = Apt {
            lists: None,
            settings: Some(settings),
        };
        let place = folder.path().join("packages");
        let error = fetch_by(apt, &place).map(|_| ()).unwrap_err().to_string();
        for part in [KERNEL, BUSYBOX, "dpkg-deb -x PACKAGE", "try again"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert!(!place.join("root").exists());
    }

    #[test]
    fn a_command_that_fails_is_shown_with_its_complaint() {
        let error = output(Command::new("sh").args(["-c", "echo no mirror >&2; exit 1"]));
        let error = format!("{:#}", error.unwrap_err());
        assert!(
            error.contains("sh -c") && error.ends_with("no mirror"),
            "{error}"
        );
        let error = output(&mut Command::new("there-is-no-such-program")).unwrap_err();
        assert!(format!("{error:#}").contains("cannot be started"));
    }
}

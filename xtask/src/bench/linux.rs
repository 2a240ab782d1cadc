//! The Linux column: the same disk in the same emulator, read by a distribution's kernel.
//!
//! The kernel and BusyBox come from the distribution's packages, the load generator is
//! `perf/linux`. `docs/bench-linux.md` says what is measured and how it compares.

mod cpio;
mod packages;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    cargo::Build,
    guest::{Ending, Guest, Report},
    image,
    parts::TARGET,
    qemu::{Disk, Machine},
    ui::Step,
    workspace::Workspace,
};
use spillway_report::{Measurement, Method, schema};

/// The load generator's package and binary.
const PACKAGE: &str = "spillway-linux-load";
const LOAD: &str = "linux-load";
/// What starts it.
const INIT: &str = "perf/linux/init.sh";
/// What the kernel is told: no protection that Spillway has not either, nothing that costs time on
/// the way to the disk and can be switched off, and one queue of the disk for those who poll.
const COMMAND_LINE: [&str; 10] = [
    "console=ttyS0 loglevel=4",
    // A panic resets the machine, which ends the emulator.
    "panic=-1",
    "mitigations=off",
    "init_on_alloc=0",
    "hardened_usercopy=off",
    "lsm=",
    "nowatchdog",
    "psi=0",
    "nvme_core.multipath=N",
    "nvme.poll_queues=1",
];

/// Seconds that one boot may take, if nothing was said.
const LIMIT: u64 = 900;

/// Everything that a boot of Linux needs.
pub struct Column {
    kernel: PathBuf,
    initramfs: PathBuf,
    load: Build,
    packages: PathBuf,
    init: PathBuf,
    limit: Duration,
    /// Whether it was already said what kernel this is.
    introduced: bool,
}

impl Column {
    /// Says where everything will be. `limit` is how many seconds a boot may take.
    pub fn new(workspace: &Workspace, limit: Option<u64>) -> Self {
        let folder = workspace.target.join("linux");
        Self {
            kernel: folder.join("vmlinuz"),
            initramfs: folder.join("initramfs.cpio"),
            load: load_generator(workspace),
            packages: folder.join("packages"),
            init: workspace.root.join(INIT),
            limit: Duration::from_secs(limit.unwrap_or(LIMIT)),
            introduced: false,
        }
    }

    /// Fetches the packages if they are not there, builds the load generator, and makes what is
    /// booted. `ours` is the machine of one of our runs.
    pub fn prepare(&mut self, ours: &Machine) -> Result<()> {
        ensure!(
            ours.disk.is_some(),
            "Linux is measured on a disk, and this plan has none; try `bench nvme --vs linux`"
        );
        let files = packages::fetch(&self.packages)?;
        let binaries = self.load.run()?;
        let load = binaries.iter().find(|(name, _)| name == LOAD);
        let (_, load) = load.with_context(|| format!("cargo built no binary `{LOAD}`"))?;
        let mut archive = cpio::Archive::default();
        for folder in ["bin", "dev", "proc", "sys"] {
            archive.folder(folder);
        }
        for (name, path) in [
            ("init", &self.init),
            ("bin/busybox", &files.busybox),
            ("bin/linux-load", load),
        ] {
            let content =
                fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
            archive.program(name, &content);
        }
        image::write_whole(&self.initramfs, &archive.finish())?;
        let kernel = fs::read(&files.kernel)
            .with_context(|| format!("{} cannot be read", files.kernel.display()))?;
        image::write_whole(&self.kernel, &kernel)
    }

    /// Prints what would be done.
    pub fn describe(&self, ours: &Machine, method: Method) {
        println!("{}", self.load.shell_line());
        println!("{}", self.machine(ours, method).shell_line());
    }

    /// The machine of one of our runs, with Linux on it. It has no IOMMU: Linux would map every
    /// read there and unmap it again.
    fn machine(&self, ours: &Machine, method: Method) -> Machine {
        let mut append: Vec<String> = COMMAND_LINE.map(String::from).into();
        if method == Method::Counted {
            append.push("idle=poll".into());
        }
        append.push(format!("METHOD={}", method.name()));
        let backend = ours.disk.as_ref().map_or("none", Disk::backend);
        append.push(format!("BACKEND={backend}"));
        Machine {
            loader: self.kernel.clone(),
            image: Some(self.initramfs.clone()),
            append,
            iommu: false,
            ..ours.clone()
        }
    }

    /// Boots once and returns what was measured. `ours` is the machine of our own run.
    pub fn measure(&mut self, ours: &Machine, method: Method) -> Result<Vec<Measurement>> {
        let step = Step::new(format!("{} run of Linux", method.name()));
        let (mut found, mut notes) = (Vec::new(), Vec::new());
        let machine = self.machine(ours, method);
        let report = Guest::start(&machine)?.watch(Some(self.limit), |line| {
            if let Some(json) = line.strip_prefix("@result ") {
                let result = Measurement::parse(json)
                    .with_context(|| format!("Linux reported nonsense: {line}"))?;
                step.update(result.name.clone());
                schema::add(&mut found, result)?;
            }
            notes.extend(line.strip_prefix("@note ").map(String::from));
            Ok(())
        })?;
        drop(step);
        match report.ending {
            Ending::Success => {}
            Ending::Interrupted => bail!("interrupted"),
            _ => {
                eprint!("{}", report.evidence());
                let ending = describe(&report);
                bail!("Linux {ending} while it measured; the end of its log is above");
            }
        }
        ensure!(!found.is_empty(), "Linux reported no result");
        if !std::mem::replace(&mut self.introduced, true) {
            notes.iter().for_each(|note| eprintln!("Linux: {note}"));
        }
        Ok(found)
    }
}

/// How the machine ended. Linux resets it when it panics.
fn describe(report: &Report) -> String {
    let panicked = |line: &String| line.contains("Kernel panic");
    match report.ending {
        Ending::Other(_) if report.tail.iter().any(panicked) => "panicked".into(),
        ref ending => ending.to_string(),
    }
}

/// A program for Linux that needs no library there.
fn load_generator(workspace: &Workspace) -> Build {
    let target = workspace.target.join("linux").join("load");
    let arguments = [
        "--package",
        PACKAGE,
        "--bins",
        "--release",
        "--target",
        TARGET,
        "--target-dir",
    ];
    let mut arguments: Vec<String> = arguments.map(String::from).into();
    arguments.push(target.display().to_string());
    Build {
        what: "load generator for Linux".into(),
        root: workspace.root.clone(),
        rustflags: vec!["-Ctarget-feature=+crt-static".into()],
        arguments,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accel::Accelerator;

    fn column() -> Column {
        Column {
            kernel: "vmlinuz".into(),
            initramfs: "initramfs".into(),
            load: Build {
                what: String::new(),
                root: PathBuf::new(),
                rustflags: Vec::new(),
                arguments: Vec::new(),
            },
            packages: PathBuf::new(),
            init: PathBuf::new(),
            limit: Duration::ZERO,
            introduced: false,
        }
    }

    fn ours() -> Machine {
        Machine {
            qemu: "qemu".into(),
            accelerator: Accelerator::Tcg,
            cores: 1,
            memory: 512 << 20,
            iommu: true,
            disk: Some(Disk::null(1 << 30)),
            loader: "loader".into(),
            image: Some("image".into()),
            cd: None,
            append: vec!["exit=debug".into()],
            extra: vec!["-icount".into(), "shift=0,sleep=off".into()],
            serial: "stdio".into(),
        }
    }

    #[test]
    fn linux_gets_our_machine_and_its_own_words() {
        let line = column().machine(&ours(), Method::Counted).shell_line();
        for part in [
            "-machine q35 -accel tcg -cpu max -smp 1 -m 512M",
            "driver=null-co,size=1073741824",
            "-kernel vmlinuz -initrd initramfs",
            "mitigations=off",
            "idle=poll METHOD=counted BACKEND=null",
            "-icount shift=0,sleep=off",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert!(!line.contains("iommu") && !line.contains("exit=debug"));
        let timed = column().machine(&ours(), Method::Timed).shell_line();
        assert!(timed.contains("METHOD=timed") && !timed.contains("idle=poll"));
    }

    #[test]
    fn a_panic_is_told_from_a_reset() {
        let ended = |ending, line: &str| {
            describe(&Report {
                ending,
                tail: [line.to_string()].into(),
                complaints: String::new(),
            })
        };
        let reset = || Ending::Other("reset or switched itself off".into());
        let panic = "[    1.6] Kernel panic - not syncing: sysrq triggered crash";
        assert_eq!(ended(reset(), panic), "panicked");
        assert!(ended(reset(), "reboot").starts_with("reset"));
        let late = Ending::TimedOut(Duration::from_secs(3));
        assert!(ended(late, panic).contains("3 seconds"));
    }
}

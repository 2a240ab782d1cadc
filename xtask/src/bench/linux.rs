//! The Linux column: the same disk in the same emulator, read by a distribution's kernel.
//!
//! The kernel and BusyBox come from the distribution's packages, the load generator is
//! `perf/linux`. `docs/bench-linux.md` says what is measured and how it compares.

mod cpio;
mod packages;

use std::{fs, path::PathBuf, time::Duration};

use crate::{
    cargo::Build,
    guest::{Ending, Guest, Report},
    image,
    parts::TARGET,
    qemu::{Disk, Machine},
    ui::Course,
    workspace::Workspace,
};
use anyhow::{Context, Result, bail};
use spillway_report::{Measurement, Method, rival::Rival, schema::OtherSystem};

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

/// What its rows are labelled with.
pub const SYSTEM: &str = "linux";
/// How a line begins that says something about the system.
const NOTE: &str = "note: ";

/// Everything that a boot of Linux needs.
pub struct Column {
    kernel: PathBuf,
    initramfs: PathBuf,
    load: Build,
    packages: PathBuf,
    init: PathBuf,
    limit: Duration,
    /// Whether it is only to be seen that it works.
    is_brief: bool,
    rival: Rival,
    /// What was booted, and what it said of itself.
    pub about: OtherSystem,
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
            is_brief: false,
            rival: Rival::new(SYSTEM),
            about: OtherSystem::default(),
        }
    }

    /// The same with everything measured once and only just.
    pub fn brief(self) -> Self {
        Self {
            is_brief: true,
            ..self
        }
    }

    /// Whether the packages are there.
    pub fn is_fetched(&self) -> bool {
        packages::find(&self.packages).is_some()
    }

    /// Fetches the packages if they are not there, builds the load generator, and makes what is
    /// booted.
    pub fn prepare(&mut self) -> Result<()> {
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

    /// Prints what would be built.
    pub fn describe_builds(&self) {
        println!("{}", self.load.shell_line());
    }

    /// The machine of one of our runs, with Linux on it. It has no IOMMU: Linux would map every
    /// read there and unmap it again.
    pub fn machine(&self, ours: &Machine, method: Method) -> Machine {
        let mut append: Vec<String> = COMMAND_LINE.map(String::from).into();
        if method == Method::Counted {
            append.push("idle=poll".into());
        }
        append.push(format!("METHOD={}", method.name()));
        let backend = ours.disk.as_ref().map_or("none", Disk::backend);
        append.push(format!("BACKEND={backend}"));
        let extent = if self.is_brief { "brief" } else { "full" };
        append.push(format!("EXTENT={extent}"));
        Machine {
            loader: self.kernel.clone(),
            image: Some(self.initramfs.clone()),
            append,
            iommu: false,
            ..ours.clone()
        }
    }

    /// Boots once on the machine of one of our runs, and adds what was measured to other results.
    pub fn measure(
        &mut self,
        (ours, method): (&Machine, Method),
        course: &Course,
        results: &mut Vec<Measurement>,
    ) -> Result<()> {
        let machine = self.machine(ours, method);
        let line = || machine.shell_line();
        let lines = &mut self.about.qemu_command_line;
        let notes_are_known = !lines.is_empty();
        lines.entry(method).or_insert_with(line);
        let notes = &mut self.about.notes;
        let mut log = self.rival.boot(method, results);
        let report = Guest::start(&machine)?.watch(Some(self.limit), |line| {
            if let Some(note) = line.strip_prefix(NOTE).filter(|_| !notes_are_known) {
                notes.push(note.into());
            }
            let told = log.line(line);
            if let Some(name) = told.with_context(|| format!("Linux reported nonsense: {line}"))? {
                course.update(&name);
            }
            Ok(())
        })?;
        match report.ending {
            Ending::Success => {}
            Ending::Interrupted => bail!("interrupted"),
            _ => {
                eprint!("{}", report.evidence());
                let ending = describe(&report);
                bail!("Linux {ending} while it measured; the end of its log is above");
            }
        }
        log.finish().map_err(|error| {
            eprint!("{}", report.evidence());
            error.context("Linux ended with success, but its results are not whole; the end of its log is above")
        })
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
            is_brief: false,
            rival: Rival::new(SYSTEM),
            about: OtherSystem::default(),
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
            "idle=poll METHOD=counted BACKEND=null EXTENT=full",
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

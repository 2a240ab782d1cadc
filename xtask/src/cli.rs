//! The command line.

use std::path::PathBuf;

use crate::parts::Part;
use clap::{Args, Parser, Subcommand, ValueEnum};
use spillway_abi::limits::MAX_CORES;
use spillway_manifest::size;
use spillway_plan::{Device, Level};

/// Build, run, test and measure Spillway.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Find out what is missing, and install it
    Setup(SetupOptions),
    /// Build the loader, the kernel and the programs, and make the boot image
    Build(BuildOptions),
    /// Boot in QEMU and show the log
    Run(RunOptions),
    /// Test on the host, the linked binaries, and in QEMU
    Test(TestOptions),
    /// Take each guard of the system out, and show that its test fails without it
    Guards(GuardsOptions),
    /// Measure in QEMU
    Bench(Box<BenchOptions>),
    /// Check the formatting, and look for mistakes with clippy
    Lint(LintOptions),
    /// Boot in QEMU and stop at the first instruction, with gdb attached
    Gdb(RunOptions),
}

#[derive(Args)]
pub struct SetupOptions {
    /// Install without asking
    #[arg(long)]
    pub yes: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Use this QEMU
    #[arg(long, value_name = "PATH")]
    pub qemu: Option<PathBuf>,
}

#[derive(Args)]
pub struct BuildOptions {
    /// Build only this part
    pub part: Option<Part>,
    #[command(flatten)]
    pub profile: ProfileOptions,
    /// What runs on the machine
    #[arg(long, value_name = "FILE", default_value = "manifests/hello.toml")]
    pub manifest: PathBuf,
    /// Print the commands, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args)]
pub struct RunOptions {
    #[command(flatten)]
    pub machine: MachineOptions,
    /// What runs on the machine
    #[arg(long, value_name = "FILE", default_value = "manifests/hello.toml")]
    pub manifest: PathBuf,
    /// Cores of the machine
    #[arg(long, default_value_t = 2, value_parser = parse_cores)]
    pub cores: u32,
}

#[derive(Args)]
pub struct TestOptions {
    /// Run only tests whose names contain this
    pub filter: Option<String>,
    #[command(flatten)]
    pub machine: MachineOptions,
    /// Boot this instead of manifests/test.toml
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Boot with this many cores only, instead of 1, 2 and 4
    #[arg(long, value_parser = parse_cores)]
    pub cores: Option<u32>,
    /// Run the long campaigns in full
    #[arg(long)]
    pub soak: bool,
}

#[derive(Args)]
pub struct GuardsOptions {
    /// Take out only guards whose names contain this
    pub filter: Option<String>,
    #[command(flatten)]
    pub machine: MachineOptions,
}

#[derive(Args, Debug)]
pub struct BenchOptions {
    /// What is measured: a name in perf/plans, or the path of a TOML file
    #[arg(default_value = "quick")]
    pub plan: String,
    /// Measure only this level; can be given several times
    #[arg(long, value_parser = parse_level)]
    pub level: Vec<Level>,
    /// Measure only this device; can be given several times
    #[arg(long, value_parser = parse_device)]
    pub device: Vec<Device>,
    #[command(flatten)]
    pub machine: MachineOptions,
    /// Boot this instead of the plan's own manifest
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Cores of the machine in timed runs of a plan that does not say; counted ones have one
    #[arg(long, default_value_t = 1, value_parser = parse_cores)]
    pub cores: u32,
    /// Boots of each timed machine, instead of the plan's number
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repetitions: Option<u32>,
    /// Measure this system as well, on the same machine with the same disk
    #[arg(long, value_name = "SYSTEM", conflicts_with = "collect")]
    pub vs: Option<Rival>,
    /// Compare with this earlier result, and say what has changed beyond the spread
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Run the plan of this earlier result again, with its seed and flags, and compare
    #[arg(long, value_name = "FILE", conflicts_with_all = ["baseline", "collect"])]
    pub repro: Option<PathBuf>,
    /// Boot nothing, but read one boot of a real machine from this serial device, file or pipe
    #[arg(long, value_name = "DEVICE")]
    pub collect: Option<PathBuf>,
    /// Write everything to this folder, not to target/bench, and a table for a README beside it
    #[arg(long, value_name = "FOLDER")]
    pub save: Option<PathBuf>,
    /// Write the results here, in the form of docs/results.md, not to target/bench
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the table for spreadsheets here
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write the page with plots here
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl BenchOptions {
    /// Nothing but a machine.
    pub fn of_machine(machine: &MachineOptions) -> Self {
        Self {
            plan: String::new(),
            level: Vec::new(),
            device: Vec::new(),
            machine: machine.clone(),
            manifest: None,
            cores: 1,
            repetitions: None,
            vs: None,
            baseline: None,
            repro: None,
            collect: None,
            save: None,
            json: None,
            csv: None,
            html: None,
        }
    }
}

/// What Spillway can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rival {
    /// A kernel of Debian, fetched with apt
    Linux,
}

#[derive(Args)]
pub struct LintOptions {
    /// Print the commands, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// The flags that `run`, `test`, `bench` and `gdb` share.
#[derive(Args, Clone, Debug)]
pub struct MachineOptions {
    #[command(flatten)]
    pub profile: ProfileOptions,
    /// Memory of the machine
    #[arg(long, default_value = "512M", value_parser = parse_memory)]
    pub memory: u64,
    /// Whether the machine has an I/O memory management unit
    #[arg(long, default_value = "off")]
    pub iommu: Switch,
    /// What executes the guest's instructions
    #[arg(long, default_value = "auto")]
    pub accel: Accel,
    /// Attach this file as an NVMe disk
    #[arg(long, value_name = "FILE")]
    pub disk: Option<PathBuf>,
    /// Put this word on the kernel's command line; can be given several times
    #[arg(long, value_name = "WORD")]
    pub kernel_arg: Vec<String>,
    /// Use this QEMU
    #[arg(long, value_name = "PATH")]
    pub qemu: Option<PathBuf>,
    /// Pass this to QEMU as well; can be given several times
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_arg: Vec<String>,
    /// Print the commands, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub timeout: Option<u64>,
}

#[derive(Args, Clone, Copy, Debug)]
pub struct ProfileOptions {
    /// Build with optimisations (this is the default)
    #[arg(long)]
    pub release: bool,
    /// Build without optimisations and with debug assertions
    #[arg(long, conflicts_with = "release")]
    pub debug: bool,
}

impl ProfileOptions {
    pub fn profile(self) -> Profile {
        if self.debug {
            Profile::Debug
        } else {
            Profile::Release
        }
    }
}

/// How the guest's code is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Debug,
    Release,
}

impl Profile {
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM where it works, TCG otherwise
    Auto,
    /// The emulator
    Tcg,
    /// The host's processor
    Kvm,
}

fn parse_cores(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(cores) if (1..=MAX_CORES as u32).contains(&cores) => Ok(cores),
        _ => Err(format!("a machine has 1 to {MAX_CORES} cores")),
    }
}

fn parse_level(text: &str) -> Result<Level, String> {
    let names = || Level::ALL.iter().map(|level| level.name());
    Level::from_name(text).ok_or_else(|| one_of(names()))
}

fn parse_device(text: &str) -> Result<Device, String> {
    let names = || Device::ALL.iter().map(|device| device.name());
    Device::from_name(text).ok_or_else(|| one_of(names()))
}

fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    format!("write one of {}", names.collect::<Vec<_>>().join(", "))
}

fn parse_memory(text: &str) -> Result<u64, String> {
    match size::parse(text) {
        Some(bytes) if bytes > 0 && bytes % (1 << 20) == 0 => Ok(bytes),
        _ => Err("write whole mebibytes, for example 512M or 4G".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn cores_and_memory_have_limits() {
        assert_eq!(parse_cores("64"), Ok(64));
        assert!(parse_cores("65").is_err());
        assert!(parse_cores("0").is_err());
        assert_eq!(parse_memory("1M"), Ok(1 << 20));
        assert!(parse_memory("0").is_err());
        assert!(parse_memory("4097").is_err());
        assert!(parse_memory("lots").is_err());
    }
}

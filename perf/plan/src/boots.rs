//! A plan as the host runs it: the machines that it boots, and the words for its cases.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use crate::{Backend, Case, Cases, Device, Invalid, Level, Method, Topology, Wait, axis::one_of};

/// A plan that somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The name of its file, without `.toml`.
    pub name: String,
    /// The file, from which it can be read again.
    pub text: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// What every random choice follows from.
    pub seed: u64,
    /// How often timed boots are repeated.
    pub repetitions: u32,
    /// What it runs.
    pub workload: Workload,
}

/// What a plan runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Programs that bring their own workload.
    Program {
        /// The machines on which they run.
        boots: Vec<ProgramBoot>,
    },
    /// Cases, which a program reads from its boot image.
    Levels {
        /// The program's name in the manifest.
        program: String,
        /// What starts it; `{level}`, `{device}` and `{topology}` stand for those of a case, and
        /// `{process}` for `integrated` or `served`.
        manifest: String,
        /// The cases, each with the step of an ablation to which it belongs.
        cases: Vec<(Case, Option<String>)>,
        /// Machines for programs that bring their own workload, besides.
        boots: Vec<ProgramBoot>,
    },
}

/// One machine on which a program with its own workload runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramBoot {
    /// Its name in the manifest.
    pub program: String,
    /// What starts it.
    pub manifest: String,
    /// Whether instructions are counted or time is taken.
    pub method: Method,
    /// Whether there is an IOMMU; if nothing is said, as the flags have it.
    pub iommu: Option<bool>,
    /// What is behind its disk, if it has one.
    pub backend: Option<Backend>,
    /// Cores, where time is taken; if nothing is said, as the flags have it.
    pub cores: Option<u32>,
}

/// A machine that is booted, and what runs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Whether instructions are counted or time is taken.
    pub method: Method,
    /// The program that measures.
    pub program: String,
    /// What starts it.
    pub manifest: String,
    /// The device that is measured, if the plan says.
    pub device: Option<Device>,
    /// What is behind it, if the plan says.
    pub backend: Option<Backend>,
    /// Whether there is an IOMMU, if the plan says.
    pub iommu: Option<bool>,
    /// Cores, if the plan says.
    pub cores: Option<u32>,
    /// What the words in braces in the manifest's arguments stand for.
    pub words: Vec<(&'static str, &'static str)>,
    /// What is measured, if the program does not know by itself.
    pub cases: Option<Cases>,
}

/// What the cases of one boot have in common.
type Key = (Method, Level, Device, Backend, bool, Topology, Wait);

const fn key(case: &Case) -> Key {
    (
        case.method,
        case.level,
        case.device,
        case.backend,
        case.iommu,
        case.topology,
        case.wait,
    )
}

impl Topology {
    /// Cores of a machine with it.
    pub const fn cores(self) -> u32 {
        match self {
            Self::SameCore => 1,
            Self::SplitCore => 2,
        }
    }
}

impl Level {
    /// Who has the driver, in the names of manifests.
    const fn process(self) -> &'static str {
        match self {
            Self::Integrated => "integrated",
            _ => "served",
        }
    }
}

impl Device {
    /// The argument of blk-server by which it serves this; its RAM-disk has 64 MiB.
    const fn argument(self) -> &'static str {
        match self {
            Self::Nvme => "device=disk",
            Self::RamDisk => "ram=67108864",
        }
    }
}

impl ProgramBoot {
    fn boot(&self) -> Boot {
        Boot {
            method: self.method,
            program: self.program.clone(),
            manifest: self.manifest.clone(),
            device: self.backend.map(|_| Device::Nvme),
            backend: self.backend,
            iommu: self.iommu,
            cores: self.cores,
            words: [("{method}", self.method.name())].into(),
            cases: None,
        }
    }
}

impl Boot {
    /// Whether it is only seen whether data is right: then once is enough.
    pub fn only_verifies(&self) -> bool {
        let cases = self.cases.as_ref().map(|cases| &cases.cases);
        cases.is_some_and(|cases| cases.iter().all(|case| case.verify))
    }
}

impl Plan {
    /// Leaves out what belongs to other levels and devices, and programs with their own workload; an
    /// empty list wants all.
    pub fn retain(&mut self, levels: &[Level], devices: &[Device]) -> Result<(), Invalid> {
        if levels.is_empty() && devices.is_empty() {
            return Ok(());
        }
        let Workload::Levels { cases, boots, .. } = &mut self.workload else {
            return Err(Invalid(format!(
                "plan `{}` runs a program with its own workload, so --level and --device choose \
                 nothing; leave them out",
                self.name
            )));
        };
        let names = |names: Vec<&str>| one_of(&names);
        let has = |wanted: &dyn Fn(&Case) -> bool| cases.iter().any(|(case, _)| wanted(case));
        for level in levels {
            if !has(&|case| case.level == *level) {
                let known = Level::ALL
                    .iter()
                    .filter(|level| has(&|case| case.level == **level));
                return Err(Invalid(format!(
                    "plan `{}` has no case at level {}; it has {}",
                    self.name,
                    level.name(),
                    names(known.map(|level| level.name()).collect())
                )));
            }
        }
        for device in devices {
            if !has(&|case| case.device == *device) {
                let known = Device::ALL
                    .iter()
                    .filter(|device| has(&|case| case.device == **device));
                return Err(Invalid(format!(
                    "plan `{}` has no case on device {}; it has {}",
                    self.name,
                    device.name(),
                    names(known.map(|device| device.name()).collect())
                )));
            }
        }
        boots.clear();
        cases.retain(|(case, _)| {
            (levels.is_empty() || levels.contains(&case.level))
                && (devices.is_empty() || devices.contains(&case.device))
        });
        match cases.is_empty() {
            false => Ok(()),
            true => Err(Invalid(format!(
                "plan `{}` has no case for this level on this device; name others",
                self.name
            ))),
        }
    }

    /// The machines, counted ones first, each with its cases.
    pub fn boots(&self) -> Vec<Boot> {
        match &self.workload {
            Workload::Program { boots } => boots.iter().map(ProgramBoot::boot).collect(),
            Workload::Levels {
                program,
                manifest,
                cases,
                boots,
            } => {
                let mut sorted: BTreeMap<Key, Vec<Case>> = BTreeMap::new();
                for (case, _) in cases {
                    sorted.entry(key(case)).or_default().push(case.clone());
                }
                let cases = sorted.into_iter();
                let cases = cases.map(|(key, cases)| self.boot(program, manifest, key, cases));
                boots.iter().map(ProgramBoot::boot).chain(cases).collect()
            }
        }
    }

    fn boot(&self, program: &str, manifest: &str, key: Key, cases: Vec<Case>) -> Boot {
        let (method, level, device, backend, iommu, topology, wait) = key;
        let words = [
            ("{method}", method.name()),
            ("{level}", level.name()),
            ("{device}", device.name()),
            ("{topology}", topology.name()),
            ("{wait}", wait.name()),
            ("{process}", level.process()),
            ("{disk}", device.argument()),
        ];
        let manifest = words
            .iter()
            .fold(manifest.to_string(), |path, (word, name)| {
                path.replace(word, name)
            });
        Boot {
            method,
            program: program.into(),
            manifest,
            device: Some(device),
            backend: Some(backend),
            iommu: Some(iommu),
            cores: Some(topology.cores()),
            words: words.into(),
            cases: Some(Cases {
                seed: self.seed,
                cases,
            }),
        }
    }

    /// A case by its number, with the labels of its results.
    pub fn case(&self, id: u32) -> Option<(&Case, BTreeMap<String, String>)> {
        let Workload::Levels { cases, .. } = &self.workload else {
            return None;
        };
        let (case, step) = cases.iter().find(|(case, _)| case.id == id)?;
        Some((case, labels(case, step.as_deref())))
    }
}

/// The words for a case, by which its results are told apart.
fn labels(case: &Case, step: Option<&str>) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = [
        ("level", case.level.name().to_string()),
        ("device", case.device.name().into()),
        ("backend", case.backend.name().into()),
        ("qd", case.queue_depth.to_string()),
        ("threads", case.threads.to_string()),
        ("block_size", case.block_size.to_string()),
        ("reads", case.read_percent.to_string()),
        ("pattern", case.pattern.name().into()),
        ("wait", case.wait.name().into()),
        ("topology", case.topology.name().into()),
        ("cores", case.topology.cores().to_string()),
        ("iommu", if case.iommu { "on" } else { "off" }.into()),
        ("buffers", case.buffers.name().into()),
        ("batch", case.batch.to_string()),
    ]
    .map(|(label, value)| (label.to_string(), value))
    .into();
    if let Some(rate) = case.rate {
        labels.insert("rate".into(), rate.to_string());
    }
    if case.verify {
        labels.insert("verify".into(), "on".into());
    }
    if let Some(step) = step {
        labels.insert("step".into(), step.into());
    }
    labels
}

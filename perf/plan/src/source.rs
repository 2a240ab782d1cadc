//! The TOML form that people write.
//!
//! ```toml
//! about = "Random reads of 4 KiB at every level."
//! seed = 1
//! repetitions = 5
//!
//! [[sweep]]
//! level = ["sync", "async", "shared", "integrated"]
//! queue_depth = [1, 32]
//! method = "counted"
//! ```
//!
//! Every key of a sweep takes one value or a list; the cases are all combinations. A `[[boot]]` boots a
//! program that brings its own workload; a plan of `kind = "program"` has nothing else.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use serde::Deserialize;
use toml::Value;

use crate::{
    Backend, Buffers, Case, Cases, Device, Invalid, Level, Method, Pattern, Topology, Wait,
    axis::{self, named},
    boots::{Plan, ProgramBoot, Workload},
};

/// Repetitions of a plan that names no number.
const REPETITIONS: u32 = 5;
/// Repetitions of a plan.
const MAX_REPETITIONS: u32 = 1000;
/// The seed of a plan that names none.
const SEED: u64 = 1;
/// The program that measures cases, and what starts it.
const PROGRAM: &str = "bench-io";
const MANIFEST: &str = "manifests/bench-io-{process}-{topology}.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    about: String,
    #[serde(default)]
    kind: Kind,
    seed: Option<u64>,
    repetitions: Option<u32>,
    program: Option<String>,
    manifest: Option<String>,
    #[serde(default)]
    sweep: Vec<Sweep>,
    #[serde(default)]
    boot: Vec<BootEntry>,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Levels,
    Program,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BootEntry {
    method: Value,
    program: Option<String>,
    manifest: Option<String>,
    iommu: Option<bool>,
    backend: Option<Value>,
    cores: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sweep {
    step: Option<String>,
    method: Option<Value>,
    level: Option<Value>,
    device: Option<Value>,
    backend: Option<Value>,
    queue_depth: Option<Value>,
    threads: Option<Value>,
    block_size: Option<Value>,
    reads: Option<Value>,
    pattern: Option<Value>,
    wait: Option<Value>,
    topology: Option<Value>,
    iommu: Option<Value>,
    buffers: Option<Value>,
    batch: Option<Value>,
    rate: Option<Value>,
    verify: Option<Value>,
    operations: Option<u32>,
    warm_up: Option<u32>,
    samples: Option<u32>,
}

/// Reads and checks a plan that somebody wrote.
pub fn parse(name: &str, text: &str) -> Result<Plan, Invalid> {
    let document: Document =
        toml::from_str(text).map_err(|error| Invalid(error.to_string().trim_end().to_string()))?;
    let repetitions = document.repetitions.unwrap_or(REPETITIONS);
    if !(1..=MAX_REPETITIONS).contains(&repetitions) {
        return Err(Invalid(format!(
            "`repetitions` is {repetitions}; write 1 to {MAX_REPETITIONS}"
        )));
    }
    Ok(Plan {
        name: name.into(),
        text: text.into(),
        about: document.about.clone(),
        seed: document.seed.unwrap_or(SEED),
        repetitions,
        workload: match document.kind {
            Kind::Levels => levels(document)?,
            Kind::Program => program(document)?,
        },
    })
}

fn program(document: Document) -> Result<Workload, Invalid> {
    let wrong = |sentence: &str| Err(Invalid(sentence.into()));
    if !document.sweep.is_empty() {
        return wrong(
            "a plan of kind \"program\" has no [[sweep]]; write a [[boot]] for each machine",
        );
    }
    if document.boot.is_empty() {
        return wrong("the plan boots nothing; write a [[boot]] with `method = \"counted\"`");
    }
    let boot = |entry| {
        boot(
            entry,
            document.program.as_deref(),
            document.manifest.as_deref(),
        )
    };
    Ok(Workload::Program {
        boots: document.boot.iter().map(boot).collect::<Result<_, _>>()?,
    })
}

/// A machine for a program, by default that of the plan.
fn boot(
    entry: &BootEntry,
    program: Option<&str>,
    manifest: Option<&str>,
) -> Result<ProgramBoot, Invalid> {
    let Some(program) = entry.program.as_deref().or(program) else {
        return Err(Invalid(
            "a [[boot]] names no program, and the plan names none for all; write \
             `program = \"bench-…\"`"
                .into(),
        ));
    };
    let manifest = entry.manifest.as_deref().or(manifest);
    let backends = named!("backend", entry.backend, Backend, &[])?;
    Ok(ProgramBoot {
        program: program.into(),
        manifest: manifest.map_or_else(|| format!("manifests/{program}.toml"), String::from),
        method: match methods(Some(&entry.method), &[])?[..] {
            [method] => method,
            _ => {
                return Err(Invalid(
                    "a [[boot]] has one method; write another [[boot]]".into(),
                ));
            }
        },
        iommu: entry.iommu,
        cores: entry.cores,
        backend: match backends[..] {
            [] | [Backend::Null] => backends.first().copied(),
            _ => {
                return Err(Invalid(
                    "a [[boot]] takes `backend = \"null\"`; name a disk image with --disk".into(),
                ));
            }
        },
    })
}

fn levels(document: Document) -> Result<Workload, Invalid> {
    let mut cases: Vec<(Case, Option<String>)> = Vec::new();
    for sweep in &document.sweep {
        for case in sweep.cases()? {
            add(&mut cases, case, sweep.step.as_deref())?;
        }
    }
    let list = Cases {
        seed: 0,
        cases: cases.iter().map(|(case, _)| case.clone()).collect(),
    };
    list.check()?;
    Ok(Workload::Levels {
        program: document.program.unwrap_or_else(|| PROGRAM.into()),
        manifest: document.manifest.unwrap_or_else(|| MANIFEST.into()),
        cases,
        boots: document
            .boot
            .iter()
            .map(|entry| boot(entry, None, None))
            .collect::<Result<_, _>>()?,
    })
}

/// Numbers a case and adds it, unless it is there already.
fn add(
    cases: &mut Vec<(Case, Option<String>)>,
    mut case: Case,
    step: Option<&str>,
) -> Result<(), Invalid> {
    let of_step = |other: &&(Case, Option<String>)| other.1.as_deref() == step;
    for (other, _) in cases.iter().filter(of_step) {
        case.id = other.id;
        if *other == case {
            return Ok(());
        }
        if let Some(step) = step.filter(|_| other.method == case.method) {
            return Err(Invalid(format!(
                "step \"{step}\" has several cases of one method; give each axis of its [[sweep]] \
                 one value"
            )));
        }
    }
    case.id = cases.len() as u32;
    cases.push((case, step.map(String::from)));
    Ok(())
}

fn methods(found: Option<&Value>, default: &[Method]) -> Result<Vec<Method>, Invalid> {
    let read = |value: &Value| Method::from_argument(value.as_str());
    axis::values("method", found, default, read, "\"counted\" or \"timed\"")
}

/// All of a list with all of another.
fn product<T: Copy>(cases: Vec<Case>, values: Vec<T>, set: fn(&mut Case, T)) -> Vec<Case> {
    let with = |case: Case| {
        values.iter().map(move |value| {
            let mut case = case.clone();
            set(&mut case, *value);
            case
        })
    };
    let all: Vec<Vec<Case>> = cases.into_iter().map(|case| with(case).collect()).collect();
    all.concat()
}

impl Sweep {
    /// Every combination, in the order of the keys here.
    fn cases(&self) -> Result<Vec<Case>, Invalid> {
        use Method::{Counted, Timed};
        if self.level.is_none() {
            return Err(Invalid(
                "a [[sweep]] names no `level`; write one, or a list".into(),
            ));
        }
        let mut cases = vec![Self::plain()];
        macro_rules! over {
            ($values:expr, $case:ident, $value:ident, $set:expr) => {
                cases = product(cases, $values?, |$case, $value| $set);
            };
        }
        over!(
            methods(self.method.as_ref(), &[Counted, Timed]),
            case,
            value,
            case.method = value
        );
        over!(
            named!("level", self.level, Level, &[]),
            case,
            value,
            case.level = value
        );
        over!(
            named!("device", self.device, Device, &[Device::Nvme]),
            case,
            value,
            case.device = value
        );
        over!(
            named!("backend", self.backend, Backend, &[Backend::Null]),
            case,
            value,
            case.backend = value
        );
        over!(
            axis::sizes("block_size", self.block_size.as_ref(), &[4096]),
            case,
            value,
            case.block_size = value
        );
        over!(
            axis::numbers("reads", self.reads.as_ref(), &[100]),
            case,
            value,
            case.read_percent = value
        );
        over!(
            named!("pattern", self.pattern, Pattern, &[Pattern::Random]),
            case,
            value,
            case.pattern = value
        );
        over!(
            named!("wait", self.wait, Wait, &[Wait::Poll]),
            case,
            value,
            case.wait = value
        );
        over!(
            named!("topology", self.topology, Topology, &[Topology::SameCore]),
            case,
            value,
            case.topology = value
        );
        over!(
            axis::switches("iommu", self.iommu.as_ref(), &[true]),
            case,
            value,
            case.iommu = value
        );
        over!(
            named!("buffers", self.buffers, Buffers, &[Buffers::Registered]),
            case,
            value,
            case.buffers = value
        );
        over!(
            axis::switches("verify", self.verify.as_ref(), &[false]),
            case,
            value,
            case.verify = value
        );
        over!(
            axis::optional("rate", self.rate.as_ref()),
            case,
            value,
            case.rate = value
        );
        over!(
            axis::numbers("queue_depth", self.queue_depth.as_ref(), &[1]),
            case,
            value,
            case.queue_depth = value
        );
        over!(
            axis::optional("threads", self.threads.as_ref()),
            case,
            value,
            case.threads = value.unwrap_or(match case.level {
                Level::Sync => case.queue_depth,
                _ => 1,
            })
        );
        over!(axis::optional("batch", self.batch.as_ref()), case, value, {
            // More than a thread has in flight cannot be in a batch.
            let share = (case.queue_depth / case.threads.max(1)).max(1);
            case.batch = value.unwrap_or(share).min(share);
        });
        for case in &mut cases {
            let (operations, samples) = match case.method {
                Counted => (3200, 5),
                _ => (20_000, 1),
            };
            case.operations = self.operations.unwrap_or(operations);
            case.warm_up = self.warm_up.unwrap_or(case.operations / 10);
            case.samples = self.samples.unwrap_or(samples);
        }
        Ok(cases)
    }

    /// A case of which every axis is replaced.
    fn plain() -> Case {
        Case {
            id: 0,
            method: Method::Counted,
            level: Level::Sync,
            device: Device::Nvme,
            backend: Backend::Null,
            queue_depth: 1,
            threads: 1,
            block_size: 4096,
            read_percent: 100,
            pattern: Pattern::Random,
            wait: Wait::Poll,
            topology: Topology::SameCore,
            iommu: true,
            buffers: Buffers::Registered,
            batch: 1,
            rate: None,
            operations: 1,
            warm_up: 0,
            samples: 1,
            verify: false,
        }
    }
}

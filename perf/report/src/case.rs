//! Rows that belong together: everything that was measured of one case.
//!
//! A row belongs to a case if it has the labels `level` and `qd` and a name that says what it is:
//! `subject/<level>_qd<depth>` and a suffix, such as `levels/sync_qd1_kernel`. Rows of another
//! system have the label `system`; without it, it is Spillway.

use std::collections::BTreeMap;

use spillway_plan::Level;
use spillway_wire::{Method, Quantity};

pub use crate::group::{Group, groups};
use crate::{Better, Measurement};

/// What latencies are reported: the suffix, and how many in all are not longer.
pub const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];

/// What a row of a case says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// So much of it for one operation.
    PerOperation(Quantity),
    /// Operations in a second.
    Throughput,
    /// The mean latency, with the histogram.
    Latency,
    /// A position in [`PERCENTILES`].
    Percentile(usize),
}

impl What {
    /// The end of a row's name.
    pub fn suffix(self) -> String {
        match self {
            Self::PerOperation(Quantity::Instructions) => String::new(),
            Self::PerOperation(quantity) => format!("_{}", quantity.name()),
            Self::Throughput => "_iops".into(),
            Self::Latency => "_latency".into(),
            Self::Percentile(index) => format!("_latency_{}", PERCENTILES[index].0),
        }
    }

    /// The unit of the row.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Throughput => "iops",
            Self::Latency | Self::Percentile(_) => "nanoseconds",
            Self::PerOperation(quantity) => match quantity {
                Quantity::Instructions
                | Quantity::Application
                | Quantity::Driver
                | Quantity::Kernel
                | Quantity::EmptyPollInstructions
                | Quantity::IdleInstructions => "instructions",
                Quantity::EmptyPolls => "polls",
                Quantity::SystemCalls => "calls",
                Quantity::AddressSpaceSwitches => "switches",
                Quantity::MmioWrites => "writes",
                Quantity::Interrupts => "interrupts",
                Quantity::WakeUps => "wake-ups",
                Quantity::BytesCopied => "bytes",
                Quantity::IotlbFlushes => "flushes",
                Quantity::Nanoseconds => "nanoseconds",
            },
        }
    }

    /// Which way is progress.
    pub const fn better(self) -> Better {
        match self {
            Self::Throughput => Better::Higher,
            _ => Better::Lower,
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        let quantities = Quantity::ALL.into_iter().map(Self::PerOperation);
        let percentiles = (0..PERCENTILES.len()).map(Self::Percentile);
        quantities
            .chain([Self::Throughput, Self::Latency])
            .chain(percentiles)
    }

    /// What a row says; `None` if it belongs to no case.
    pub fn of(row: &Measurement) -> Option<Self> {
        let (level, depth) = (row.label("level")?, row.label("qd")?);
        let (_, name) = row.name.split_once('/')?;
        if let Some(suffix) = name.strip_prefix(&format!("{level}_qd{depth}")) {
            return Self::all().find(|what| what.suffix() == suffix);
        }
        // The names of the plan `nvme`, which has one level.
        let what = match name.strip_suffix(&format!("_qd{depth}")) {
            Some("iops") => Self::Throughput,
            Some("mmio_per_io") => Self::PerOperation(Quantity::MmioWrites),
            Some("polls_in_vain") => Self::PerOperation(Quantity::EmptyPolls),
            Some(_) => return None,
            None => {
                let percentile = name.strip_prefix(&format!("latency_qd{depth}_"))?;
                let known = |(name, _): &(&str, f64)| *name == percentile;
                Self::Percentile(PERCENTILES.iter().position(known)?)
            }
        };
        Some(what)
    }
}

/// The rows of one case.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    pub(crate) labels: BTreeMap<&'a str, &'a str>,
    rows: BTreeMap<(Method, What), &'a Measurement>,
}

impl<'a> Case<'a> {
    /// A label's value; empty without it.
    pub fn label(&self, name: &str) -> &'a str {
        self.labels.get(name).copied().unwrap_or_default()
    }

    /// Requests in flight.
    pub fn depth(&self) -> u32 {
        self.label("qd").parse().unwrap_or(0)
    }

    /// The system, if it is another one.
    pub fn system(&self) -> Option<&'a str> {
        let system = self.label("system");
        (!matches!(system, "" | "spillway")).then_some(system)
    }

    /// The level, and the system if it is another one.
    pub fn series(&self) -> String {
        match self.system() {
            None => self.label("level").into(),
            Some(system) => format!("{system} {}", self.label("level")),
        }
    }

    /// The level, if it is one of ours.
    pub fn level(&self) -> Option<Level> {
        Level::from_name(self.label("level")).filter(|_| self.system().is_none())
    }

    /// A row.
    pub fn row(&self, method: Method, what: What) -> Option<&'a Measurement> {
        self.rows.get(&(method, what)).copied()
    }

    /// What was counted for one operation.
    pub fn counted(&self, quantity: Quantity) -> Option<f64> {
        let row = self.row(Method::Counted, What::PerOperation(quantity));
        row.map(|row| row.value)
    }

    /// What was counted for one operation, or else taken from a counter in a timed run.
    pub fn per_operation(&self, quantity: Quantity) -> Option<f64> {
        let timed = || self.row(Method::Timed, What::PerOperation(quantity));
        self.counted(quantity)
            .or_else(|| timed().map(|row| row.value))
    }

    /// "read", "write" or "operation".
    pub fn operation(&self) -> &'static str {
        match self.label("reads") {
            "100" => "read",
            "0" => "write",
            _ => "operation",
        }
    }

    /// Our levels first, in their order, then the others.
    fn order(&self) -> (u8, String, u32) {
        let level = self.level().map_or(u8::MAX, |level| level as u8);
        (level, self.series(), self.depth())
    }
}

/// The cases of a document, sorted by level and depth.
pub fn cases(results: &[Measurement]) -> Vec<Case<'_>> {
    let mut cases: BTreeMap<BTreeMap<&str, &str>, Case> = BTreeMap::new();
    for row in results {
        let Some(what) = What::of(row) else { continue };
        let labels = row.labels.iter();
        let labels: BTreeMap<&str, &str> = labels
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let case = cases.entry(labels.clone()).or_insert_with(|| Case {
            labels,
            rows: BTreeMap::new(),
        });
        case.rows.entry((row.method, what)).or_insert(row);
    }
    let mut cases: Vec<_> = cases.into_values().collect();
    cases.sort_by_key(Case::order);
    cases
}

/// What was verified, a sentence for each kind of load.
pub fn checks(cases: &[Case<'_>]) -> Vec<String> {
    let mut kinds: BTreeMap<(&str, &str, &str), Vec<String>> = BTreeMap::new();
    for case in cases.iter().filter(|case| case.label("verify") == "on") {
        let kind = ["device", "pattern", "reads"].map(|name| case.label(name));
        let levels = kinds.entry(kind.into()).or_default();
        let level = case.series();
        if !levels.contains(&level) {
            levels.push(level);
        }
    }
    let sentence = |((device, pattern, reads), levels): ((&str, &str, &str), Vec<String>)| {
        let writes = 100_u32.saturating_sub(reads.parse().unwrap_or(100));
        let written = match writes {
            0 => "nothing was written: the image is as it was before".into(),
            _ => format!("{writes} in a hundred were writes, and the image holds what was written"),
        };
        format!(
            "Verified on a disk image ({device}): every {pattern} read at {} held what it should; {written}.",
            list(&levels)
        )
    };
    kinds.into_iter().map(sentence).collect()
}

/// `a, b and c`.
fn list(words: &[String]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// The steps of an ablation in their order, each with its case.
pub fn steps<'a>(cases: &[Case<'a>]) -> Vec<(&'a str, Case<'a>)> {
    let steps = cases.iter().filter(|case| !case.label("step").is_empty());
    let mut steps: Vec<_> = steps
        .map(|case| (case.label("step"), case.clone()))
        .collect();
    // By the number in front, so that 10 comes behind 9.
    let number = |step: &str| {
        step.split(' ')
            .next()
            .and_then(|word| word.parse::<u32>().ok())
    };
    steps.sort_by_key(|(step, _)| (number(step).unwrap_or(u32::MAX), *step));
    steps
}

//! Rows that belong together: everything that was measured of one case, and cases that can be
//! compared.
//!
//! A row belongs to a case if it has the labels `level` and `qd` and a name that says what it is:
//! `subject/<level>_qd<depth>` and a suffix, such as `levels/sync_qd1_kernel`. Rows of another
//! system have the label `system`; without it, it is Spillway.

use std::collections::{BTreeMap, BTreeSet};

use spillway_plan::Level;
use spillway_wire::{Method, Quantity};

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
    labels: BTreeMap<&'a str, &'a str>,
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

    /// The labels of the conditions under which it was measured.
    fn fixed(&self) -> Vec<(&'a str, &'a str)> {
        let fixed = self.labels.iter().filter(|(name, _)| !FREE.contains(name));
        fixed.map(|(name, value)| (*name, *value)).collect()
    }

    /// Whether it does the same work as a case of ours.
    fn joins(&self, ours: &Self) -> bool {
        let both = |name: &&str| [self.label(name), ours.label(name)];
        WORKLOAD
            .iter()
            .map(both)
            .all(|[a, b]| a.is_empty() || b.is_empty() || a == b)
            && SPECIAL.iter().map(both).all(|[a, b]| a == b)
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

/// Cases under the same conditions: they differ in level and depth only.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// What distinguishes it from the first group, such as "wait poll"; empty for that one.
    pub title: String,
    /// Sorted by level and depth.
    pub cases: Vec<Case<'a>>,
}

/// What follows from level and depth, or is the level.
const FREE: [&str; 5] = ["level", "qd", "threads", "batch", "system"];

/// What another system has to have in common with ours to be shown beside them, as far as both tell.
/// The way in which it waits, and what it does with buffers and without an IOMMU, are its own.
const WORKLOAD: [&str; 6] = [
    "device",
    "backend",
    "block_size",
    "reads",
    "pattern",
    "cores",
];
/// What is a condition of its own if it is there.
const SPECIAL: [&str; 1] = ["rate"];

/// Sorts cases into groups. Steps of an ablation are none: they differ in more on purpose. Nor are cases
/// that verify: what they take is the looking, too. A case of another system joins every group of ours
/// with the same workload.
pub fn groups<'a>(cases: &[Case<'a>]) -> Vec<Group<'a>> {
    let mut sorted: BTreeMap<Vec<(&str, &str)>, Vec<Case<'a>>> = BTreeMap::new();
    let is_plain = |case: &&Case| case.label("step").is_empty() && case.label("verify").is_empty();
    let compared = cases.iter().filter(is_plain);
    let (ours, others): (Vec<_>, Vec<_>) = compared.partition(|case| case.system().is_none());
    for case in ours {
        sorted.entry(case.fixed()).or_default().push(case.clone());
    }
    let mut alone: BTreeMap<_, Vec<Case<'a>>> = BTreeMap::new();
    for other in others {
        let mut joined = false;
        for group in sorted.values_mut().filter(|group| other.joins(&group[0])) {
            group.push(other.clone());
            joined = true;
        }
        if !joined {
            alone.entry(other.fixed()).or_default().push(other.clone());
        }
    }
    sorted.extend(alone);
    let mut groups: Vec<_> = sorted.into_iter().collect();
    // What has most to compare comes first, and is what the others are told apart from.
    groups.sort_by_key(|(_, cases)| std::cmp::Reverse(cases.len()));
    let usual: BTreeMap<_, _> = groups
        .first()
        .map(|(key, _)| key.iter().copied().collect())
        .unwrap_or_default();
    let title = |key: &[(&str, &str)]| {
        let telling = key
            .iter()
            .filter(|(name, value)| usual.get(name) != Some(value));
        let more = telling.map(|(name, value)| format!("{} {value}", name.replace('_', " ")));
        let is_lost = |name: &&&str| !key.iter().any(|(other, _)| other == *name);
        let less = usual.keys().filter(is_lost);
        let less = less.map(|name| format!("without {}", name.replace('_', " ")));
        more.chain(less).collect::<Vec<_>>().join(", ")
    };
    let groups = groups.iter();
    groups
        .map(|(key, cases)| Group {
            title: title(key),
            cases: cases.clone(),
        })
        .collect()
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

impl<'a> Group<'a> {
    /// The title as the end of a sentence: "with wait poll".
    pub fn heading(&self) -> String {
        match self.title.starts_with("without ") {
            true => self.title.clone(),
            false => format!("with {}", self.title),
        }
    }

    /// The cases by level, those of ours first. Where one level has several cases of one depth, they
    /// are told apart by what distinguishes them.
    pub fn series(&self) -> Vec<(String, Vec<&Case<'a>>)> {
        let mut series: Vec<(String, Vec<&Case<'a>>)> = Vec::new();
        let ambiguous = |name: &str, case: &Case| {
            let same =
                |other: &&Case| other.series() == case.series() && other.depth() == case.depth();
            let values: BTreeSet<_> = self
                .cases
                .iter()
                .filter(same)
                .map(|other| other.label(name))
                .collect();
            values.len() > 1
        };
        for case in &self.cases {
            let mut name = case.series();
            if case.system().is_some() && case.label("wait") != self.wait() {
                name += &format!(" ({})", case.label("wait"));
            }
            for label in ["batch", "threads"] {
                if ambiguous(label, case) {
                    name += &format!(", {label} {}", case.label(label));
                }
            }
            match series.iter_mut().find(|(other, _)| *other == name) {
                Some((_, cases)) => cases.push(case),
                None => series.push((name, vec![case])),
            }
        }
        series
    }

    /// The names of the series that are ours.
    pub fn levels(&self) -> Vec<String> {
        let series = self.series().into_iter();
        let ours = series.filter(|(_, cases)| cases[0].system().is_none());
        ours.map(|(name, _)| name).collect()
    }

    /// How the levels here wait for completions.
    fn wait(&self) -> &'a str {
        self.cases.first().map_or("", |case| case.label("wait"))
    }

    /// The conditions that hold for all cases of ours, or for all if none is.
    pub fn conditions(&self) -> Vec<(&'a str, &'a str)> {
        self.cases.first().map(Case::fixed).unwrap_or_default()
    }

    /// The other systems, each with the conditions that hold for all of its cases and are not ours.
    pub fn others(&self) -> Vec<(&'a str, Vec<(&'a str, &'a str)>)> {
        let usual = self.conditions();
        let mut others: Vec<(&str, Vec<_>)> = Vec::new();
        for case in &self.cases {
            let Some(system) = case.system() else {
                continue;
            };
            let holds = |condition: &(&str, &str)| case.label(condition.0) == condition.1;
            match others.iter_mut().find(|(other, _)| *other == system) {
                Some((_, conditions)) => conditions.retain(holds),
                None => {
                    let own = case.fixed().into_iter();
                    let own = own.filter(|condition| !usual.contains(condition));
                    others.push((system, own.collect()));
                }
            }
        }
        others
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

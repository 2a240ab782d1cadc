//! The one form in which measurements are kept. `docs/results.md` describes it for people.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use spillway_wire::{Histogram, Method, histogram};

use crate::statistics::Summary;

/// The version of this form.
pub const SCHEMA: u32 = 1;
/// Samples in one quantity.
pub const MAX_SAMPLES: usize = 100_000;
/// Rows of a document.
const MAX_ROWS: usize = 1_000_000;

/// Everything that a `bench` command writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Where the figures come from.
    pub environment: Environment,
    /// The figures.
    pub results: Vec<Measurement>,
}

/// Where the figures come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// "release" or "debug".
    pub profile: String,
    /// The commit that was built.
    pub commit: String,
    /// Whether the tree had changes on top of it.
    pub dirty: bool,
    /// The version of QEMU; empty for a real machine.
    pub qemu_version: String,
    /// By method, because a counted run has another machine than a timed one.
    pub qemu_command_line: BTreeMap<Method, String>,
    /// The host's processor, or that of the real machine.
    pub cpu: String,
    /// "tcg", "kvm", or "none" for a real machine.
    pub accelerator: String,
    /// What the kernel does against vulnerabilities of the processor.
    pub mitigations: String,
    /// The seed of whatever was random.
    pub seed: Option<u64>,
    /// SHA-256 of the boot image, by method.
    pub image_hash: BTreeMap<Method, String>,
    /// What was run, whole, so that it can be run again. Absent in older documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanFile>,
    /// The flags by which it was run, word by word, without those that say where results go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// The other systems that were measured, by the label `system` of their rows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<String, OtherSystem>,
}

/// Another system that was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherSystem {
    /// What it says of itself, such as its version and what it does against vulnerabilities.
    pub notes: Vec<String>,
    /// By method.
    pub qemu_command_line: BTreeMap<Method, String>,
}

/// A plan as it was when it was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanFile {
    /// Its name.
    pub name: String,
    /// Its TOML.
    pub text: String,
}

/// Which way is progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Less of it is better.
    Lower,
    /// More of it is better.
    Higher,
}

impl Better {
    /// The name in data.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lower => "lower",
            Self::Higher => "higher",
        }
    }
}

/// One quantity and how it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// `subject/quantity`.
    pub name: String,
    /// What distinguishes it from others of the same name.
    pub labels: BTreeMap<String, String>,
    /// What the value counts.
    pub unit: String,
    /// How it was measured.
    pub method: Method,
    /// Which way is progress.
    pub better: Better,
    /// The median of the samples; for a percentile, that of all repetitions together.
    pub value: f64,
    /// The least sample.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Every single measurement, in order.
    pub samples: Vec<f64>,
    /// How often values came, of all repetitions together: the least value of a bucket, the first
    /// one behind it, and how many there were. Buckets without values are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histogram: Vec<(u64, u64, u64)>,
}

/// A quantity as a program reports it: a `result` record.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reported {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    unit: String,
    method: Method,
    better: Better,
    samples: Vec<f64>,
}

impl Measurement {
    /// A quantity with its samples; there is at least one, and none is infinite.
    pub fn new(
        name: impl Into<String>,
        labels: BTreeMap<String, String>,
        unit: impl Into<String>,
        (method, better): (Method, Better),
        samples: Vec<f64>,
    ) -> Result<Self> {
        let (name, count) = (name.into(), samples.len());
        ensure!(
            (1..=MAX_SAMPLES).contains(&count),
            "{name} has {count} samples; report 1 to {MAX_SAMPLES}"
        );
        ensure!(
            samples.iter().all(|sample| sample.is_finite()),
            "{name} has a sample that is no number"
        );
        let summary = Summary::of(&samples);
        Ok(Self {
            name,
            labels,
            unit: unit.into(),
            method,
            better,
            value: summary.median,
            min: summary.min,
            max: summary.max,
            samples,
            histogram: Vec::new(),
        })
    }

    /// Reads what a program reported.
    pub fn parse(json: &str) -> Result<Self> {
        let reported: Reported = serde_json::from_str(json)?;
        Self::new(
            reported.name,
            reported.labels,
            reported.unit,
            (reported.method, reported.better),
            reported.samples,
        )
    }

    /// Says what the value is, if it is not the median. A percentile of all is one of a histogram's
    /// buckets, and may be a little beside its samples, whose histograms have ends of their own: it is
    /// moved to the nearest of them.
    pub fn set_value(&mut self, value: f64) {
        self.value = value.clamp(self.min, self.max);
    }

    /// A label's value.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// Whether two rows, of one document or of two, are about the same quantity.
    pub fn is_same_quantity(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    fn key(&self) -> (&str, &BTreeMap<String, String>, &str, Method) {
        (&self.name, &self.labels, &self.unit, self.method)
    }

    fn check(&self) -> Result<()> {
        let name = &self.name;
        ensure!(!name.is_empty(), "a row has no name");
        ensure!(
            !self.samples.is_empty() && self.samples.len() <= MAX_SAMPLES,
            "{name} has {} samples; there are 1 to {MAX_SAMPLES}",
            self.samples.len()
        );
        let mut figures = self.samples.clone();
        figures.extend([self.value, self.min, self.max]);
        ensure!(
            figures.iter().all(|number| number.is_finite()),
            "{name} has a figure that is no number"
        );
        let found = Summary::of(&self.samples);
        ensure!(
            found.min == self.min && found.max == self.max,
            "{name} says that its samples go from {} to {}, but they go from {} to {}",
            self.min,
            self.max,
            found.min,
            found.max
        );
        ensure!(
            self.min <= self.value && self.value <= self.max,
            "{name} has a value of {}, outside of its samples",
            self.value
        );
        let ascending = self.histogram.windows(2).all(|pair| pair[0].1 <= pair[1].0);
        let plausible = |(low, high, count): &(u64, u64, u64)| low < high && *count > 0;
        ensure!(
            ascending && self.histogram.iter().all(plausible),
            "{name} has a histogram whose buckets are empty or out of order"
        );
        Ok(())
    }
}

/// Adds a measurement; the samples of the same quantity from another boot are joined.
pub fn add(results: &mut Vec<Measurement>, new: Measurement) -> Result<&mut Measurement> {
    let found = results.iter().position(|old| old.is_same_quantity(&new));
    let Some(index) = found else {
        let index = results.len();
        results.push(new);
        return Ok(&mut results[index]);
    };
    let old = &mut results[index];
    old.samples.extend(new.samples);
    ensure!(
        old.samples.len() <= MAX_SAMPLES,
        "{} has more than {MAX_SAMPLES} samples",
        old.name
    );
    let summary = Summary::of(&old.samples);
    (old.value, old.min, old.max) = (summary.median, summary.min, summary.max);
    Ok(old)
}

/// The buckets of a histogram as the form has them.
pub fn buckets(histogram: &Histogram) -> Vec<(u64, u64, u64)> {
    let bucket = |(index, count)| {
        let (low, high) = histogram::bounds(index);
        (low, high, count)
    };
    histogram.buckets().map(bucket).collect()
}

impl Document {
    /// Reads a document and checks that it keeps the form.
    pub fn parse(text: &str) -> Result<Self> {
        // The version first: another one may have other fields.
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let version: Version = serde_json::from_str(text)
            .context("this is no result of `cargo xtask bench`: it has no `schema`")?;
        if version.schema != SCHEMA {
            bail!(
                "the file has schema {}, this program reads {SCHEMA}; read it with the version that wrote it",
                version.schema
            );
        }
        let document: Self = serde_json::from_str(text)
            .with_context(|| format!("the file says schema {SCHEMA}, but breaks it"))?;
        document.check()?;
        Ok(document)
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.results.len() <= MAX_ROWS,
            "the file has more than {MAX_ROWS} rows"
        );
        let mut seen = BTreeSet::new();
        for row in &self.results {
            row.check()?;
            ensure!(
                seen.insert(row.key()),
                "{} is there twice with the same labels",
                row.name
            );
        }
        Ok(())
    }

    /// As JSON for people and programs: a line for each row.
    pub fn to_json(&self) -> Result<String> {
        let environment = serde_json::to_string_pretty(&self.environment)?;
        let rows = self.results.iter().map(serde_json::to_string);
        let rows = rows.collect::<serde_json::Result<Vec<_>>>()?;
        Ok(format!(
            "{{\n  \"schema\": {},\n  \"environment\": {},\n  \"results\": [\n    {}\n  ]\n}}\n",
            self.schema,
            environment.replace('\n', "\n  "),
            rows.join(",\n    ")
        ))
    }
}

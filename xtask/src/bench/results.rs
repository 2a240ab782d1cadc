//! The one form in which measurements are kept. `docs/results.md` describes it for people.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// The version of this form.
pub const SCHEMA: u32 = 1;

/// Everything that a `bench` command writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub schema: u32,
    pub environment: Environment,
    pub results: Vec<Measurement>,
}

/// Where the figures come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// "release" or "debug".
    pub profile: String,
    /// The commit that was built, and whether the tree had changes on top of it.
    pub commit: String,
    pub dirty: bool,
    pub qemu_version: String,
    /// By method, because a counted run has another machine than a timed one.
    pub qemu_command_line: BTreeMap<Method, String>,
    /// The host's processor.
    pub cpu: String,
    /// "tcg" or "kvm".
    pub accelerator: String,
    /// What the kernel does against vulnerabilities of the processor.
    pub mitigations: String,
    /// The seed of whatever was random.
    pub seed: Option<u64>,
    /// SHA-256 of the boot image, by method.
    pub image_hash: BTreeMap<Method, String>,
}

/// How a figure came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The emulator counted instructions.
    Counted,
    /// A clock.
    Timed,
    /// Computed from a model of a machine.
    Modelled,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Timed => "timed",
            Self::Modelled => "modelled",
        }
    }
}

/// Which way is progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Lower,
    Higher,
}

/// One quantity and how it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub unit: String,
    pub method: Method,
    pub better: Better,
    /// The median of the samples.
    pub value: f64,
    pub min: f64,
    pub max: f64,
    pub samples: Vec<f64>,
}

/// A quantity as a guest program reports it: `@result {…}`.
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

/// Samples in one quantity.
const MAX_SAMPLES: usize = 100_000;

/// Reads the text of a log line. `None` if it is no result.
pub fn parse(text: &str) -> Option<Result<Measurement>> {
    let json = text.strip_prefix("@result ")?;
    Some(
        serde_json::from_str(json)
            .map_err(Into::into)
            .and_then(check),
    )
}

fn check(reported: Reported) -> Result<Measurement> {
    let Reported {
        name,
        labels,
        unit,
        method,
        better,
        samples,
    } = reported;
    let count = samples.len();
    ensure!(
        (1..=MAX_SAMPLES).contains(&count),
        "{name} has {count} samples; report 1 to {MAX_SAMPLES}"
    );
    let mut measurement = Measurement {
        name,
        labels,
        unit,
        method,
        better,
        value: 0.0,
        min: 0.0,
        max: 0.0,
        samples,
    };
    measurement.summarise();
    Ok(measurement)
}

impl Measurement {
    /// Computes median and extremes from the samples.
    fn summarise(&mut self) {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        self.value = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2.0;
        (self.min, self.max) = (sorted[0], sorted[count - 1]);
    }

    fn is_same_quantity(&self, other: &Self) -> bool {
        (&self.name, &self.labels, &self.unit, self.method)
            == (&other.name, &other.labels, &other.unit, other.method)
    }
}

/// Adds a measurement; the samples of the same quantity from another boot are joined.
pub fn add(results: &mut Vec<Measurement>, new: Measurement) {
    match results.iter_mut().find(|old| old.is_same_quantity(&new)) {
        Some(old) => {
            old.samples.extend(new.samples);
            old.summarise();
        }
        None => results.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = r#"@result {"name":"kernel/null_syscall","unit":"instructions","method":"counted","better":"lower","samples":[41,40,44],"labels":{"cores":"1"}}"#;

    fn measurement() -> Measurement {
        parse(LINE).unwrap().unwrap()
    }

    #[test]
    fn a_reported_quantity_gets_its_median_and_extremes() {
        let result = measurement();
        assert_eq!((result.value, result.min, result.max), (41.0, 40.0, 44.0));
        assert_eq!(result.labels["cores"], "1");
        let even = LINE.replace("[41,40,44]", "[1,2,4,9]");
        assert_eq!(parse(&even).unwrap().unwrap().value, 3.0);
    }

    #[test]
    fn what_is_no_result_is_passed_over_and_what_is_malformed_is_named() {
        assert!(parse("hello").is_none());
        assert!(parse("@results {}").is_none());
        for (from, to) in [
            ("[41,40,44]", "[]"),
            ("\"unit\"", "\"unti\""),
            ("counted", "guessed"),
            ("[41", "[NaN"),
            ("}}", "}"),
        ] {
            assert!(parse(&LINE.replace(from, to)).unwrap().is_err(), "{to}");
        }
    }

    #[test]
    fn boots_are_joined_by_quantity() {
        let mut results = vec![measurement()];
        add(&mut results, measurement());
        assert_eq!(results[0].samples.len(), 6);
        let other = parse(&LINE.replace("\"1\"", "\"2\"")).unwrap().unwrap();
        add(&mut results, other);
        assert_eq!(results.len(), 2);
    }

    #[test]
    fn a_document_survives_its_file() {
        let both = |text: &str| {
            [Method::Counted, Method::Timed]
                .map(|method| (method, text.to_string()))
                .into()
        };
        let document = Document {
            schema: SCHEMA,
            environment: Environment {
                profile: "release".into(),
                commit: "abc".into(),
                dirty: true,
                qemu_version: "10.0.2".into(),
                qemu_command_line: both("qemu"),
                cpu: "a processor".into(),
                accelerator: "tcg".into(),
                mitigations: "default".into(),
                seed: None,
                image_hash: both("00"),
            },
            results: vec![measurement()],
        };
        let text = serde_json::to_string_pretty(&document).unwrap();
        assert!(text.contains("\"counted\": \"qemu\""), "{text}");
        assert_eq!(serde_json::from_str::<Document>(&text).unwrap(), document);
    }

    proptest! {
        #[test]
        fn the_median_lies_between_the_extremes(samples in prop::collection::vec(0f64..1e12, 1..50)) {
            let mut result = Measurement { samples, ..measurement() };
            result.summarise();
            prop_assert!(result.min <= result.value && result.value <= result.max);
        }

        #[test]
        fn any_text_is_survived(text in ".{0,100}") {
            let _ = parse(&format!("@result {text}"));
        }
    }
}

//! What the records hold: JSON, written without a parser's help and read with one.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use serde::Deserialize;

use crate::{Histogram, Method, Quantity};

/// The `begin` record: who measures.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// The name of the program.
    pub program: String,
    /// How it measures.
    pub method: Method,
    /// The processor, in its own words; empty if it has none.
    #[serde(default)]
    pub cpu: String,
    /// The checksum of the list of cases that it was given, if it was given one.
    #[serde(default)]
    pub plan: Option<u32>,
}

impl fmt::Display for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (program, cpu) = (Text(&self.program), Text(&self.cpu));
        let method = self.method.name();
        write!(
            f,
            "{{\"program\":{program},\"method\":\"{method}\",\"cpu\":{cpu}"
        )?;
        if let Some(plan) = self.plan {
            write!(f, ",\"plan\":{plan}")?;
        }
        f.write_str("}")
    }
}

/// The `case` record: the totals of one measured region.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The number of the case in the plan.
    pub case: u32,
    /// Operations in the region.
    pub operations: u64,
    /// Totals by the names of [`Quantity`].
    pub totals: BTreeMap<String, u64>,
    /// The number of the region, if whoever emulates the machine may know more of it.
    #[serde(default)]
    pub region: Option<u64>,
}

impl Sample {
    /// A region of so many operations.
    pub fn new(
        case: u32,
        operations: u64,
        totals: &[(Quantity, u64)],
        region: Option<u64>,
    ) -> Self {
        let totals = totals.iter();
        Self {
            case,
            operations,
            totals: totals
                .map(|(key, total)| (key.name().into(), *total))
                .collect(),
            region,
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (case, operations) = (self.case, self.operations);
        write!(
            f,
            "{{\"case\":{case},\"operations\":{operations},\"totals\":{{"
        )?;
        for (index, (name, total)) in self.totals.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}:{total}", Text(name))?;
        }
        f.write_str("}")?;
        if let Some(region) = self.region {
            write!(f, ",\"region\":{region}")?;
        }
        f.write_str("}")
    }
}

/// The `histogram` record: the latencies of one measured region in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latencies {
    /// The number of the case in the plan.
    pub case: u32,
    /// The sum of all.
    pub sum: u64,
    /// The least.
    pub min: u64,
    /// The largest.
    pub max: u64,
    /// Positions and counts of the buckets that are not empty.
    pub buckets: Vec<(usize, u64)>,
}

impl Latencies {
    /// The latencies of a case; `None` if there are none.
    pub fn new(case: u32, histogram: &Histogram) -> Option<Self> {
        let (sum, min, max) = histogram.extremes()?;
        Some(Self {
            case,
            sum,
            min,
            max,
            buckets: histogram.buckets().collect(),
        })
    }

    /// As a histogram; `None` if it contradicts itself.
    pub fn histogram(&self) -> Option<Histogram> {
        let extremes = (self.sum, self.min, self.max);
        Histogram::from_parts(self.buckets.iter().copied(), extremes)
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            case,
            sum,
            min,
            max,
            buckets,
        } = self;
        write!(
            f,
            "{{\"case\":{case},\"sum\":{sum},\"min\":{min},\"max\":{max},\"buckets\":["
        )?;
        for (place, (index, count)) in buckets.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma}[{index},{count}]")?;
        }
        f.write_str("]}")
    }
}

/// A text as JSON writes it.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                // The log would replace them.
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

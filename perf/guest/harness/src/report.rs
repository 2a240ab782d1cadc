//! The form of a result: `@result {…}`, as `docs/results.md` describes it.

use alloc::{format, string::String, vec::Vec};

use driver_sdk::prelude::*;

/// What a tick of the time-stamp counter stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// An instruction.
    Counted,
    /// A bit of real time.
    Timed,
}

impl Method {
    /// As the first argument of the program says it.
    pub fn from_argument(argument: Option<&str>) -> Option<Self> {
        match argument? {
            "counted" => Some(Self::Counted),
            "timed" => Some(Self::Timed),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Timed => "timed",
        }
    }
}

/// One quantity, on its way to the log.
#[derive(Clone, Copy, Debug)]
pub struct Figure<'a> {
    /// `subject/quantity`.
    pub name: &'a str,
    /// What distinguishes it from others of the same name.
    pub labels: &'a [(&'a str, &'a str)],
    /// What its samples count.
    pub unit: &'a str,
    /// How it was measured.
    pub method: Method,
    /// Whether more of it is better.
    pub more_is_better: bool,
}

impl Figure<'_> {
    /// Writes it to the log with its samples, of which there is at least one.
    pub fn report(&self, samples: &[f64]) {
        let samples: Vec<String> = samples.iter().map(|value| format!("{value:.4}")).collect();
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|(label, value)| format!("\"{label}\":\"{value}\""))
            .collect();
        println!(
            "@result {{\"name\":\"{}\",\"unit\":\"{}\",\"method\":\"{}\",\"better\":\"{}\",\
             \"samples\":[{}],\"labels\":{{{}}}}}",
            self.name,
            self.unit,
            self.method.name(),
            if self.more_is_better {
                "higher"
            } else {
                "lower"
            },
            samples.join(","),
            labels.join(",")
        );
    }
}

/// Writes ticks of the time-stamp counter to the log: as instructions if they were counted, else
/// as nanoseconds.
pub fn report(name: &str, method: Method, ticks: &[f64]) {
    let (unit, scale) = match method {
        Method::Counted => ("instructions", 1.0),
        Method::Timed => ("nanoseconds", 1e9 / time::tsc_frequency() as f64),
    };
    let samples: Vec<f64> = ticks.iter().map(|ticks| ticks * scale).collect();
    let figure = Figure {
        name,
        labels: &[],
        unit,
        method,
        more_is_better: false,
    };
    figure.report(&samples);
}

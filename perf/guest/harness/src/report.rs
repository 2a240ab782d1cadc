//! Results on their way to the host: records as `spillway-wire` cuts them into lines of the log, with
//! what `docs/results.md` describes in them.
//!
//! A program that measures begins with [`begin`], reports, and closes with [`end`]; without the last,
//! the host takes the log for cut off. One program of a machine has one sequence of records, and
//! reports from one thread.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::sync::atomic::{AtomicU32, Ordering};

use driver_sdk::prelude::*;
use spillway_wire::{
    frame::{self, Kind},
    message::{Begin, Latencies, Sample},
};

pub use spillway_wire::{Histogram, Method, Quantity};

/// The number of the next record.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Writes a record to the log.
fn tell(kind: Kind, text: &str) {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    for line in frame::lines(kind, number, text) {
        println!("{line}");
    }
}

/// Says who measures, and how. `plan` is the checksum of the list of cases that the program was
/// given, if it was given one.
pub fn begin(program: &str, method: Method, plan: Option<u32>) {
    let begin = Begin {
        program: program.into(),
        method,
        cpu: processor(),
        plan,
    };
    tell(Kind::Begin, &begin.to_string());
}

/// Says that there is no more.
pub fn end() {
    tell(Kind::End, "{}");
}

/// Reports the totals of one measured region of a case.
pub fn case(case: u32, operations: u64, totals: &[(Quantity, u64)]) {
    region(case, operations, totals, None);
}

/// The same of a region with the number that [`crate::measure::begin_region`] was given.
pub fn region(case: u32, operations: u64, totals: &[(Quantity, u64)], region: Option<u64>) {
    let sample = Sample::new(case, operations, totals, region);
    tell(Kind::Case, &sample.to_string());
}

/// Reports the latencies of one measured region of a case, in nanoseconds. None are not reported.
pub fn latencies(case: u32, histogram: &Histogram) {
    if let Some(latencies) = Latencies::new(case, histogram) {
        tell(Kind::Histogram, &latencies.to_string());
    }
}

/// The processor in its own words (Intel SDM vol. 2, CPUID, leaves 80000002H to 80000004H).
fn processor() -> String {
    use core::arch::x86_64::__cpuid;
    if __cpuid(0x8000_0000).eax < 0x8000_0004 {
        return String::new();
    }
    let mut bytes = Vec::with_capacity(48);
    for leaf in 0x8000_0002..=0x8000_0004 {
        let words = __cpuid(leaf);
        for word in [words.eax, words.ebx, words.ecx, words.edx] {
            bytes.extend(word.to_le_bytes());
        }
    }
    // The name ends with a zero, and a bench of process creation shall not grow by more.
    bytes.retain(|byte| *byte != 0);
    String::from_utf8(bytes).unwrap_or_default()
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
        let text = format!(
            "{{\"name\":\"{}\",\"unit\":\"{}\",\"method\":\"{}\",\"better\":\"{}\",\
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
        tell(Kind::Result, &text);
    }
}

/// Writes ticks of the time-stamp counter to the log: as instructions if they were counted, else
/// as nanoseconds.
pub fn report(name: &str, method: Method, ticks: &[f64]) {
    let (unit, scale) = match method {
        Method::Counted => ("instructions", 1.0),
        _ => ("nanoseconds", 1e9 / time::tsc_frequency() as f64),
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

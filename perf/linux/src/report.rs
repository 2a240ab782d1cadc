//! What is told to the host: records of `spillway-wire`, as every measuring program writes them.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use spillway_wire::{
    Histogram, Method,
    frame::{self, Kind},
    message::{Begin, Latencies},
};

/// The number of the next record.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Writes a record to the console.
fn tell(kind: Kind, text: &str) {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    for line in frame::lines(kind, number, text) {
        println!("{line}");
    }
}

/// Says who measures, and how. The first record.
pub fn begin(method: Method) {
    let begin = Begin {
        program: env!("CARGO_BIN_NAME").into(),
        method,
        cpu: String::new(),
        plan: None,
    };
    tell(Kind::Begin, &begin.to_string());
}

/// Says that everything is measured. The last record.
pub fn end() {
    tell(Kind::End, "{}");
}

/// How an interface learns that a read has come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The device interrupts.
    Interrupt,
    /// Somebody looks again and again.
    Poll,
}

impl Wait {
    const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "interrupt",
            Self::Poll => "poll",
        }
    }
}

/// What happens to a buffer before the device may write into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffers {
    /// It is looked up and pinned for each read.
    Pinned,
    /// That was done once.
    Registered,
}

impl Buffers {
    const fn name(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Registered => "registered",
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent {
    /// Samples of a counted subject.
    pub samples: usize,
    /// How often everything is timed, so that the samples of one interface are spread over time.
    pub rounds: u32,
    /// How long each timed measurement takes, about.
    pub seconds: f64,
}

impl Extent {
    /// As the third argument of the program says it.
    pub fn from_argument(argument: &str) -> Option<Self> {
        match argument {
            "full" => Some(Self {
                samples: 20,
                rounds: 3,
                seconds: 0.1,
            }),
            "brief" => Some(Self {
                samples: 1,
                rounds: 1,
                seconds: 0.005,
            }),
            _ => None,
        }
    }
}

/// What all quantities of one interface at one queue depth have in common.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// How the figures are measured.
    pub method: Method,
    /// How much is measured.
    pub extent: Extent,
    /// The way to the disk.
    pub interface: &'a str,
    /// How it waits.
    pub wait: Wait,
    /// What it does with buffers.
    pub buffers: Buffers,
    /// Reads in flight.
    pub depth: usize,
    /// Threads that read.
    pub threads: usize,
    /// What the disk is backed by.
    pub backend: &'a str,
    /// The kernel's version.
    pub kernel: &'a str,
}

impl Subject<'_> {
    /// Writes a quantity with its samples, of which there is at least one. `suffix` is what the
    /// name has after the queue depth.
    pub fn report(&self, suffix: &str, unit: &str, more_is_better: bool, samples: &[f64]) {
        tell(
            Kind::Result,
            &self.text(suffix, unit, more_is_better, samples),
        );
    }

    /// Writes latencies in nanoseconds: their mean, and all of them.
    pub fn report_latencies(&self, latencies: &Histogram) {
        let Some(told) = Latencies::new(0, latencies) else {
            return;
        };
        let mean = told.sum as f64 / latencies.len() as f64;
        self.report("_latency", "nanoseconds", false, &[mean]);
        tell(Kind::Histogram, &told.to_string());
    }

    fn text(&self, suffix: &str, unit: &str, more_is_better: bool, samples: &[f64]) -> String {
        let round = |value: &f64| (value * 1e4).round() / 1e4;
        json!({
            "name": format!("linux/{}_qd{}{suffix}", self.interface, self.depth),
            "unit": unit,
            "method": self.method.name(),
            "better": if more_is_better { "higher" } else { "lower" },
            "samples": samples.iter().map(round).collect::<Vec<_>>(),
            "labels": {
                "system": "linux",
                "level": self.interface,
                "device": "nvme",
                "backend": self.backend,
                "qd": self.depth.to_string(),
                "threads": self.threads.to_string(),
                "batch": (self.depth / self.threads).to_string(),
                "block_size": "4096",
                "reads": "100",
                "pattern": "random",
                "wait": self.wait.name(),
                "cores": "1",
                "iommu": "off",
                "buffers": self.buffers.name(),
                "kernel": self.kernel,
                "mitigations": "off",
            },
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_says_what_was_measured() {
        let subject = Subject {
            method: Method::Counted,
            extent: Extent::from_argument("full").unwrap(),
            interface: "pread",
            wait: Wait::Interrupt,
            buffers: Buffers::Pinned,
            depth: 32,
            threads: 32,
            backend: "null",
            kernel: "6.1",
        };
        let text = subject.text("_interrupts", "interrupts", false, &[1.0, 0.123456]);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["name"], "linux/pread_qd32_interrupts");
        assert_eq!(json["method"], "counted");
        assert_eq!(json["better"], "lower");
        assert_eq!(json["samples"], serde_json::json!([1.0, 0.1235]));
        for (label, value) in [
            ("qd", "32"),
            ("threads", "32"),
            ("batch", "1"),
            ("wait", "interrupt"),
            ("buffers", "pinned"),
            ("kernel", "6.1"),
        ] {
            assert_eq!(json["labels"][label], value);
        }
    }
}

//! The form of a result, as `docs/results.md` describes it.

use serde_json::json;

/// How a quantity was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A tick is an instruction.
    Counted,
    /// A tick is a bit of real time.
    Timed,
}

impl Method {
    /// As the first argument of the program says it.
    pub fn from_argument(argument: &str) -> Option<Self> {
        match argument {
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

/// What all quantities of one interface at one queue depth have in common.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// How the figures are measured.
    pub method: Method,
    /// The way to the disk.
    pub interface: &'a str,
    /// How it waits.
    pub wait: Wait,
    /// Reads in flight.
    pub depth: usize,
    /// What the disk is backed by.
    pub backend: &'a str,
    /// The kernel's version.
    pub kernel: &'a str,
}

impl Subject<'_> {
    /// Writes a quantity with its samples, of which there is at least one. `suffix` is what the
    /// name has after the queue depth.
    pub fn report(&self, suffix: &str, unit: &str, more_is_better: bool, samples: &[f64]) {
        print(&self.line(suffix, unit, more_is_better, samples));
    }

    fn line(&self, suffix: &str, unit: &str, more_is_better: bool, samples: &[f64]) -> String {
        let round = |value: &f64| (value * 1e4).round() / 1e4;
        json!({
            "name": format!("linux/{}_qd{}{suffix}", self.interface, self.depth),
            "unit": unit,
            "method": self.method.name(),
            "better": if more_is_better { "higher" } else { "lower" },
            "samples": samples.iter().map(round).collect::<Vec<_>>(),
            "labels": {
                "system": "linux",
                "interface": self.interface,
                "qd": self.depth.to_string(),
                "block_size": "4096",
                "wait": self.wait.name(),
                "backend": self.backend,
                "kernel": self.kernel,
                "mitigations": "off",
            },
        })
        .to_string()
    }
}

/// Writes a result to the console. The one place that knows how results travel.
fn print(json: &str) {
    println!("@result {json}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_measured() {
        let subject = Subject {
            method: Method::Counted,
            interface: "io_uring_fixed",
            wait: Wait::Interrupt,
            depth: 32,
            backend: "null",
            kernel: "6.1",
        };
        let line = subject.line("_interrupts", "interrupts", false, &[1.0, 0.123456]);
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["name"], "linux/io_uring_fixed_qd32_interrupts");
        assert_eq!(json["method"], "counted");
        assert_eq!(json["better"], "lower");
        assert_eq!(json["samples"], serde_json::json!([1.0, 0.1235]));
        assert_eq!(json["labels"]["qd"], "32");
        assert_eq!(json["labels"]["wait"], "interrupt");
        assert_eq!(json["labels"]["kernel"], "6.1");
    }
}

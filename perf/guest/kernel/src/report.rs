//! The form of a result.

use alloc::{string::String, vec::Vec};

use driver_sdk::prelude::*;

/// What a tick of the time-stamp counter stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// An instruction.
    Counted,
    /// A bit of real time.
    Timed,
}

/// Writes a result to the log. Samples are in ticks.
pub fn report(name: &str, method: Method, ticks: &[f64]) {
    let (unit, method, scale) = match method {
        Method::Counted => ("instructions", "counted", 1.0),
        Method::Timed => ("nanoseconds", "timed", 1e9 / time::tsc_frequency() as f64),
    };
    let samples: Vec<String> = ticks
        .iter()
        .map(|ticks| alloc::format!("{:.2}", ticks * scale))
        .collect();
    println!(
        "@result {{\"name\":\"{name}\",\"unit\":\"{unit}\",\"method\":\"{method}\",\
         \"better\":\"lower\",\"samples\":[{}],\"labels\":{{}}}}",
        samples.join(",")
    );
}

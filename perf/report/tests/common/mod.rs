//! Made-up results, written by the example `sample`.
#![allow(dead_code)]

use spillway_report::{Document, Measurement};

/// All levels over depths, with rows of another system and sizes.
pub const QUICK: &str = include_str!("../data/quick.json");
/// Seven steps.
pub const ABLATION: &str = include_str!("../data/ablation.json");

/// A document.
pub fn document(text: &str) -> Document {
    Document::parse(text).unwrap()
}

/// The document without rows.
pub fn empty() -> Document {
    Document {
        results: Vec::new(),
        ..document(QUICK)
    }
}

/// A row; `labels` as `level=sync qd=1`.
pub fn row(name: &str, method: &str, better: &str, labels: &str, samples: &[f64]) -> Measurement {
    let labels: std::collections::BTreeMap<_, _> = labels
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .collect();
    let json = serde_json::json!({
        "name": name, "unit": "x", "method": method, "better": better,
        "samples": samples, "labels": labels,
    });
    Measurement::parse(&json.to_string()).unwrap()
}

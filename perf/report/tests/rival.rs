//! What another system reports becomes rows, or the run ends.

use spillway_report::{Document, Measurement, Method, rival::Rival};
use spillway_wire::{
    Histogram,
    frame::{self, Kind},
    message::{Begin, Latencies},
};

mod common;

/// A result as the program writes it.
fn result(name: &str, method: &str, system: &str, sample: f64) -> (Kind, String) {
    let json = serde_json::json!({
        "name": name, "unit": "nanoseconds", "method": method, "better": "lower",
        "samples": [sample], "labels": {"system": system, "level": "pread", "qd": "1"},
    });
    (Kind::Result, json.to_string())
}

fn latencies(values: &[u64]) -> (Kind, String) {
    let mut histogram = Histogram::new();
    values.iter().for_each(|value| histogram.record(*value));
    let told = Latencies::new(0, &histogram).unwrap();
    (Kind::Histogram, told.to_string())
}

fn begin(method: Method) -> (Kind, String) {
    let begin = Begin {
        program: "linux-load".into(),
        method,
        cpu: String::new(),
        plan: None,
    };
    (Kind::Begin, begin.to_string())
}

/// One timed boot that says this between its first and its last record, and other lines.
fn boot(
    rival: &mut Rival,
    rows: &mut Vec<Measurement>,
    told: &[(Kind, String)],
) -> Result<(), String> {
    let all = [&[begin(Method::Timed)], told, &[(Kind::End, "{}".into())]].concat();
    lines(rival, rows, &all)
}

fn lines(
    rival: &mut Rival,
    rows: &mut Vec<Measurement>,
    told: &[(Kind, String)],
) -> Result<(), String> {
    let mut log = rival.boot(Method::Timed, rows);
    for (number, (kind, text)) in told.iter().enumerate() {
        for line in frame::lines(*kind, number as u32, text) {
            log.line("[    0.5] the kernel says something").unwrap();
            log.line(&line.to_string())
                .map_err(|error| format!("{error:#}"))?;
        }
    }
    log.finish().map_err(|error| format!("{error:#}"))
}

fn complaint(told: &[(Kind, String)]) -> String {
    boot(&mut Rival::new("linux"), &mut Vec::new(), told).unwrap_err()
}

const MEAN: &str = "linux/pread_qd1_latency";

#[test]
fn percentiles_are_those_of_all_boots_together() {
    let (mut rival, mut rows) = (Rival::new("linux"), Vec::new());
    for values in [&[10, 20][..], &[200, 210, 220, 230]] {
        let mean = values.iter().sum::<u64>() as f64 / values.len() as f64;
        let told = [result(MEAN, "timed", "linux", mean), latencies(values)];
        boot(&mut rival, &mut rows, &told).unwrap();
    }
    let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    assert_eq!(row(MEAN).samples, [15.0, 215.0]);
    assert_eq!(row(MEAN).histogram.len(), 6);
    let median = row("linux/pread_qd1_latency_p50");
    assert_eq!((median.value, median.samples.len()), (200.0, 2));
    assert_eq!(row("linux/pread_qd1_latency_max").value, 230.0);
    assert_eq!(median.label("level"), Some("pread"));
    let mut document = common::empty();
    document.results = rows;
    let text = document.to_json().unwrap();
    assert_eq!(Document::parse(&text).unwrap(), document);
}

#[test]
fn a_percentile_of_all_stays_among_its_samples() {
    // The bucket of 34,000,000 goes on behind it, and its end is told where it is not the largest
    // value: of both together, but of neither alone.
    let (mut rival, mut rows) = (Rival::new("linux"), Vec::new());
    let (many, few) = (
        vec![34_000_000; 100],
        vec![1_000_000, 1_000_000, 90_000_000],
    );
    for values in [many, few] {
        let told = [result(MEAN, "timed", "linux", 3.4e7), latencies(&values)];
        boot(&mut rival, &mut rows, &told).unwrap();
    }
    for row in &rows {
        assert!((row.min..=row.max).contains(&row.value), "{row:?}");
    }
    let mut document = common::empty();
    document.results = rows;
    assert!(Document::parse(&document.to_json().unwrap()).is_ok());
}

#[test]
fn what_cannot_be_ends_the_run() {
    let good = result("linux/a", "timed", "linux", 1.0);
    for (told, words) in [
        (vec![], "no result"),
        (
            vec![result("linux/a", "counted", "linux", 1.0)],
            "timed run",
        ),
        (
            vec![result("linux/a", "timed", "bsd", 1.0)],
            "of the system `bsd`",
        ),
        (vec![good.clone(), latencies(&[1])], "must follow"),
        (vec![latencies(&[1])], "must follow"),
        (vec![(Kind::Case, "{}".into())], "no cases"),
        (vec![(Kind::Result, "{".into())], "EOF"),
    ] {
        let complaint = complaint(&told);
        assert!(complaint.contains(words), "{complaint}");
    }
    let (mut rival, mut rows) = (Rival::new("linux"), Vec::new());
    let other = lines(&mut rival, &mut rows, &[begin(Method::Counted)]).unwrap_err();
    assert!(other.contains("begins a counted run"), "{other}");
    let cut = lines(&mut rival, &mut rows, &[begin(Method::Timed), good]).unwrap_err();
    assert!(cut.contains("last record is missing"), "{cut}");
}

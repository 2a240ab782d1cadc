//! The comparison as tables in Markdown, for a README.

use spillway_wire::{Method, Quantity};

use crate::{
    Document,
    case::{self, Case, What},
    number::{number, short},
    sizes,
};

/// The tables of a document: the first comparison, and what the small program takes.
pub fn render(document: &Document) -> String {
    let cases = case::cases(&document.results);
    let groups = case::groups(&cases);
    let mut text = String::new();
    if let Some(group) = groups.first() {
        // Where some was counted, what was only timed is left out.
        let is_counted = |case: &&&Case| case.counted(Quantity::Instructions).is_some();
        let is_any = group.cases.iter().any(|case| is_counted(&&case));
        let series = group.series();
        let lines = series.iter().flat_map(|(name, cases)| {
            let shown = cases.iter().filter(|case| !is_any || is_counted(case));
            shown.map(move |case| line(name, case))
        });
        text += &table(
            &[
                "level",
                "depth",
                "instructions",
                "application",
                "driver process",
                "kernel",
                "system calls",
                "register writes",
                "operations per second",
            ],
            lines,
        );
    }
    let sizes = sizes::of(&document.results);
    if !sizes.is_empty() {
        text += "\n";
        let bytes = |bytes: Option<f64>| bytes.map_or("–".into(), number);
        let lines = sizes.iter().map(|size| {
            vec![
                size.level.name().into(),
                bytes(size.text),
                bytes(size.data),
                bytes(size.memory),
                size.devices.join(", "),
            ]
        });
        text += &table(
            &[
                "the same program",
                "text",
                "data",
                "memory",
                "runs unchanged on",
            ],
            lines,
        );
    }
    text
}

fn line(name: &str, case: &Case) -> Vec<String> {
    let cost = |quantity| case.per_operation(quantity).map_or("–".into(), number);
    let throughput = case.row(Method::Timed, What::Throughput);
    vec![
        name.into(),
        case.depth().to_string(),
        cost(Quantity::Instructions),
        cost(Quantity::Application),
        cost(Quantity::Driver),
        cost(Quantity::Kernel),
        cost(Quantity::SystemCalls),
        cost(Quantity::MmioWrites),
        throughput.map_or("–".into(), |row| short(row.value)),
    ]
}

/// A table: the first column is words, the others are numbers.
fn table(head: &[&str], lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|---|", head.join(" | "));
    text += &"---:|".repeat(head.len() - 1);
    text.push('\n');
    for line in lines {
        text += &format!("| {} |\n", line.join(" | "));
    }
    text
}

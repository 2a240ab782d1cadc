//! One line for each row, for spreadsheets and scripts.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::Document;

/// The columns in front of the labels.
const COLUMNS: [&str; 8] = [
    "name", "method", "unit", "better", "value", "min", "max", "samples",
];

/// The rows of a document, with a column for each label. Samples are separated by spaces.
pub fn render(document: &Document) -> Result<String> {
    let labels: BTreeSet<&str> = document
        .results
        .iter()
        .flat_map(|row| row.labels.keys().map(String::as_str))
        .collect();
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS.iter().chain(&labels))?;
    for row in &document.results {
        let samples: Vec<_> = row.samples.iter().map(f64::to_string).collect();
        let mut cells = vec![
            row.name.clone(),
            row.method.name().into(),
            row.unit.clone(),
            row.better.name().into(),
            row.value.to_string(),
            row.min.to_string(),
            row.max.to_string(),
            samples.join(" "),
        ];
        let label = |label: &&str| row.label(label).unwrap_or_default().to_string();
        cells.extend(labels.iter().map(label));
        writer.write_record(cells)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

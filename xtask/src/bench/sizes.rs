//! What the small programs (`perf/guest/small`) take: how much memory a running one has it says itself,
//! how large it is its file says.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use spillway_report::{Better, Measurement, Method, schema};

use super::boots::{Boots, Planned};
use crate::elf;

/// Adds rows `size/<level>_text` and `_data` to every `size/<level>_memory`.
pub fn add(boots: &Boots, results: &mut Vec<Measurement>) -> Result<()> {
    let is_memory =
        |row: &&Measurement| row.name.starts_with("size/") && row.name.ends_with("_memory");
    for row in results.clone().iter().filter(is_memory) {
        let level = row.label("level").unwrap_or_default();
        let program = format!("small-{level}");
        let path = boots
            .all()
            .iter()
            .find_map(|planned| file(planned, &program));
        let path = path.with_context(|| format!("{} was reported by no {program}", row.name))?;
        let bytes = fs::read(path).with_context(|| format!("{program} cannot be read"))?;
        let (text, data) = elf::sizes(&bytes)?;
        for (what, size) in [("text", text), ("data", data)] {
            let row = Measurement::new(
                format!("size/{level}_{what}"),
                row.labels.clone(),
                "bytes",
                (Method::Counted, Better::Lower),
                vec![size as f64],
            )?;
            schema::add(results, row)?;
        }
    }
    Ok(())
}

/// The file of a program that a machine boots.
fn file(planned: &Planned, program: &str) -> Option<PathBuf> {
    let mut files = planned.files.as_ref()?.symbols.iter();
    let (_, path) = files.find(|(name, _)| name == program)?;
    Some(path.clone())
}

//! What comes out: a table, a comparison, and files that appear whole or not at all.

use std::{path::Path, process::ExitCode};

use anyhow::{Result, bail};
use spillway_report::{Document, baseline, case, csv, limits, markdown, page, table, why};

use crate::{cli::BenchOptions, image, workspace::Workspace};

/// Prints and writes everything. Files for which no flag names a place go to `target/bench`.
pub fn finish(
    document: &Document,
    baseline: Option<&Document>,
    plan: &str,
    options: &BenchOptions,
    workspace: &Workspace,
) -> Result<ExitCode> {
    print!("{}", table::render(&document.results));
    // The sentences on the first comparison; the page has them all.
    let groups = case::groups(&case::cases(&document.results));
    for group in groups.iter().take(1) {
        let ours = group.levels();
        let reasons = why::reasons(group).into_iter();
        for reason in reasons.filter(|reason| ours.contains(&reason.series)) {
            println!(
                "{} at depth {}: {}\n",
                reason.series,
                reason.depth,
                reason.text()
            );
        }
    }
    for (system, other) in &document.environment.others {
        for note in &other.notes {
            println!("{system}: {note}");
        }
    }
    if document.environment.profile == "debug" {
        println!("This is a debug build: the figures say little.");
    }
    let comparison = baseline.map(|old| baseline::compare(document, old));
    if let Some(comparison) = &comparison {
        print!("{}", comparison.render());
    }
    let usual = workspace.target.join("bench");
    let usual = options.save.as_ref().unwrap_or(&usual);
    let place = |wish: &Option<std::path::PathBuf>, ending: &str| {
        let usual = usual.join(format!("{plan}.{ending}"));
        wish.clone().unwrap_or(usual)
    };
    write(&place(&options.json, "json"), &document.to_json()?)?;
    write(&place(&options.csv, "csv"), &csv::render(document)?)?;
    if options.save.is_some() {
        write(&place(&None, "md"), &markdown::render(document))?;
    }
    let page = page::render(document, comparison.as_ref());
    write(&place(&options.html, "html"), &page)?;
    let over = limits::over(&document.results);
    if !over.is_empty() {
        bail!("{}", over.join("; "));
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> Result<()> {
    image::write_whole(path, text.as_bytes())?;
    eprintln!("written to {}", path.display());
    Ok(())
}

//! `bench`: runs a plan, prints what was found, and keeps it in one form.

mod boots;
mod environment;
mod gather;
mod image_check;
pub mod linux;
mod output;
mod places;
mod plans;
mod repro;
mod serial;
mod sizes;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use spillway_report::{Document, Measurement, Method, collect::Collector, schema};

use crate::{
    cli::{BenchOptions, MachineOptions},
    workspace::Workspace,
};

/// Measures, prints the table, writes the files.
pub fn run(options: &BenchOptions) -> Result<ExitCode> {
    if let Some(path) = &options.repro {
        let earlier = read(path)?;
        let again = repro::options(&earlier, options)
            .with_context(|| format!("{} cannot be run again", path.display()))?;
        let plan = repro::plan(&earlier)?;
        eprintln!(
            "again: cargo xtask bench {}",
            repro::flags(&again).join(" ")
        );
        return run_plan(&again, plan, Some(earlier));
    }
    // Read before hours are spent on what it is compared with.
    let baseline = options.baseline.as_deref().map(read).transpose()?;
    let workspace = Workspace::load()?;
    let plan = plans::find(&workspace, &options.plan)?;
    run_plan(options, plan, baseline)
}

fn run_plan(
    options: &BenchOptions,
    mut plan: spillway_plan::Plan,
    baseline: Option<Document>,
) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    plan.retain(&options.level, &options.device)?;
    if let Some(repetitions) = options.repetitions {
        plan.repetitions = repetitions;
    }
    let mut collector = Collector::new(&plan);
    let environment = match &options.collect {
        Some(device) => serial::collect(&workspace, device, options, &plan, &mut collector)?,
        None => {
            plans::check_manifests(&workspace, &plan, options.manifest.as_deref())?;
            let mut boots = boots::Boots::new(&workspace, &plan, options)?;
            if options.machine.dry_run {
                boots.describe();
                return Ok(ExitCode::SUCCESS);
            }
            boots.run(&mut collector)?;
            sizes::add(&boots, &mut collector.results)?;
            environment::emulated(&workspace, &boots, &plan, options)
        }
    };
    let document = Document {
        schema: schema::SCHEMA,
        environment,
        results: collector.results,
    };
    output::finish(
        &document,
        baseline.as_ref(),
        &plan.name,
        options,
        &workspace,
    )
}

/// The counted figures of a plan that ships, for who wants to compare them.
pub fn count(
    workspace: &Workspace,
    plan: &str,
    machine: &MachineOptions,
) -> Result<Vec<Measurement>> {
    let plan = plans::find(workspace, plan)?;
    let options = BenchOptions::of_machine(machine);
    let mut collector = Collector::new(&plan);
    let mut boots = boots::Boots::new(workspace, &plan, &options)?;
    boots.only(Method::Counted);
    boots.run(&mut collector)?;
    Ok(collector.results)
}

/// Reads an earlier result.
fn read(path: &Path) -> Result<Document> {
    let text =
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Document::parse(&text).with_context(|| format!("{} is not right", path.display()))
}

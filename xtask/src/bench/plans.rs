//! Finds plans, and says what is missing before anything is built.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use spillway_plan::{Plan, source};

use crate::workspace::Workspace;

/// Where the plans lie that ship.
const FOLDER: &str = "perf/plans";

/// A plan by its name, or by the path of its file.
pub fn find(workspace: &Workspace, name: &str) -> Result<Plan> {
    let shipped = workspace.root.join(FOLDER).join(format!("{name}.toml"));
    let path = match name.ends_with(".toml") {
        true => PathBuf::from(name),
        false => shipped,
    };
    if !path.is_file() {
        bail!(
            "there is no plan `{name}`; use one of {}, or the path of a TOML file",
            names(workspace).join(", ")
        );
    }
    let text =
        fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    source::parse(&stem, &text).map_err(|error| anyhow!("{} is not right: {error}", path.display()))
}

fn names(workspace: &Workspace) -> Vec<String> {
    let entries = fs::read_dir(workspace.root.join(FOLDER));
    let paths = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut names: Vec<_> = paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_string()))
        .collect();
    names.sort();
    names
}

/// Sees that everything is there that the plan boots.
pub fn check_manifests(workspace: &Workspace, plan: &Plan, instead: Option<&Path>) -> Result<()> {
    if instead.is_some() {
        return Ok(());
    }
    let missing = |plan: &Plan| {
        let mut boots = plan.boots().into_iter();
        boots.find_map(|boot| {
            let there = workspace.root.join(&boot.manifest).is_file();
            (!there).then_some(boot.manifest)
        })
    };
    let Some(manifest) = missing(plan) else {
        return Ok(());
    };
    let can_run = |name: &String| find(workspace, name).is_ok_and(|plan| missing(&plan).is_none());
    let others: Vec<_> = names(workspace).into_iter().filter(can_run).collect();
    bail!(
        "plan `{}` boots {manifest}, which does not exist: what it measures is not built yet; \
         plans that can run are: {}",
        plan.name,
        others.join(", ")
    )
}

//! Where figures come from.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use sha2::{Digest, Sha256};
use spillway_plan::Plan;
use spillway_report::{Environment, schema::PlanFile};

use super::{boots::Boots, repro};
use crate::{cli::BenchOptions, setup, workspace::Workspace};

/// A command line as it is typed in the workspace: a result does not say where that is.
fn in_workspace(workspace: &Workspace, line: &str) -> String {
    line.replace(&format!("{}/", workspace.root.display()), "")
}

/// That of a plan that was run in QEMU. Of several boots by one method, the first is kept.
pub fn emulated(
    workspace: &Workspace,
    boots: &Boots,
    plan: &Plan,
    options: &BenchOptions,
) -> Environment {
    let (mut command_lines, mut hashes) = (BTreeMap::new(), BTreeMap::new());
    for planned in boots.all() {
        let method = planned.boot.method;
        let line = || in_workspace(workspace, &planned.machine.shell_line());
        command_lines.entry(method).or_insert_with(line);
        if let Some(hash) = planned.files.as_ref().and_then(|files| hash(&files.image)) {
            hashes.entry(method).or_insert(hash);
        }
    }
    let mut machines = boots.all().iter().map(|planned| &planned.machine);
    // Counted boots are always emulated; the choice concerns the others.
    let accelerator = machines
        .next_back()
        .map_or("none", |machine| machine.accelerator.name());
    let qemu = boots
        .all()
        .first()
        .map(|planned| setup::qemu_version(&planned.machine.qemu));
    let mut others = boots.others();
    for line in others
        .values_mut()
        .flat_map(|other| other.qemu_command_line.values_mut())
    {
        *line = in_workspace(workspace, line);
    }
    Environment {
        qemu_version: qemu.unwrap_or_default(),
        qemu_command_line: command_lines,
        cpu: cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        accelerator: accelerator.into(),
        image_hash: hashes,
        others,
        ..bare(workspace, plan, options)
    }
}

/// That of a machine of which nothing is known.
pub fn bare(workspace: &Workspace, plan: &Plan, options: &BenchOptions) -> Environment {
    let (commit, dirty) = commit(&workspace.root);
    let levels = matches!(plan.workload, spillway_plan::Workload::Levels { .. });
    Environment {
        profile: options.machine.profile.profile().name().into(),
        commit,
        dirty,
        qemu_version: String::new(),
        qemu_command_line: BTreeMap::new(),
        cpu: "unknown".into(),
        accelerator: "none".into(),
        mitigations: "default".into(),
        seed: levels.then_some(plan.seed),
        image_hash: BTreeMap::new(),
        plan: Some(PlanFile {
            name: plan.name.clone(),
            text: plan.text.clone(),
        }),
        flags: repro::flags(options),
        others: BTreeMap::new(),
    }
}

fn hash(path: &Path) -> Option<String> {
    let digest = Sha256::digest(fs::read(path).ok()?);
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The commit, and whether the tree has changes on top; unknown outside a repository.
fn commit(root: &Path) -> (String, bool) {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .current_dir(root)
            .args(arguments)
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_string();
        output.status.success().then_some(text)
    };
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".into());
    let dirty = git(&["status", "--porcelain"]).is_none_or(|changes| !changes.is_empty());
    (commit, dirty)
}

fn cpu(cpuinfo: &str) -> String {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':'));
    name.map_or("unknown".into(), |(_, name)| name.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named() {
        assert_eq!(
            cpu("processor : 0\nmodel name\t: A  processor\n"),
            "A  processor"
        );
        assert_eq!(cpu(""), "unknown");
    }
}

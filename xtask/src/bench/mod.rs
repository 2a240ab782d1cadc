//! `bench`: boots measuring programs, prints what they found and keeps it in one form.

pub mod linux;
pub mod plan;
pub mod results;
pub mod table;

use std::{
    collections::BTreeMap, fs, path::Path, process::Command, process::ExitCode, time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use results::{Document, Environment, Measurement, Method};
use sha2::{Digest, Sha256};

use crate::{
    cli::{BenchOptions, MachineOptions, Plan, Rival},
    guest::{Ending, Guest},
    image, log,
    qemu::Machine,
    session::Session,
    setup,
    ui::Step,
    workspace::Workspace,
};

/// Seconds that one boot may take.
const LIMIT: u64 = 300;

/// Measures, prints the table, writes the file.
pub fn run(options: &BenchOptions) -> Result<ExitCode> {
    let plan = options.plan;
    let workspace = Workspace::load()?;
    let usual = plan.manifest();
    let manifest = options.manifest.as_deref().unwrap_or(Path::new(&usual));
    let mut session = Session::new(&workspace, &options.machine, manifest)?;
    session.machine.cores = options.cores;
    let mut linux = options
        .vs
        .map(|Rival::Linux| linux::Column::new(&workspace, options.machine.timeout));
    if options.machine.dry_run {
        session.describe();
        for &run in plan.runs() {
            let machine = plan.machine(run, &session.machine);
            println!("{}", machine.shell_line());
            if let Some(linux) = &linux {
                linux.describe(&machine, run.method);
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let limit = Duration::from_secs(options.machine.timeout.unwrap_or(LIMIT));
    if let Some(linux) = &mut linux {
        linux.prepare(&plan.machine(plan.runs()[0], &session.machine))?;
    }
    let mut found = Vec::new();
    let (mut command_lines, mut hashes) = (BTreeMap::new(), BTreeMap::new());
    for &run in plan.runs() {
        let method = run.method;
        set_method(&mut session, plan, method);
        let files = session.prepare()?;
        let machine = plan.machine(run, &session.machine);
        let boots = match method {
            Method::Counted => 1,
            _ => options.repetitions,
        };
        let is_first = !command_lines.contains_key(&method);
        // Of several runs by one method, the first is kept.
        command_lines
            .entry(method)
            .or_insert_with(|| machine.shell_line());
        hashes.insert(method, hash(&files.image)?);
        for boot in 1..=boots {
            let clause = format!("{} run, boot {boot} of {boots}", method.name());
            measure(&machine, plan, limit, clause, &mut found)?;
            // In turns, so that a change of the host's speed meets both.
            if let Some(linux) = linux.as_mut().filter(|_| is_first) {
                let theirs = linux.measure(&machine, method)?;
                for one in theirs {
                    results::add(&mut found, one);
                }
            }
        }
    }
    let (commit, dirty) = commit(&workspace.root);
    let document = Document {
        schema: results::SCHEMA,
        environment: Environment {
            profile: options.machine.profile.profile().name().into(),
            commit,
            dirty,
            qemu_version: setup::qemu_version(&session.machine.qemu),
            qemu_command_line: command_lines,
            cpu: cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            accelerator: session.machine.accelerator.name().into(),
            mitigations: "default".into(),
            seed: None,
            image_hash: hashes,
        },
        results: found,
    };
    finish(&document, options.json.as_deref())
}

/// The counted figures of a plan, for who wants to compare them.
pub fn count(
    workspace: &Workspace,
    plan: Plan,
    options: &MachineOptions,
) -> Result<Vec<Measurement>> {
    let mut session = Session::new(workspace, options, Path::new(&plan.manifest()))?;
    set_method(&mut session, plan, Method::Counted);
    session.prepare()?;
    let mut found = Vec::new();
    let counted = |run: &&plan::Run| run.method == Method::Counted;
    for &run in plan.runs().iter().filter(counted) {
        let machine = plan.machine(run, &session.machine);
        let clause = "counting instructions".into();
        measure(
            &machine,
            plan,
            Duration::from_secs(LIMIT),
            clause,
            &mut found,
        )?;
    }
    Ok(found)
}

/// Tells the program in its first argument how it is run.
fn set_method(session: &mut Session, plan: Plan, method: Method) {
    session
        .recipe
        .change_arguments(plan.program(), |arguments| {
            if !arguments.is_empty() {
                arguments.remove(0);
            }
            arguments.insert(0, method.name().into());
        });
}

fn measure(
    machine: &Machine,
    plan: Plan,
    limit: Duration,
    clause: String,
    found: &mut Vec<Measurement>,
) -> Result<()> {
    let step = Step::new(clause);
    let mut new = 0;
    let report = Guest::start(machine)?.watch(Some(limit), |line| {
        let text = log::parse(line).map_or(line, |line| line.text);
        if let Some(result) = results::parse(text) {
            let result = result.with_context(|| format!("the guest reported nonsense: {text}"))?;
            step.update(result.name.clone());
            results::add(found, result);
            new += 1;
        }
        Ok(())
    })?;
    drop(step);
    match report.ending {
        Ending::Success => {}
        Ending::Interrupted => bail!("interrupted"),
        ref ending => {
            eprint!("{}", report.evidence());
            bail!("the machine {ending} while it measured; the end of its log is above");
        }
    }
    ensure!(
        new > 0,
        "the guest reported no result; does its manifest start {}?",
        plan.program()
    );
    Ok(())
}

fn finish(document: &Document, json: Option<&Path>) -> Result<ExitCode> {
    print!("{}", table::render(&document.results));
    if document.environment.profile == "debug" {
        println!("This is a debug build: the figures say little.");
    }
    if let Some(path) = json {
        let mut text = serde_json::to_string_pretty(document)?;
        text.push('\n');
        image::write_whole(path, text.as_bytes())?;
        eprintln!("written to {}", path.display());
    }
    let over = table::over_limit(&document.results);
    if !over.is_empty() {
        bail!("{}", over.join("; "));
    }
    Ok(ExitCode::SUCCESS)
}

fn hash(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let digest = Sha256::digest(&bytes);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
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

//! The flags of a run as words, and an earlier run again by its words.

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Parser;
use spillway_plan::{Plan, source};
use spillway_report::Document;

use crate::cli::{Accel, BenchOptions, Cli, Command, Profile, Rival, Switch};

/// Flags that are taken from a file that somebody sent: none of them names a file or a program.
const SAFE: [&str; 9] = [
    "level",
    "device",
    "cores",
    "repetitions",
    "vs",
    "memory",
    "iommu",
    "accel",
    "kernel-arg",
];

/// The words by which the same would be run again: the plan, and every flag that is not as usual,
/// but those that say where results go.
pub fn flags(options: &BenchOptions) -> Vec<String> {
    let mut words = vec![options.plan.clone()];
    let mut flag = |name: &str, value: String| words.push(format!("--{name}={value}"));
    let machine = &options.machine;
    for level in &options.level {
        flag("level", level.name().into());
    }
    for device in &options.device {
        flag("device", device.name().into());
    }
    flag("cores", options.cores.to_string());
    if let Some(repetitions) = options.repetitions {
        flag("repetitions", repetitions.to_string());
    }
    if let Some(Rival::Linux) = options.vs {
        flag("vs", "linux".into());
    }
    flag("memory", format!("{}M", machine.memory >> 20));
    if machine.iommu == Switch::On {
        flag("iommu", "on".into());
    }
    match machine.accel {
        Accel::Auto => {}
        Accel::Tcg => flag("accel", "tcg".into()),
        Accel::Kvm => flag("accel", "kvm".into()),
    }
    for word in &machine.kernel_arg {
        flag("kernel-arg", word.clone());
    }
    for (name, path) in [
        ("disk", &machine.disk),
        ("manifest", &options.manifest),
        ("qemu", &machine.qemu),
    ] {
        if let Some(path) = path {
            flag(name, path.display().to_string());
        }
    }
    for word in &machine.qemu_arg {
        flag("qemu-arg", word.clone());
    }
    if machine.profile.profile() == Profile::Debug {
        words.push("--debug".into());
    }
    words
}

/// The plan of an earlier run, as it was then.
pub fn plan(earlier: &Document) -> Result<Plan> {
    let file = earlier.environment.plan.as_ref();
    let file = file.context("the file does not say which plan it comes from")?;
    source::parse(&file.name, &file.text).map_err(|error| anyhow!("its plan is not right: {error}"))
}

/// The options of an earlier run, with what is asked for now where that concerns only this machine
/// and where results go.
pub fn options(earlier: &Document, now: &BenchOptions) -> Result<BenchOptions> {
    let words = &earlier.environment.flags;
    ensure!(
        !words.is_empty(),
        "the file does not say by which flags it was made"
    );
    let given = flags(now);
    for word in words.iter().skip(1).filter(|word| *word != "--debug") {
        let name = word
            .strip_prefix("--")
            .and_then(|word| word.split_once('='));
        let is_safe = name.is_some_and(|(name, _)| SAFE.contains(&name));
        if !is_safe && !given.contains(word) {
            bail!(
                "it was made with {word}, which names something of that machine; give a flag like it beside --repro"
            );
        }
    }
    let line = ["cargo xtask", "bench", "--"]
        .iter()
        .map(|word| word.to_string());
    let (plan, flags) = words.split_first().context("no words")?;
    let line = line
        .take(2)
        .chain(flags.iter().cloned())
        .chain(["--".into(), plan.clone()]);
    let parsed =
        Cli::try_parse_from(line).map_err(|error| anyhow!("its flags are not right: {error}"))?;
    let Command::Bench(then) = parsed.command else {
        bail!("its flags are not those of bench");
    };
    let mut then = *then;
    then.machine.qemu.clone_from(&now.machine.qemu);
    then.machine.dry_run = now.machine.dry_run;
    then.machine.timeout = now.machine.timeout;
    (then.json, then.csv, then.html) = (now.json.clone(), now.csv.clone(), now.html.clone());
    Ok(then)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> BenchOptions {
        let line = ["cargo xtask", "bench"].iter().chain(words);
        match Cli::parse_from(line).command {
            Command::Bench(options) => *options,
            _ => unreachable!("the command is bench"),
        }
    }

    fn earlier(words: &[&str]) -> Document {
        let environment = serde_json::json!({
            "profile": "release", "commit": "", "dirty": false, "qemu_version": "",
            "qemu_command_line": {}, "cpu": "", "accelerator": "tcg", "mitigations": "default",
            "seed": 1, "image_hash": {}, "flags": words,
        });
        let text = serde_json::json!({"schema": 1, "environment": environment, "results": []});
        Document::parse(&text.to_string()).unwrap()
    }

    #[test]
    fn the_words_of_a_run_are_its_flags() {
        let words = [
            "kernel",
            "--level=sync",
            "--level=async",
            "--device=nvme",
            "--cores=2",
            "--repetitions=3",
            "--vs=linux",
            "--memory=1024M",
            "--iommu=on",
            "--accel=tcg",
            "--kernel-arg=a=b",
            "--debug",
        ];
        assert_eq!(flags(&parse(&words)), words);
        let again = options(&earlier(&words), &parse(&["--json", "x.json"])).unwrap();
        assert_eq!(flags(&again), words);
        assert_eq!(again.json.unwrap().to_str(), Some("x.json"));
    }

    #[test]
    fn a_file_chooses_no_files_and_programs_of_this_machine() {
        for word in [
            "--qemu=evil",
            "--qemu-arg=-x",
            "--disk=/dev/sda",
            "--manifest=m.toml",
            "--json=x",
            "-x",
        ] {
            let error = options(&earlier(&["kernel", word]), &parse(&[])).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        let now = parse(&["--qemu-arg=-x"]);
        let again = options(&earlier(&["kernel", "--qemu-arg=-x"]), &now).unwrap();
        assert_eq!(again.machine.qemu_arg, ["-x"]);
    }

    #[test]
    fn what_says_nothing_cannot_be_run_again() {
        assert!(
            options(&earlier(&[]), &parse(&[]))
                .unwrap_err()
                .to_string()
                .contains("flags")
        );
        assert!(
            plan(&earlier(&[]))
                .unwrap_err()
                .to_string()
                .contains("plan")
        );
        let error = options(&earlier(&["kernel", "--cores=0"]), &parse(&[])).unwrap_err();
        assert!(
            error.to_string().contains("its flags are not right"),
            "{error}"
        );
    }
}

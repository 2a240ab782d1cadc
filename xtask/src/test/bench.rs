//! `bench` as a person calls it, with guests that panic, hang or lie, and with Ctrl-C: each must end
//! with a sentence, the end of the log, a code that is not 0, and no file.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use spillway_report::Document;
use spillway_wire::frame::{self, Kind};
use tempfile::TempDir;

use super::tally::Tally;
use crate::{qemu::Machine, workspace::Workspace};

/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(120);
/// The code by which a machine says that all is well.
const SUCCESS: u32 = 0x10 << 1 | 1;

/// Where the calls are made, and what for.
struct Place<'a> {
    workspace: &'a Workspace,
    qemu: &'a Path,
    folder: TempDir,
}

type Case = (&'static str, fn(&Place) -> Result<()>);
const CASES: [Case; 9] = [
    ("bench::a_kernel_that_panics_ends_the_run", panic),
    ("bench::a_machine_that_hangs_ends_the_run", hang),
    ("bench::ctrl_c_ends_qemu_and_leaves_no_file", interrupt),
    ("bench::a_whole_log_becomes_files", whole),
    ("bench::an_earlier_run_is_run_again_and_compared", again),
    ("bench::garbage_ends_the_run", garbage),
    ("bench::a_torn_record_ends_the_run", torn),
    ("bench::a_log_that_is_cut_off_ends_the_run", cut),
    ("bench::a_plan_without_its_programs_says_so", missing),
];

/// Makes every call that the filter wants.
pub fn run(workspace: &Workspace, machine: &Machine, tally: &mut Tally) -> Result<()> {
    for (name, case) in CASES {
        if tally.wants(name) {
            let place = Place {
                workspace,
                qemu: &machine.qemu,
                folder: tempfile::tempdir()?,
            };
            tally.note(name, case(&place).map_err(|error| format!("{error:#}")));
        }
    }
    Ok(())
}

impl Place<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A call, with its files in the folder.
    fn start(&self, words: &[&str]) -> Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .current_dir(&self.workspace.root)
            .arg("bench")
            .args(words);
        for ending in ["json", "csv", "html"] {
            let path = self.file(&format!("result.{ending}"));
            command.arg(format!("--{ending}")).arg(path);
        }
        if !words.iter().any(|word| word.starts_with("--qemu=")) {
            command.arg("--qemu").arg(self.qemu);
        }
        // Files, not pipes, take any amount without somebody who reads.
        command
            .stdin(Stdio::null())
            .stdout(fs::File::create(self.file("out"))?)
            .stderr(fs::File::create(self.file("err"))?)
            .spawn()
            .context("xtask cannot be started")
    }

    fn finish(&self, mut child: Child) -> Result<Output> {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if start.elapsed() > LIMIT {
                let _ = child.kill();
                let _ = child.wait();
                anyhow::bail!("bench did not end within {} seconds", LIMIT.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        };
        Ok(Output {
            status,
            stdout: fs::read(self.file("out"))?,
            stderr: fs::read(self.file("err"))?,
        })
    }

    fn call(&self, words: &[&str]) -> Result<Output> {
        self.finish(self.start(words)?)
    }

    /// Sees that a call failed, said all of this, and left no file of its own.
    fn failed(&self, output: &Output, says: &[&str]) -> Result<()> {
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success(),
            "bench ended with success:\n{text}"
        );
        for word in says {
            ensure!(text.contains(word), "bench did not say `{word}`:\n{text}");
        }
        let own = ["out", "err", "qemu", "counted", "timed"];
        for entry in fs::read_dir(self.folder.path())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            ensure!(own.contains(&name.as_str()), "bench left the file {name}");
        }
        Ok(())
    }

    /// A machine that says what it is told to.
    fn fake(&self, counted: &[String], timed: &[String]) -> Result<String> {
        fs::write(self.file("counted"), counted.join("\r\n") + "\r\n")?;
        fs::write(self.file("timed"), timed.join("\r\n") + "\r\n")?;
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n--version) echo 'QEMU emulator version 10.0.0'; exit ;;\n\
             *icount*) cat '{0}/counted' ;;\n*) cat '{0}/timed' ;;\nesac\nexit {SUCCESS}\n",
            self.folder.path().display()
        );
        let path = self.file("qemu");
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(format!("--qemu={}", path.display()))
    }
}

/// What a program says that measures one thing.
fn log(method: &str) -> Vec<String> {
    let begin = format!(r#"{{"program":"bench-kernel","method":"{method}"}}"#);
    let figure = format!(
        r#"{{"name":"kernel/x","unit":"instructions","method":"{method}","better":"lower","samples":[7,8,9]}}"#
    );
    let records = [
        (Kind::Begin, begin),
        (Kind::Result, figure),
        (Kind::End, "{}".into()),
    ];
    let mut lines = vec!["firmware".to_string()];
    for (number, (kind, text)) in records.iter().enumerate() {
        for line in frame::lines(*kind, number as u32, text) {
            lines.push(format!("[    0.100000 c0 bench-kernel] {line}"));
        }
    }
    lines
}

const KERNEL: [&str; 3] = ["kernel", "--accel=tcg", "--repetitions=1"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&KERNEL[..], more].concat()
}

fn panic(place: &Place) -> Result<()> {
    let output = place.call(&with(&["--kernel-arg=selftest=panic"]))?;
    let says = ["panicked while it measured", "as the command line asked"];
    place.failed(&output, &says)
}

fn hang(place: &Place) -> Result<()> {
    // The machine waits at its first instruction for a debugger.
    let output = place.call(&with(&["--qemu-arg=-S", "--timeout=2"]))?;
    place.failed(&output, &["did not end within 2 seconds while it measured"])
}

fn interrupt(place: &Place) -> Result<()> {
    let name = format!("spillway-bench-{}", std::process::id());
    let (wait, mark) = ("--qemu-arg=-S", format!("--qemu-arg={name}"));
    let mut child = place.start(&with(&[wait, "--qemu-arg=-name", &mark]))?;
    let start = Instant::now();
    while machines(&name)? == 0 {
        let is_waiting = start.elapsed() < LIMIT && child.try_wait()?.is_none();
        ensure!(is_waiting, "the machine did not start");
        thread::sleep(Duration::from_millis(50));
    }
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT)?;
    let output = place.finish(child)?;
    place.failed(&output, &["interrupted"])?;
    ensure!(machines(&name)? == 0, "QEMU is still there");
    Ok(())
}

/// Processes of QEMU with this name for their machine.
fn machines(name: &str) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
        let is_named = words
            .windows(2)
            .any(|pair| pair == [&b"-name"[..], name.as_bytes()]);
        count += usize::from(is_named);
    }
    Ok(count)
}

fn whole(place: &Place) -> Result<()> {
    let qemu = place.fake(&log("counted"), &log("timed"))?;
    let output = place.call(&with(&[&qemu]))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "bench failed:\n{text}");
    let document = Document::parse(&fs::read_to_string(place.file("result.json"))?)?;
    ensure!(
        document.results.len() == 2,
        "{} rows",
        document.results.len()
    );
    let row = &document.results[0];
    ensure!(row.name == "kernel/x" && row.value == 8.0, "{row:?}");
    let csv = fs::read_to_string(place.file("result.csv"))?;
    ensure!(csv.lines().count() == 3, "{csv}");
    let page = fs::read_to_string(place.file("result.html"))?;
    ensure!(page.contains("2 figures"), "the page has not all figures");
    Ok(())
}

fn again(place: &Place) -> Result<()> {
    let qemu = place.fake(&log("counted"), &log("timed"))?;
    let first = place.call(&with(&[&qemu, "--memory=256M"]))?;
    ensure!(
        first.status.success(),
        "{}",
        String::from_utf8_lossy(&first.stderr)
    );
    let earlier = place.file("earlier.json");
    fs::rename(place.file("result.json"), &earlier)?;
    let repro = format!("--repro={}", earlier.display());
    let output = place.call(&[&qemu, &repro])?;
    let (said, told) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(output.status.success(), "bench failed:\n{told}");
    ensure!(
        told.contains("again: cargo xtask bench kernel") && told.contains("--memory=256M"),
        "{told}"
    );
    let nothing = "0 worse, 0 better, 2 the same";
    ensure!(
        said.contains(nothing),
        "bench did not say `{nothing}`:\n{said}"
    );
    // Against a baseline from which it differs.
    let changed = fs::read_to_string(&earlier)?;
    let changed = changed.replace("[7.0,8.0,9.0]", "[1.0,2.0,3.0]").replace(
        "\"value\":8.0,\"min\":7.0,\"max\":9.0",
        "\"value\":2.0,\"min\":1.0,\"max\":3.0",
    );
    fs::write(&earlier, changed)?;
    let baseline = format!("--baseline={}", earlier.display());
    let output = place.call(&with(&[&qemu, &baseline]))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.contains("2 worse, 0 better"), "{said}");
    Ok(())
}

fn garbage(place: &Place) -> Result<()> {
    let mut lines = log("counted");
    lines.insert(
        2,
        "[    0.100000 c0 bench-kernel] @result \u{1b}[2J{}".into(),
    );
    let qemu = place.fake(&lines, &log("timed"))?;
    let output = place.call(&with(&[&qemu]))?;
    let says = [
        "a line begins with @ but is no record",
        "    firmware",
        "the end of its log is above",
    ];
    place.failed(&output, &says)
}

fn torn(place: &Place) -> Result<()> {
    let mut timed = log("timed");
    let rest = timed[2].split_off(80);
    timed.insert(3, rest);
    let qemu = place.fake(&log("counted"), &timed)?;
    let output = place.call(&with(&[&qemu]))?;
    place.failed(&output, &["a record is torn", "    firmware"])
}

fn cut(place: &Place) -> Result<()> {
    let mut counted = log("counted");
    counted.pop();
    let qemu = place.fake(&counted, &log("timed"))?;
    let output = place.call(&with(&[&qemu]))?;
    place.failed(
        &output,
        &["bench-kernel did not report to the end", "    firmware"],
    )?;
    // Nothing at all is not whole either.
    let qemu = place.fake(&["firmware".into()], &log("timed"))?;
    let output = place.call(&with(&[&qemu]))?;
    place.failed(&output, &["nobody reported a result"])
}

fn missing(place: &Place) -> Result<()> {
    let plan = place.file("timed");
    fs::write(
        &plan,
        "about = \"x\"\nkind = \"program\"\nprogram = \"bench-nothing\"\n[[boot]]\nmethod = \"timed\"\n",
    )?;
    let path = place.file("counted.toml");
    fs::rename(&plan, &path)?;
    let output = place.call(&[&path.display().to_string()])?;
    fs::remove_file(&path)?;
    let says = [
        "manifests/bench-nothing.toml, which does not exist",
        "plans that can run are: ",
        "nvme",
    ];
    place.failed(&output, &says)
}

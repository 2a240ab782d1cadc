//! Results of a real machine, by its serial line: the same records, read from a device, a file or a
//! pipe.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use spillway_plan::{Boot, Method, Plan};
use spillway_report::{Environment, collect::Collector};
use spillway_wire::{frame::Kind, message::Begin, reader::Reader};

use super::environment;
use crate::{cli::BenchOptions, interrupt, log, ui::Course, workspace::Workspace};

/// Bytes after which a line is cut.
const LONGEST_LINE: u64 = 4096;
/// Lines that may wait.
const QUEUE: usize = 1024;

/// Reads one boot of the plan.
pub fn collect(
    workspace: &Workspace,
    device: &Path,
    options: &BenchOptions,
    plan: &Plan,
    collector: &mut Collector,
) -> Result<Environment> {
    let input = open(device)?;
    let limit = options.machine.timeout.map(Duration::from_secs);
    read(input, plan, collector, limit)?;
    let mut environment = environment::bare(workspace, plan, options);
    if let Some(cpu) = &collector.cpu {
        environment.cpu.clone_from(cpu);
    }
    Ok(environment)
}

/// Opens a device, and has a serial line pass every byte as it is.
fn open(device: &Path) -> Result<File> {
    use rustix::termios;
    let file =
        File::open(device).with_context(|| format!("{} cannot be read", device.display()))?;
    if termios::isatty(&file) {
        let mut settings = termios::tcgetattr(&file)?;
        settings.make_raw();
        settings.set_speed(115_200)?;
        termios::tcsetattr(&file, termios::OptionalActions::Now, &settings)?;
    }
    Ok(file)
}

/// Lines as they come, until the input ends.
struct Lines {
    lines: Receiver<Vec<u8>>,
    start: Instant,
    limit: Option<Duration>,
}

impl Lines {
    fn of(input: impl Read + Send + 'static, limit: Option<Duration>) -> Self {
        let (sender, lines) = sync_channel(QUEUE);
        thread::spawn(move || {
            let mut input = BufReader::new(input);
            loop {
                let mut line = Vec::new();
                match (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => break,
                    Ok(_) if sender.send(line).is_err() => break,
                    Ok(_) => {}
                }
            }
        });
        Self {
            lines,
            start: Instant::now(),
            limit,
        }
    }

    /// The next line of a log: who wrote it, and what.
    fn next(&self) -> Result<Option<(String, String)>> {
        loop {
            ensure!(!interrupt::requested(), "interrupted");
            let late = self
                .limit
                .is_some_and(|limit| self.start.elapsed() >= limit);
            ensure!(!late, "the machine did not report to the end in time");
            match self.lines.recv_timeout(Duration::from_millis(50)) {
                Ok(line) => {
                    let line = String::from_utf8_lossy(&line);
                    if let Some(line) = log::parse(line.trim_end_matches(['\r', '\n'])) {
                        return Ok(Some((line.source.into(), line.text.into())));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }
}

/// Reads until the measuring program says that it is done, or the input ends.
fn read(
    input: impl Read + Send + 'static,
    plan: &Plan,
    collector: &mut Collector,
    limit: Option<Duration>,
) -> Result<()> {
    let lines = Lines::of(input, limit);
    let course = Course::new(1);
    course.begin("waiting for the machine".into());
    let (boot, (source, text)) = loop {
        let line = lines.next()?;
        let line = line.context("no program began to report; is it the right device?")?;
        if let Some(boot) = begins(&line.1, plan)? {
            break (boot, line);
        }
    };
    let mut records = collector.boot(&boot)?;
    records.line(&source, &text)?;
    while !records.has_ended()
        && let Some((source, text)) = lines.next()?
    {
        if let Some(what) = records.line(&source, &text)? {
            course.update(&what);
        }
    }
    records.finish()
}

/// Whether a program begins here, and which boot of the plan it is.
fn begins(text: &str, plan: &Plan) -> Result<Option<Boot>> {
    if !text.starts_with(&format!("@{} ", Kind::Begin.name())) {
        return Ok(None);
    }
    let record = Reader::default()
        .line(text)?
        .context("the first record is cut off")?;
    let begin: Begin = serde_json::from_str(&record.text)?;
    ensure!(
        begin.method == Method::Timed,
        "the machine counts instructions, which only an emulator can; boot it with `timed`"
    );
    let fits = |boot: &Boot| -> Result<bool> {
        let checksum = match &boot.cases {
            Some(cases) => Some(spillway_plan::Cases::checksum(&cases.encode()?)?),
            None => None,
        };
        Ok(boot.method == begin.method && checksum == begin.plan && boot.program == begin.program)
    };
    for boot in plan.boots() {
        if fits(&boot)? {
            return Ok(Some(boot));
        }
    }
    bail!(
        "{} runs something that is not in plan `{}`; name the plan that made its image",
        begin.program,
        plan.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use spillway_wire::frame;

    const PLAN: &str =
        "about = \"a test\"\nkind = \"program\"\nprogram = \"p\"\n[[boot]]\nmethod = \"timed\"";
    const FIGURE: &str =
        r#"{"name":"a/b","unit":"x","method":"timed","better":"lower","samples":[1,3]}"#;

    /// What a machine says over its serial line.
    fn log(program: &str, method: &str) -> String {
        let begin = format!(r#"{{"program":"{program}","method":"{method}","cpu":"A real one"}}"#);
        let mut log = "firmware\r\n".to_string();
        for (number, (kind, text)) in [
            (Kind::Begin, begin.as_str()),
            (Kind::Result, FIGURE),
            (Kind::End, "{}"),
        ]
        .into_iter()
        .enumerate()
        {
            for line in frame::lines(kind, number as u32, text) {
                log += &format!("[    0.100000 c0 p     ] {line}\r\n");
            }
        }
        log
    }

    fn read_log(log: String) -> Result<(usize, Option<String>)> {
        let plan = spillway_plan::source::parse("test", PLAN)?;
        let mut collector = Collector::new(&plan);
        let input = std::io::Cursor::new(log.into_bytes());
        read(input, &plan, &mut collector, Some(Duration::from_secs(60)))?;
        Ok((collector.results.len(), collector.cpu))
    }

    #[test]
    fn a_real_machine_is_read_to_its_end() {
        let found = read_log(log("p", "timed")).unwrap();
        assert_eq!(found, (1, Some("A real one".into())));
        // What comes behind is not waited for.
        let more = log("p", "timed") + "[    0.200000 c0 p     ] @garbage\r\n";
        assert!(read_log(more).is_ok());
    }

    #[test]
    fn what_is_cut_off_or_of_another_plan_is_refused() {
        let refusal = |log: String| format!("{:#}", read_log(log).unwrap_err());
        assert!(refusal(String::new()).contains("right device"));
        assert!(refusal(log("q", "timed")).contains("not in plan `test`"));
        assert!(refusal(log("p", "counted")).contains("only an emulator"));
        let whole = log("p", "timed");
        let (cut, _) = whole.split_at(whole.find("@end").unwrap());
        assert!(refusal(cut.into()).contains("last record is missing"));
        let damaged = whole.replace("[1,3]", "[1,4]");
        assert!(refusal(damaged).contains("checksum"));
    }
}

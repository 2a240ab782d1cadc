//! A running QEMU: its serial log line by line, its end, and the certainty that it does end.

use std::{
    collections::VecDeque,
    fmt,
    io::{BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{interrupt, qemu::Machine};

/// Log lines that a failure shows.
pub const TAIL: usize = 40;
/// Bytes after which a line is cut: a guest that never ends one must not fill the memory.
const LONGEST_LINE: usize = 4096;
/// Lines that may wait to be read; a guest that writes faster has to wait itself.
const QUEUE: usize = 1024;

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Switched off with code 0.
    Success,
    /// Switched off with another code.
    Failure,
    /// The kernel panicked.
    Panic,
    /// The loader refused to boot.
    LoaderError,
    /// It reset itself, as after a triple fault, or QEMU ended for a reason of its own.
    Other(String),
    /// The time limit came first.
    TimedOut(Duration),
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

impl Ending {
    /// The guest writes a byte to port 0xf4, and `isa-debug-exit` ends QEMU with twice that + 1.
    fn from_status(status: ExitStatus) -> Self {
        match status.code().map(|code| (code & 1, code >> 1)) {
            Some((1, 0x10)) => Self::Success,
            Some((1, 0x11)) => Self::Failure,
            Some((1, 0x12)) => Self::Panic,
            Some((1, 0x21)) => Self::LoaderError,
            Some((0, 0)) => Self::Other("reset or switched itself off".into()),
            _ => Self::Other(format!("ended with QEMU's {status}")),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("switched off with success"),
            Self::Failure => f.write_str("switched off with a failure"),
            Self::Panic => f.write_str("panicked"),
            Self::LoaderError => f.write_str("was refused by the loader"),
            Self::Other(what) => f.write_str(what),
            Self::TimedOut(limit) => {
                write!(f, "did not end within {} seconds", limit.as_secs())
            }
            Self::Interrupted => f.write_str("was interrupted"),
        }
    }
}

/// What is left of a machine.
pub struct Report {
    pub ending: Ending,
    /// The last lines of the log.
    pub tail: VecDeque<String>,
    /// What QEMU itself had to say.
    pub complaints: String,
}

impl Report {
    /// The last lines of the log and QEMU's complaints, indented.
    pub fn evidence(&self) -> String {
        let mut text = String::new();
        for line in self
            .tail
            .iter()
            .map(String::as_str)
            .chain(self.complaints.lines())
        {
            text.push_str("    ");
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// A running QEMU. It is killed when this is dropped, and when xtask dies.
pub struct Guest {
    child: Child,
    lines: Receiver<String>,
    complaints: Option<thread::JoinHandle<String>>,
}

impl Guest {
    /// Starts a machine.
    pub fn start(machine: &Machine) -> Result<Self> {
        let mut command = Command::new(&machine.qemu);
        command
            .args(machine.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C reaches xtask alone, which then ends the machine in its own way.
            .process_group(0);
        die_with_parent(&mut command);
        let mut child = command
            .spawn()
            .with_context(|| format!("{} cannot be started", machine.qemu.display()))?;
        let (sender, lines) = sync_channel(QUEUE);
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || split_lines(stdout, &sender));
        }
        let stderr = child.stderr.take();
        let complaints = thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(stderr) = stderr {
                let _ = stderr.take(64 << 10).read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Self {
            child,
            lines,
            complaints: Some(complaints),
        })
    }

    /// Hands every line of the log to `each` until the machine has ended or the time is up.
    pub fn watch(
        mut self,
        limit: Option<Duration>,
        mut each: impl FnMut(&str) -> Result<()>,
    ) -> Result<Report> {
        let start = Instant::now();
        let mut tail = VecDeque::with_capacity(TAIL);
        let mut keep = |line: String, each: &mut dyn FnMut(&str) -> Result<()>| {
            let result = each(&line);
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(line);
            result
        };
        let mut open = true;
        let ending = loop {
            if interrupt::requested() {
                break Ending::Interrupted;
            }
            if let Some(limit) = limit.filter(|limit| start.elapsed() >= *limit) {
                break Ending::TimedOut(limit);
            }
            if !open && let Some(status) = self.child.try_wait()? {
                break Ending::from_status(status);
            }
            match self.lines.recv_timeout(Duration::from_millis(50)) {
                Ok(line) => keep(line, &mut each)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    open = false;
                    thread::sleep(Duration::from_millis(5));
                }
            }
        };
        self.kill();
        // What the guest wrote before it was stopped, an unfinished line included.
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(1)) {
            keep(line, &mut each)?;
        }
        let complaints = self.complaints.take().and_then(|thread| thread.join().ok());
        let complaints = complaints.unwrap_or_default();
        Ok(Report {
            ending,
            tail,
            complaints,
        })
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Has the kernel kill the child when xtask dies, however it dies.
#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    use rustix::process::{Signal, set_parent_process_death_signal};
    let set = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; this makes one
    // system call and allocates nothing.
    unsafe { command.pre_exec(set) };
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut Command) {}

/// Sends every line, without its end and as printable UTF-8, until the input or the receiver ends.
fn split_lines(input: impl Read, lines: &SyncSender<String>) {
    let mut line = Vec::new();
    for byte in BufReader::new(input).bytes() {
        let Ok(byte) = byte else { break };
        if byte != b'\n' {
            line.push(byte);
        }
        if (byte == b'\n' || line.len() == LONGEST_LINE) && lines.send(printable(&line)).is_err() {
            return;
        }
        if byte == b'\n' || line.len() == LONGEST_LINE {
            line.clear();
        }
    }
    if !line.is_empty() {
        let _ = lines.send(printable(&line));
    }
}

/// Text that cannot play tricks on a terminal.
fn printable(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let plain = |c: char| {
        if c.is_control() && c != '\t' {
            '\u{fffd}'
        } else {
            c
        }
    };
    String::from_utf8_lossy(line).chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn lines(input: &[u8]) -> Vec<String> {
        let (sender, receiver) = sync_channel(100);
        split_lines(input, &sender);
        drop(sender);
        receiver.iter().collect()
    }

    #[test]
    fn lines_are_split_and_the_last_needs_no_end() {
        assert_eq!(lines(b"one\r\ntwo\n\nthree"), ["one", "two", "", "three"]);
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn garbage_becomes_harmless_text() {
        assert_eq!(lines(b"\xff\x1b[2J\tx\n"), ["\u{fffd}\u{fffd}[2J\tx"]);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let lines = lines(&[b'a'; 2 * LONGEST_LINE + 1]);
        let lengths: Vec<_> = lines.iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, 1]);
    }

    #[test]
    fn the_byte_at_the_exit_port_decides() {
        let ending = |byte: i32| Ending::from_status(ExitStatus::from_raw((byte << 1 | 1) << 8));
        assert_eq!(ending(0x10), Ending::Success);
        assert_eq!(ending(0x11), Ending::Failure);
        assert_eq!(ending(0x12), Ending::Panic);
        assert_eq!(ending(0x21), Ending::LoaderError);
        assert!(matches!(ending(0x33), Ending::Other(_)));
        let reset = Ending::from_status(ExitStatus::from_raw(0));
        assert_eq!(reset.to_string(), "reset or switched itself off");
    }
}

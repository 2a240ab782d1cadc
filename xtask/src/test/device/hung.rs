//! A machine whose IOMMU stops answering: when the test program asks for it, the unit's invalidation
//! queue is switched off behind the kernel's back, through QEMU's own test socket.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    qemu::Machine,
    test::{guest_suite, tally::Tally},
};

pub const KIND: &str = "device[hung IOMMU]";
/// What the test program says when it is ready.
const REQUEST: &str = "now hang the IOMMU";
/// What the kernel must say, once.
const TOLD: &str = "does not forget what it is told to";
/// Global command and status of QEMU's IOMMU, and the bits of those that were started which last:
/// translation and interrupt remapping, without the queue (VT-d 4.1, 11.4.4).
const COMMAND: u64 = 0xfed9_0018;
const STATUS: u64 = 0xfed9_001c;
const LASTING: u32 = 1 << 31 | 1 << 25;
const QUEUE: u32 = 1 << 26;
/// How long QEMU may take for an answer, and how often it is asked: a queue that has something to
/// do cannot be switched off.
const PATIENCE: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 1000;

pub fn run(mut machine: Machine, limit: Duration, tally: &mut Tally) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("qtest");
    machine.iommu = true;
    machine.cores = 2;
    let place = socket.display().to_string().replace(',', ",,");
    for (option, value) in [
        ("-qtest", format!("unix:{place},server=on,wait=off")),
        ("-qtest-log", "/dev/null".into()),
        ("-device", "edu".into()),
        ("-device", "edu".into()),
    ] {
        machine.extra.extend([option.into(), value]);
    }
    let (mut asked, mut told) = (0, 0);
    let mut hung = Ok(());
    guest_suite::run_and(KIND, &machine, limit, tally, |line, _| {
        told += u32::from(line.contains(TOLD));
        if line.contains(REQUEST) {
            asked += 1;
            hung = hang(&socket);
        }
    })?;
    let result = match (asked, told) {
        (0, _) => Err("nobody asked for it".to_string()),
        (_, 1) => hung.map_err(|error| format!("{error:#}")),
        _ => Err(format!("the log was told {told} times")),
    };
    tally.note(&format!("{KIND}::the_log_is_told_once"), result);
    Ok(())
}

/// Switches the queue off.
fn hang(socket: &Path) -> Result<()> {
    let stream = UnixStream::connect(socket).context("QEMU's test socket")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    for _ in 0..ATTEMPTS {
        execute(&mut stream, &format!("writel {COMMAND:#x} {LASTING:#x}"))?;
        if execute(&mut stream, &format!("readl {STATUS:#x}"))? as u32 & QUEUE == 0 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("the queue does not let itself be switched off")
}

/// Has a command of QEMU's test protocol done; its value, if it has one.
fn execute(stream: &mut BufReader<UnixStream>, command: &str) -> Result<u64> {
    stream
        .get_mut()
        .write_all(format!("{command}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_line(&mut answer)?;
    let answer = answer.trim_end();
    let value = answer
        .strip_prefix("OK")
        .with_context(|| format!("QEMU's answer to {command} is {answer:?}"))?
        .trim_start();
    match value.strip_prefix("0x") {
        Some(digits) => Ok(u64::from_str_radix(digits, 16)?),
        None => Ok(0),
    }
}

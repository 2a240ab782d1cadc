//! The guest suite under a storm of non-maskable interrupts, which strike between any two
//! instructions of the kernel, also where its own `gs` or stack is not loaded yet.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;

use super::{guest_suite, tally::Tally};
use crate::{
    qemu::Machine,
    qmp::{self, Control},
};

/// How the names of the tests begin.
pub const KIND: &str = "guest[2 cores, NMI storm]";
/// The pause between two interrupts, which both cores get: the programs must make progress, too.
const PAUSE: Duration = Duration::from_micros(100);

/// Boots the suite and, once it has come up, interrupts it until it has ended. (Firmware and loader
/// cannot take such an interrupt.)
pub fn run(machine: &Machine, limit: Duration, tally: &mut Tally) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("qmp");
    let mut machine = Machine {
        cores: 2,
        ..machine.clone()
    };
    machine.extra.extend(qmp::arguments(&socket));
    let (begun, end) = (AtomicBool::new(false), AtomicBool::new(false));
    let sent = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !begun.load(Ordering::Relaxed) && !end.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(10));
            }
            storm(&socket, &end, &sent)
        });
        let begin = || begun.store(true, Ordering::Relaxed);
        let result = guest_suite::run_and(KIND, &machine, limit, tally, begin);
        end.store(true, Ordering::Relaxed);
        result
    })?;
    let sent = sent.into_inner();
    let name = format!("{KIND}::there_was_a_storm");
    tally.note(
        &name,
        match sent {
            100.. => Ok(()),
            _ => Err(format!("only {sent} interrupts could be sent")),
        },
    );
    Ok(())
}

/// Sends interrupts until the end, QEMU's or ours.
fn storm(socket: &Path, end: &AtomicBool, sent: &AtomicU64) {
    let running = || !end.load(Ordering::Relaxed);
    while running() {
        let Ok(mut control) = Control::connect(socket) else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        while running() && control.execute("inject-nmi").is_ok() {
            sent.fetch_add(1, Ordering::Relaxed);
            thread::sleep(PAUSE);
        }
    }
}

//! The guest suite under a storm of non-maskable interrupts, which strike between any two
//! instructions of the kernel, also where its own `gs` or stack is not loaded yet.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;

use super::{guest_suite, protocol::Suite, tally::Tally};
use crate::{
    qemu::Machine,
    qmp::{self, Control},
};

/// How the names of the tests begin.
pub const KIND: &str = "guest[2 cores, NMI storm]";
/// The pause between two interrupts, which both cores get: the programs must make progress, too.
const PAUSE: Duration = Duration::from_micros(100);

/// Boots the suite and, once it has come up, interrupts it until the last few tests. (Firmware and
/// loader cannot take such an interrupt, and a QEMU that ends while a command is under way can hang.)
pub fn run(machine: &Machine, limit: Duration, tally: &mut Tally) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("qmp");
    let mut machine = Machine {
        cores: 2,
        ..machine.clone()
    };
    machine.extra.extend(qmp::arguments(&socket));
    let (blows, end) = (AtomicBool::new(false), AtomicBool::new(false));
    let sent = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                storm(&socket, &blows, &sent);
                thread::sleep(Duration::from_millis(1));
            }
        });
        let watch =
            |_: &str, suite: &Suite| blows.store(suite.is_in_full_swing(), Ordering::Relaxed);
        let result = guest_suite::run_and(KIND, &machine, limit, tally, watch);
        blows.store(false, Ordering::Relaxed);
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

/// Sends interrupts as long as the storm blows.
fn storm(socket: &Path, blows: &AtomicBool, sent: &AtomicU64) {
    let running = || blows.load(Ordering::Relaxed);
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

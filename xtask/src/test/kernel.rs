//! What the kernel refuses to itself, and what it says then: it provokes each of its protections
//! on purpose (`selftest=NAME`), and must end in the right panic.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::tally::Tally;
use crate::{
    guest::{Ending, Guest},
    qemu::Machine,
};

/// Seconds that a boot may take.
const LIMIT: u64 = 60;

/// The boot option, and what the panic must say.
const CASES: &[(&str, &[&str])] = &[
    // Error codes of page faults (Intel SDM vol. 3, 4.7): present 1, write 2, fetch 16.
    ("smap", &["page fault in the kernel: error code 0x1,"]),
    ("smep", &["page fault in the kernel: error code 0x11,"]),
    ("text", &["page fault in the kernel: error code 0x3,"]),
    ("text-alias", &["page fault in the kernel: error code 0x3,"]),
    (
        "text-identity",
        &["page fault in the kernel: error code 0x3,"],
    ),
    ("exec", &["page fault in the kernel: error code 0x11,"]),
    (
        "exec-alias",
        &["page fault in the kernel: error code 0x11,"],
    ),
    (
        "stack",
        &[
            "double fault, most likely a kernel stack overflow",
            "kernel::selftest::deepen+",
        ],
    ),
    (
        "panic",
        &[
            "as the command line asked",
            "at kernel/src/selftest.rs:",
            "kernel::selftest::inner+",
            "kernel::selftest::outer+",
            "kernel::start::main+",
        ],
    ),
];

/// Boots every case that the filter wants.
pub fn run(machine: &Machine, tally: &mut Tally) -> Result<()> {
    for (option, says) in CASES {
        let name = format!("kernel::selftest_{}", option.replace('-', "_"));
        if tally.wants(&name) {
            let result = panics(machine, option, says);
            tally.note(&name, result.map_err(|error| format!("{error:#}")));
        }
    }
    Ok(())
}

/// Whether the kernel panics and says all of it.
fn panics(machine: &Machine, option: &str, says: &[&str]) -> Result<()> {
    let mut machine = machine.clone();
    machine.cores = 2;
    machine.append.push(format!("selftest={option}"));
    let mut missing = says.to_vec();
    let limit = Some(Duration::from_secs(LIMIT));
    let report = Guest::start(&machine)?.watch(limit, |line| {
        if line.contains(" PANIC]") {
            missing.retain(|wanted| !line.contains(wanted));
        }
        Ok(())
    })?;
    if report.ending != Ending::Panic {
        bail!("the machine {}:\n{}", report.ending, report.evidence());
    }
    ensure!(
        missing.is_empty(),
        "the panic did not say {missing:?}:\n{}",
        report.evidence()
    );
    Ok(())
}

//! The other side of `bench --vs linux`: a kernel of Debian boots on our machine, every interface is
//! measured once, and only just.

use anyhow::{Context, Result, ensure};
use spillway_report::{Measurement, Method};

use super::tally::Tally;
use crate::{
    accel::Accelerator,
    bench::linux::Column,
    cli::TestOptions,
    qemu::{Disk, Machine},
    ui::Course,
    workspace::Workspace,
};

const TESTS: [(&str, Method); 2] = [
    (
        "bench::linux_is_counted_by_every_interface",
        Method::Counted,
    ),
    ("bench::linux_is_timed_by_every_interface", Method::Timed),
];
/// Seconds that a boot may take.
const LIMIT: u64 = 300;
/// Every interface, and the most instructions that a read may cost. Linux 6.1 needs at most 7,000.
const INTERFACES: [(&str, f64); 9] = [
    ("pread", 15_000.0),
    ("libaio", 15_000.0),
    ("io_uring", 15_000.0),
    ("io_uring_polled", 15_000.0),
    ("io_uring_fixed", 15_000.0),
    ("io_uring_fixed_polled", 15_000.0),
    ("passthrough", 15_000.0),
    ("passthrough_polled", 15_000.0),
    ("user_driver", 500.0),
];

/// Boots what the filter wants. Without packages that were fetched before, only in the long run.
pub fn run(
    workspace: &Workspace,
    options: &TestOptions,
    machine: &Machine,
    tally: &mut Tally,
) -> Result<()> {
    if !TESTS.iter().any(|(name, _)| tally.wants(name)) {
        return Ok(());
    }
    let mut column = Column::new(workspace, Some(options.machine.timeout.unwrap_or(LIMIT))).brief();
    if !column.is_fetched() && !options.soak {
        let how = "no kernel was fetched yet; `cargo xtask bench nvme --vs linux` or `--soak` does";
        TESTS.iter().for_each(|(name, _)| tally.skip(name, how));
        return Ok(());
    }
    let prepared = column.prepare().map_err(|error| format!("{error:#}"));
    for (name, method) in TESTS {
        if tally.wants(name) {
            let found = prepared.clone().and_then(|()| {
                let found = measure(&mut column, machine, method);
                found.map_err(|error| format!("{error:#}"))
            });
            tally.note(name, found);
        }
    }
    Ok(())
}

fn measure(column: &mut Column, machine: &Machine, method: Method) -> Result<()> {
    let mut machine = Machine {
        cores: 1,
        disk: Some(Disk::null(1 << 30)),
        ..machine.clone()
    };
    if method == Method::Counted {
        machine.accelerator = Accelerator::Tcg;
        machine
            .extra
            .extend(["-icount", "shift=0,sleep=off"].map(String::from));
    }
    let mut rows = Vec::new();
    column.measure((&machine, method), &Course::new(1), &mut rows)?;
    for (interface, most) in INTERFACES {
        for depth in [1, 32] {
            let row = |suffix: &str| row(&rows, &format!("linux/{interface}_qd{depth}{suffix}"));
            match method {
                Method::Counted => {
                    let cost = row("")?.value;
                    ensure!(
                        (10.0..most).contains(&cost),
                        "a read by {interface} at depth {depth} costs {cost} instructions"
                    );
                    row("_system_calls")?;
                }
                _ => {
                    ensure!(row("_iops")?.value > 0.0, "{interface} takes for ever");
                    ensure!(
                        !row("_latency")?.histogram.is_empty(),
                        "{interface} is not timed"
                    );
                    row("_latency_p99")?;
                }
            }
        }
    }
    ensure!(
        column
            .about
            .notes
            .iter()
            .any(|note| note.starts_with("kernel: ")),
        "Linux does not say which one it is"
    );
    Ok(())
}

fn row<'a>(rows: &'a [Measurement], name: &str) -> Result<&'a Measurement> {
    let found = rows.iter().find(|row| row.name == name);
    found.with_context(|| format!("{name} was not measured"))
}

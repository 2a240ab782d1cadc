//! One boot of a machine that measures. Whatever goes wrong ends the run, with the end of the log.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Result, bail};
use spillway_plan::Boot;
use spillway_report::collect::Collector;

use super::places::Plugin;
use crate::{
    guest::{Ending, Guest, TAIL},
    log,
    qemu::Machine,
    ui::Course,
};

/// Boots, and takes in what the machine reports.
pub fn boot(
    machine: &Machine,
    boot: &Boot,
    limit: Duration,
    course: &Course,
    places: Option<&Plugin>,
    collector: &mut Collector,
) -> Result<()> {
    let watched = match places {
        Some(plugin) => Some(plugin.watch(machine)?),
        None => None,
    };
    let machine = watched.as_ref().map_or(machine, |watched| &watched.machine);
    let mut records = collector.boot(boot)?;
    let mut tail = VecDeque::with_capacity(TAIL);
    let ended = Guest::start(machine)?.watch(Some(limit), |line| {
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line.to_string());
        if let Some(line) = log::parse(line)
            && let Some(what) = records.line(line.source, line.text)?
        {
            course.update(&what);
        }
        Ok(())
    });
    let report = ended.map_err(|error| {
        show(&tail);
        error.context("the machine was stopped; the end of its log is above")
    })?;
    match report.ending {
        Ending::Success => {}
        Ending::Interrupted => bail!("interrupted"),
        ref ending => {
            eprint!("{}", report.evidence());
            bail!("the machine {ending} while it measured; the end of its log is above");
        }
    }
    if let Some(watched) = &watched {
        records.places(&watched.read()?)?;
    }
    records.finish().map_err(|error| {
        show(&tail);
        error.context(format!(
            "the machine switched off with success, but its results are not whole; does its \
             manifest start {}? The end of its log is above",
            boot.program
        ))
    })
}

fn show(tail: &VecDeque<String>) {
    for line in tail {
        eprintln!("    {line}");
    }
}

//! The tests that run inside the system, with different numbers of cores.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{
    protocol::{self, Suite},
    tally::Tally,
};
use crate::{
    guest::{Ending, Guest, Report},
    qemu::Machine,
    ui::Step,
};

/// The arguments for the test program: a part of the names, if the filter can be one, and `soak`.
pub fn arguments(filter: Option<&str>, soak: bool) -> Vec<String> {
    let mut arguments = Vec::new();
    let name = filter.and_then(|filter| match filter.split_once("]::") {
        Some((_, name)) => Some(name),
        None => Some(filter).filter(|filter| !filter.contains([' ', '[', ']'])),
    });
    arguments.extend(name.filter(|name| !name.is_empty()).map(String::from));
    if soak {
        arguments.push("soak".into());
    }
    arguments
}

/// Whether the filter lets tests of this kind through, as `guest[2 cores]`.
pub fn wants(filter: Option<&str>, kind: &str) -> bool {
    let named = filter.and_then(|filter| {
        let named = &filter[filter.find("guest[")?..];
        Some(named.split_inclusive(']').next().unwrap_or(named))
    });
    named.is_none_or(|named| kind.contains(named))
}

/// The kind of test that a number of cores makes.
pub fn kind(count: u32) -> String {
    format!("guest[{}]", cores(count))
}

/// Boots the machine once and counts what its test programs report, as tests of a kind.
pub fn run(kind: &str, machine: &Machine, limit: Duration, tally: &mut Tally) -> Result<()> {
    run_and(kind, machine, limit, tally, |_, _| {})
}

/// The same; `watch` sees every line of the log, and how far the tests have come.
pub fn run_and(
    kind: &str,
    machine: &Machine,
    limit: Duration,
    tally: &mut Tally,
    mut watch: impl FnMut(&str, &Suite),
) -> Result<()> {
    let step = Step::new(format!(
        "booting the test programs with {}",
        cores(machine.cores)
    ));
    let mut suite = Suite::default();
    let report = Guest::start(machine)?.watch(Some(limit), |line| {
        if let Some(event) = protocol::parse(line) {
            suite.note(event);
            step.update(format!(
                "{kind}: {} tests have reported",
                suite.results.len()
            ));
        }
        watch(line, &suite);
        Ok(())
    })?;
    drop(step);
    if report.ending == Ending::Interrupted {
        bail!("interrupted");
    }
    let failed_before = suite.results.iter().any(|(_, result)| result.is_err());
    for (name, result) in &suite.results {
        tally.note(&format!("{kind}::{name}"), result.clone());
    }
    if let Some(reason) = verdict(&report, &suite, failed_before) {
        let evidence = report.evidence();
        let reason = format!("{reason}; the end of the log:\n{evidence}");
        tally.note_always(&format!("{kind}::the_machine"), Err(reason));
    } else if failed_before {
        tally.say(&report.evidence());
    }
    Ok(())
}

/// What is wrong with the run as a whole, beyond tests that failed.
fn verdict(report: &Report, suite: &Suite, failed: bool) -> Option<String> {
    let expected = if failed {
        Ending::Failure
    } else {
        Ending::Success
    };
    if report.ending != expected && !(failed && report.ending == Ending::Success) {
        let last = suite.results.last();
        let last = last.map_or("before any test".into(), |(name, _)| {
            format!("after {name}")
        });
        return Some(format!("it {} {last}", report.ending));
    }
    suite.fault()
}

fn cores(count: u32) -> String {
    match count {
        1 => "1 core".into(),
        _ => format!("{count} cores"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::protocol::Event, *};

    fn report(ending: Ending) -> Report {
        Report {
            ending,
            tail: Default::default(),
            complaints: String::new(),
        }
    }

    fn suite(result: Result<(), String>) -> Suite {
        let mut suite = Suite::default();
        suite.note(Event::Planned(1));
        suite.note(Event::Result("a".into(), result));
        suite.note(Event::Done);
        suite
    }

    #[test]
    fn the_filter_reaches_the_guest_where_it_can() {
        assert_eq!(arguments(Some("smap"), false), ["smap"]);
        assert_eq!(
            arguments(Some("guest[2 cores]::smap"), true),
            ["smap", "soak"]
        );
        assert!(arguments(Some("guest[2 cores]"), false).is_empty());
        assert!(arguments(Some("guest[2 cores]::"), false).is_empty());
        assert_eq!(arguments(None, true), ["soak"]);
        for filter in [None, Some("smap"), Some("guest["), Some("guest[2")] {
            assert!(wants(filter, "guest[2 cores]"));
        }
        let filter = Some("guest[2 cores]::a");
        assert!(wants(filter, "guest[2 cores]") && !wants(filter, "guest[1 core]"));
        assert!(!wants(filter, "guest[2 cores, NMI storm]"));
    }

    #[test]
    fn the_exit_code_counts_as_well() {
        let good = suite(Ok(()));
        assert_eq!(verdict(&report(Ending::Success), &good, false), None);
        for ending in [
            Ending::Failure,
            Ending::Panic,
            Ending::Other("reset".into()),
        ] {
            let reason = verdict(&report(ending), &good, false).unwrap();
            assert!(reason.contains("after a"), "{reason}");
        }
        let hang = verdict(
            &report(Ending::TimedOut(Duration::from_secs(5))),
            &good,
            false,
        );
        assert!(hang.unwrap().contains("within 5 seconds"));
    }

    #[test]
    fn a_failed_test_explains_a_failed_machine_but_not_a_panic() {
        let bad = suite(Err("x".into()));
        assert_eq!(verdict(&report(Ending::Failure), &bad, true), None);
        assert!(verdict(&report(Ending::Panic), &bad, true).is_some());
    }
}

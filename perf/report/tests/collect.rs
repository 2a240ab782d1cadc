//! From the log of a machine to rows, and everything that can be wrong with a log.

use spillway_plan::{Boot, Cases, Method, Plan, source};
use spillway_report::{Measurement, collect::Collector};
use spillway_wire::{
    Histogram, Quantity,
    frame::{self, Kind},
    message::{Begin, Latencies, Sample},
};

const PLAN: &str = r#"
about = "a test"
repetitions = 2
[[sweep]]
level = ["sync", "shared"]
queue_depth = 2
"#;

fn plan() -> Plan {
    source::parse("test", PLAN).unwrap()
}

fn boot(plan: &Plan, method: Method, level: &str) -> Boot {
    let mut boots = plan.boots().into_iter();
    boots
        .find(|boot| boot.method == method && boot.words.contains(&("{level}", level)))
        .unwrap()
}

fn begin(boot: &Boot) -> (Kind, String) {
    let begin = Begin {
        program: boot.program.clone(),
        method: boot.method,
        cpu: "a processor".into(),
        plan: boot
            .cases
            .as_ref()
            .map(|cases| Cases::checksum(&cases.encode().unwrap()).unwrap()),
    };
    (Kind::Begin, begin.to_string())
}

fn sample(case: u32, operations: u64, totals: &[(Quantity, u64)]) -> (Kind, String) {
    (
        Kind::Case,
        Sample::new(case, operations, totals, None).to_string(),
    )
}

fn end() -> (Kind, String) {
    (Kind::End, "{}".into())
}

/// Lines of a log, as `bench-io` would write them.
fn lines(records: &[(Kind, String)]) -> Vec<String> {
    let lines = records
        .iter()
        .enumerate()
        .flat_map(|(number, (kind, text))| {
            frame::lines(*kind, number as u32, text).map(|line| line.to_string())
        });
    lines.collect()
}

fn feed(collector: &mut Collector, boot: &Boot, lines: &[String]) -> anyhow::Result<()> {
    let mut log = collector.boot(boot)?;
    log.line("INFO", "4 cores are up")?;
    for line in lines {
        log.line("bench-io", line)?;
    }
    log.finish()
}

fn find<'a>(rows: &'a [Measurement], name: &str) -> &'a Measurement {
    rows.iter()
        .find(|row| row.name == name)
        .unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn totals_become_rows_with_the_labels_of_their_case() {
    let plan = plan();
    let boot = boot(&plan, Method::Counted, "shared");
    let id = boot.cases.as_ref().unwrap().cases[0].id;
    let mut collector = Collector::new(&plan);
    let totals = |instructions| {
        [
            (Quantity::Instructions, instructions),
            (Quantity::SystemCalls, 0),
            (Quantity::Kernel, 50),
        ]
    };
    let records = [
        begin(&boot),
        sample(id, 100, &totals(13_900)),
        sample(id, 100, &totals(14_100)),
        end(),
    ];
    feed(&mut collector, &boot, &lines(&records)).unwrap();
    let rows = &collector.results;
    let row = find(rows, "levels/shared_qd2");
    assert_eq!(
        (row.value, row.min, row.max, row.unit.as_str()),
        (140.0, 139.0, 141.0, "instructions")
    );
    assert_eq!(row.method, Method::Counted);
    for (label, value) in [
        ("level", "shared"),
        ("qd", "2"),
        ("batch", "2"),
        ("wait", "poll"),
        ("device", "nvme"),
        ("iommu", "on"),
    ] {
        assert_eq!(row.label(label), Some(value), "{label}");
    }
    assert_eq!(find(rows, "levels/shared_qd2_system_calls").value, 0.0);
    assert_eq!(find(rows, "levels/shared_qd2_kernel").value, 0.5);
    assert_eq!(rows.len(), 3, "what was not reported has no row");
    assert_eq!(collector.cpu.as_deref(), Some("a processor"));
}

#[test]
fn percentiles_are_those_of_all_repetitions_together() {
    let plan = plan();
    let boot = boot(&plan, Method::Timed, "sync");
    let id = boot.cases.as_ref().unwrap().cases[0].id;
    let mut collector = Collector::new(&plan);
    // Once all are fast, once all are slow: half of everything is fast.
    for latency in [10, 200] {
        let mut histogram = Histogram::new();
        (0..100).for_each(|_| histogram.record(latency));
        let told = Latencies::new(id, &histogram).unwrap().to_string();
        let time = sample(id, 1000, &[(Quantity::Nanoseconds, 2_000_000)]);
        let records = [begin(&boot), (Kind::Histogram, told), time, end()];
        feed(&mut collector, &boot, &lines(&records)).unwrap();
    }
    let rows = &collector.results;
    let row = find(rows, "levels/sync_qd2_iops");
    assert_eq!((row.value, row.samples.len()), (500_000.0, 2));
    let row = find(rows, "levels/sync_qd2_latency_p50");
    assert_eq!((row.value, row.min, row.max), (10.0, 10.0, 200.0));
    let row = find(rows, "levels/sync_qd2_latency_p90");
    assert_eq!((row.value, row.min, row.max), (200.0, 10.0, 200.0));
    let row = find(rows, "levels/sync_qd2_latency");
    assert_eq!(row.samples, [10.0, 200.0]);
    assert_eq!(row.histogram, [(10, 11, 100), (200, 201, 100)]);
}

#[test]
fn a_long_histogram_takes_several_lines() {
    let plan = plan();
    let boot = boot(&plan, Method::Timed, "sync");
    let id = boot.cases.as_ref().unwrap().cases[0].id;
    let mut histogram = Histogram::new();
    (0..2000).for_each(|value| histogram.record(value * value));
    let told = Latencies::new(id, &histogram).unwrap().to_string();
    let time = sample(id, 1, &[(Quantity::Nanoseconds, 1)]);
    let lines = lines(&[begin(&boot), (Kind::Histogram, told), time, end()]);
    assert!(lines.len() > 10);
    let mut collector = Collector::new(&plan);
    feed(&mut collector, &boot, &lines).unwrap();
    assert_eq!(
        find(&collector.results, "levels/sync_qd2_latency_max").value,
        1999.0 * 1999.0
    );
}

/// Records of a boot whose first case has this number.
type Records<'a> = dyn Fn(&Boot, u32) -> Vec<(Kind, String)> + 'a;

/// Why a log is refused.
fn refusal(method: Method, records: &Records<'_>) -> String {
    let plan = plan();
    let boot = boot(&plan, method, "sync");
    let id = boot.cases.as_ref().unwrap().cases[0].id;
    let lines = lines(&records(&boot, id));
    match feed(&mut Collector::new(&plan), &boot, &lines) {
        Ok(()) => "accepted".into(),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn what_contradicts_the_plan_is_refused() {
    use Method::{Counted, Timed};
    let one = [(Quantity::Instructions, 1)];
    let refused = |records: &Records<'_>| refusal(Counted, records);
    let good = |boot: &Boot, id| vec![begin(boot), sample(id, 1, &one), end()];
    assert_eq!(refused(&good), "accepted");
    let found = refused(&|boot, id| vec![begin(boot), sample(id + 1, 1, &one), end()]);
    assert!(found.contains("this boot has no case"), "{found}");
    let found = refused(&|boot, _| vec![begin(boot), end()]);
    assert!(
        found.contains("nobody reported case 0, level sync at depth 2"),
        "{found}"
    );
    let found = refused(&|boot, id| vec![begin(boot), sample(id, 0, &one), end()]);
    assert!(found.contains("without operations"), "{found}");
    let found = refused(&|boot, id| vec![begin(boot), sample(id, 1, &[]), end()]);
    assert!(found.contains("without totals"), "{found}");
    let strange = |boot: &Boot, id: u32| {
        let text = format!(r#"{{"case":{id},"operations":1,"totals":{{"joules":1}}}}"#);
        vec![begin(boot), (Kind::Case, text), end()]
    };
    let found = refused(&strange);
    assert!(found.contains("`joules`"), "{found}");
    let found = refused(&|boot, _| vec![begin(boot), (Kind::Case, "{".into()), end()]);
    assert!(found.contains("reported nonsense"), "{found}");
    let timed = r#"{"name":"a/b","unit":"x","method":"timed","better":"lower","samples":[1]}"#;
    let found = refused(&|boot, _| vec![begin(boot), (Kind::Result, timed.into()), end()]);
    assert!(found.contains("this is a counted run"), "{found}");
    let other = r#"{"program":"bench-io","method":"counted","plan":7}"#;
    let found = refused(&|_, id| vec![(Kind::Begin, other.into()), sample(id, 1, &one), end()]);
    assert!(found.contains("another list of cases"), "{found}");
    let other = r#"{"program":"bench-io","method":"timed"}"#;
    let found = refused(&|_, id| vec![(Kind::Begin, other.into()), sample(id, 1, &one), end()]);
    assert!(found.contains("begins a timed run"), "{found}");
    let latencies = r#"{"case":0,"sum":1,"min":1,"max":1,"buckets":[[1,1]]}"#;
    let found = refused(&|boot, _| vec![begin(boot), (Kind::Histogram, latencies.into()), end()]);
    assert!(found.contains("a counted run has no latencies"), "{found}");
    let wrong = |boot: &Boot, id: u32| {
        let text = format!(r#"{{"case":{id},"sum":1,"min":2,"max":1,"buckets":[[1,1]]}}"#);
        vec![begin(boot), (Kind::Histogram, text), end()]
    };
    let found = refusal(Timed, &wrong);
    assert!(found.contains("contradict themselves"), "{found}");
    let still = [(Quantity::Nanoseconds, 0)];
    let found = refusal(Timed, &|boot, id| {
        vec![begin(boot), sample(id, 1, &still), end()]
    });
    assert!(found.contains("took no time"), "{found}");
}

#[test]
fn a_log_that_is_damaged_or_cut_off_is_refused() {
    let plan = plan();
    let boot = boot(&plan, Method::Counted, "sync");
    let id = boot.cases.as_ref().unwrap().cases[0].id;
    let whole = lines(&[
        begin(&boot),
        sample(id, 1, &[(Quantity::Instructions, 1)]),
        end(),
    ]);
    let refusal = |lines: &[String]| {
        let error = feed(&mut Collector::new(&plan), &boot, lines).unwrap_err();
        format!("{error:#}")
    };
    assert!(refusal(&whole[..2]).contains("did not report to the end"));
    assert!(refusal(&[]).contains("nobody reported"));
    assert!(
        refusal(&[whole[0].clone(), whole[2].clone()]).contains("piece 1 of record 1 is missing")
    );
    let torn = vec![
        whole[0].clone(),
        whole[1][..30].to_string(),
        whole[2].clone(),
    ];
    assert!(refusal(&torn).contains("torn"), "{}", refusal(&torn));
    let garbage = vec![whole[0].clone(), "@\u{fffd}\u{fffd}x".into()];
    assert!(refusal(&garbage).contains("no record"));
}

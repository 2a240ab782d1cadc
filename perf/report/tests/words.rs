//! Tables and sentences: they fit, and they say what the rows say and nothing else.

mod common;

use common::{ABLATION, QUICK, document, row};
use spillway_report::{Measurement, case, table, why};

#[test]
fn tables_fit_a_terminal() {
    for text in [QUICK, ABLATION] {
        let table = table::render(&document(text).results);
        for line in table.lines() {
            assert!(
                line.chars().count() <= 100,
                "{} {line}",
                line.chars().count()
            );
        }
    }
}

#[test]
fn the_tables_have_what_was_found() {
    let table = table::render(&document(QUICK).results);
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let line = |words: &[&str]| {
        let mut lines = lines.iter();
        lines.find(|line| line.starts_with(words)).unwrap()
    };
    assert_eq!(line(&["sync", "1"])[2..6], ["poll", "1481", "89.8", "318"]);
    let mut sizes = table
        .lines()
        .skip_while(|line| !line.starts_with("the same program"));
    let sync = sizes.nth(1).unwrap();
    assert!(
        sync.starts_with("sync") && sync.contains("41,000"),
        "{sync}"
    );
    let table = table::render(&document(ABLATION).results);
    assert!(table.contains("-642"), "{table}");
}

#[test]
fn a_plain_table_shows_limits_and_only_telling_labels() {
    let rows = [
        row(
            "kernel/null_syscall",
            "counted",
            "lower",
            "cores=1",
            &[45.0],
        ),
        row(
            "boot/kernel_to_user",
            "counted",
            "lower",
            "",
            &[2_345_678.0],
        ),
        row("a/b", "counted", "lower", "wait=poll cores=1", &[1.0]),
        row("a/b", "counted", "lower", "wait=interrupt cores=1", &[2.0]),
    ];
    let table = table::render(&rows);
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    assert!(
        table.contains("2,345,678") && table.contains("3 M"),
        "{table}"
    );
    assert!(table.contains("a/b wait=interrupt"), "{table}");
    assert!(!table.contains("cores=1"), "{table}");
}

/// The sentences on the one case that these rows are of.
fn reason(rows: &[Measurement]) -> String {
    let cases = case::cases(rows);
    let groups = case::groups(&cases);
    let mut reasons = why::reasons(&groups[0]);
    assert_eq!(reasons.len(), 1);
    reasons.remove(0).text()
}

fn counted(suffix: &str, value: f64) -> Measurement {
    let labels = "level=async qd=32 batch=32 reads=100";
    row(
        &format!("levels/async_qd32{suffix}"),
        "counted",
        "lower",
        labels,
        &[value],
    )
}

#[test]
fn sentences_say_what_the_rows_say() {
    let all = [
        counted("", 323.0),
        counted("_app", 54.0),
        counted("_driver", 96.0),
        counted("_kernel", 180.0),
        counted("_system_calls", 3.0 / 32.0),
        counted("_address_space_switches", 2.0 / 32.0),
        counted("_interrupts", 0.0),
        counted("_mmio_writes", 1.0 / 32.0),
        counted("_bytes_copied", 0.0),
    ];
    assert_eq!(
        reason(&all),
        "A read costs 323 instructions of work. 55\u{a0}% of them are spent in the kernel. \
         A batch of 32 takes 3 system calls, 2 address-space switches, 1 register write and no interrupt. \
         No byte is copied."
    );
    assert_eq!(reason(&all[..1]), "A read costs 323 instructions of work.");
}

#[test]
fn what_was_not_measured_is_not_mentioned() {
    let full = reason(&[counted("", 323.0), counted("_system_calls", 0.0)]);
    assert_eq!(
        full,
        "A read costs 323 instructions of work. It takes no system call."
    );
    for word in ["switch", "interrupt", "copied", "kernel", "second", "wake"] {
        assert!(!full.contains(word), "{word}: {full}");
    }
}

#[test]
fn zero_is_said_of_places_only_where_it_was_counted() {
    let labels = "level=integrated qd=1 reads=0";
    let row = |suffix: &str, value: f64| {
        row(
            &format!("levels/integrated_qd1{suffix}"),
            "counted",
            "lower",
            labels,
            &[value],
        )
    };
    let text = reason(&[row("", 60.0), row("_app", 60.0), row("_kernel", 0.0)]);
    assert_eq!(
        text,
        "A write costs 60 instructions of work. All of them are spent in the application, and none in the kernel."
    );
    // A part of a whole that is not known is no share.
    let text = reason(&[row("", 60.0), row("_app", 60.0)]);
    assert_eq!(text, "A write costs 60 instructions of work.");
}

#[test]
fn the_next_level_says_what_it_saves_and_where() {
    let row = |level: &str, depth: u32, suffix: &str, value: f64| {
        let labels = format!("level={level} qd={depth} threads=1 batch={depth} reads=100");
        let name = format!("levels/{level}_qd{depth}{suffix}");
        row(&name, "counted", "lower", &labels, &[value])
    };
    let rows = [
        row("sync", 1, "", 3974.0),
        row("sync", 1, "_app", 307.0),
        row("sync", 1, "_driver", 300.0),
        row("sync", 1, "_kernel", 3367.0),
        row("async", 32, "", 1172.0),
        row("async", 32, "_app", 167.0),
        row("async", 32, "_driver", 320.0),
        row("async", 32, "_kernel", 685.0),
        row("integrated", 32, "", 162.0),
        row("integrated", 32, "_app", 162.0),
    ];
    let cases = case::cases(&rows);
    let reasons = why::reasons(&case::groups(&cases)[0]);
    let says =
        "Async at depth 32 saves 2802 of them: 2682 in the kernel and 140 in the application.";
    assert_eq!(reasons[0].sentences.last().unwrap(), says);
    // Where the next one's instructions went is not known, and the last has no next.
    for reason in &reasons[1..] {
        assert!(!reason.text().contains("saves"), "{}", reason.text());
    }
}

#[test]
fn what_hardly_ever_happens_is_not_mentioned() {
    let text = reason(&[
        counted("", 323.0),
        counted("_interrupts", 0.0013),
        counted("_bytes_copied", 0.08),
        counted("_system_calls", 2.0),
    ]);
    assert_eq!(
        text,
        "A read costs 323 instructions of work. A batch of 32 takes 64 system calls."
    );
}

#[test]
fn at_a_rate_it_is_latency_that_counts() {
    let row = |suffix: &str, value: f64| {
        let labels = "level=shared qd=32 rate=5000 reads=100";
        row(
            &format!("levels/shared_qd32{suffix}"),
            "timed",
            "lower",
            labels,
            &[value],
        )
    };
    let text = reason(&[
        row("_latency_p50", 20_000.0),
        row("_latency_p99", 3_000_000.0),
        row("_iops", 4999.0),
    ]);
    assert_eq!(
        text,
        "At a rate of 5000 a second, half of them took no longer than 20 µs, 99 in a hundred no longer than 3 ms."
    );
}

#[test]
fn a_readme_gets_whole_tables() {
    let text = spillway_report::markdown::render(&document(QUICK));
    let tables: Vec<Vec<&str>> = text
        .split("\n\n")
        .map(|table| table.lines().collect())
        .collect();
    assert_eq!(tables.len(), 2);
    for table in &tables {
        let columns = |line: &str| line.matches('|').count();
        assert!(table.iter().all(|line| columns(line) == columns(table[0])));
    }
    assert!(
        tables[0][2].starts_with("| sync | 1 | 1481 | 89.8 | 318 |"),
        "{text}"
    );
    assert!(tables[1][2].starts_with("| sync | 41,000 |"), "{text}");
}

#[test]
fn odd_numbers_stay_per_operation() {
    let text = reason(&[counted("_system_calls", 0.05), counted("", 1.0)]);
    assert!(text.contains("It takes 0.05 system calls."), "{text}");
}

#[test]
fn levels_are_compared_with_the_cheapest() {
    let document = document(QUICK);
    let cases = case::cases(&document.results);
    let groups = case::groups(&cases);
    assert_eq!(groups.len(), 1, "everything is under the same conditions");
    let reasons = why::reasons(&groups[0]);
    let series: Vec<_> = reasons
        .iter()
        .map(|reason| reason.series.as_str())
        .collect();
    assert_eq!(
        series,
        [
            "sync",
            "async",
            "shared",
            "integrated",
            "linux io_uring (interrupt)",
            "linux io_uring_polled",
            "linux libaio (interrupt)",
            "linux passthrough (interrupt)",
            "linux passthrough_polled",
            "linux pread (interrupt)",
            "linux user_driver"
        ]
    );
    let texts: Vec<_> = reasons.iter().map(|reason| reason.text()).collect();
    let says = "times those of integrated at depth 32";
    assert!(texts[0].contains(says), "{}", texts[0]);
    let cheapest = &texts[3];
    assert!(!cheapest.contains("times"), "{cheapest}");
}

#[test]
fn steps_are_in_order_and_in_no_group() {
    let document = document(ABLATION);
    let cases = case::cases(&document.results);
    assert!(case::groups(&cases).is_empty());
    let steps = case::steps(&cases);
    let numbers: Vec<_> = steps.iter().map(|(step, _)| &step[..1]).collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn groups_say_what_tells_them_apart() {
    let rows = [
        row(
            "levels/sync_qd1",
            "counted",
            "lower",
            "level=sync qd=1 wait=poll iommu=on",
            &[1.0],
        ),
        row(
            "levels/sync_qd1",
            "counted",
            "lower",
            "level=sync qd=1 wait=interrupt iommu=on",
            &[2.0],
        ),
        row(
            "levels/sync_qd4",
            "counted",
            "lower",
            "level=sync qd=4 wait=interrupt iommu=on",
            &[2.0],
        ),
    ];
    let cases = case::cases(&rows);
    let titles: Vec<_> = case::groups(&cases)
        .iter()
        .map(|group| group.title.clone())
        .collect();
    assert_eq!(titles, ["", "wait poll"]);
    let mut group = case::groups(&cases)[1].clone();
    assert_eq!(group.heading(), "with wait poll");
    group.title = "without rate".into();
    assert_eq!(group.heading(), "without rate");
}

#[test]
fn another_system_that_costs_less_is_said_to() {
    let rows = [
        row(
            "levels/sync_qd1",
            "counted",
            "lower",
            "level=sync qd=1",
            &[100.0],
        ),
        row(
            "linux/a_qd1",
            "counted",
            "lower",
            "system=linux level=a qd=1",
            &[25.0],
        ),
    ];
    let cases = case::cases(&rows);
    let reasons = why::reasons(&case::groups(&cases)[0]);
    let words = |reason: &why::Reason| reason.sentences[0].clone();
    assert!(!words(&reasons[0]).contains("times"));
    assert!(words(&reasons[1]).contains("0.25 times those of sync at depth 1"));
}

#[test]
fn another_system_joins_every_group_with_its_workload() {
    let linux = |name: &str, wait: &str, block: &str| {
        let labels = format!(
            "system=linux level={name} qd=1 wait={wait} iommu=off block_size={block} cores=1"
        );
        let name = format!("linux/{name}_qd1");
        row(&name, "counted", "lower", &labels, &[9.0])
    };
    let ours = |more: &str| {
        let labels = format!("level=sync qd=1 iommu=on block_size=4096 {more}");
        row("levels/sync_qd1", "counted", "lower", &labels, &[1.0])
    };
    let rows = [
        ours("wait=poll"),
        ours("wait=interrupt cores=1"),
        ours("wait=poll cores=2"),
        ours("wait=poll rate=100"),
        linux("a", "interrupt", "4096"),
        linux("b", "poll", "4096"),
        linux("c", "poll", "512"),
    ];
    let cases = case::cases(&rows);
    let groups = case::groups(&cases);
    let names = |group: &case::Group| group.series().into_iter().map(|(name, _)| name).collect();
    let mut all: Vec<Vec<String>> = groups.iter().map(names).collect();
    all.sort();
    assert_eq!(
        all,
        [
            vec!["linux c"],
            vec!["sync"],
            vec!["sync"],
            vec!["sync", "linux a", "linux b (poll)"],
            vec!["sync", "linux a (interrupt)", "linux b"],
        ]
    );
    let polled = groups
        .iter()
        .find(|group| group.series()[1].0.ends_with("(interrupt)"));
    let others = polled.unwrap().others();
    assert_eq!(others, [("linux", vec![("cores", "1"), ("iommu", "off")])]);
    assert_eq!(polled.unwrap().levels(), ["sync"]);
}

#[test]
fn cases_of_one_depth_are_told_apart() {
    let rows = [
        row(
            "levels/async_qd32",
            "counted",
            "lower",
            "level=async qd=32 batch=8",
            &[1.0],
        ),
        row(
            "levels/async_qd32",
            "counted",
            "lower",
            "level=async qd=32 batch=32",
            &[2.0],
        ),
    ];
    let cases = case::cases(&rows);
    let groups = case::groups(&cases);
    let names: Vec<_> = groups[0]
        .series()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["async, batch 32", "async, batch 8"]);
}

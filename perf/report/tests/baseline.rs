//! The rule by which something has changed.

mod common;

use common::{QUICK, document, empty, row};
use spillway_report::baseline::{Verdict, compare};

/// The verdict on a row with these samples now and then.
fn verdict(method: &str, better: &str, now: &[f64], then: &[f64]) -> Verdict {
    let with = |samples| {
        let mut document = empty();
        document.results = vec![row("a/b", method, better, "", samples)];
        document
    };
    let (new, old) = (with(now), with(then));
    compare(&new, &old).changes[0].verdict
}

#[test]
fn only_what_lies_beyond_the_spread_has_changed() {
    let timed = |now: &[f64], then: &[f64]| verdict("timed", "lower", now, then);
    assert_eq!(
        timed(&[100.0, 101.0, 102.0], &[100.0, 101.0, 102.0]),
        Verdict::Same
    );
    // The ranges touch.
    assert_eq!(
        timed(&[110.0, 120.0, 130.0], &[90.0, 100.0, 110.0]),
        Verdict::Same
    );
    assert_eq!(
        timed(&[111.0, 120.0, 130.0], &[90.0, 100.0, 110.0]),
        Verdict::Worse
    );
    assert_eq!(
        timed(&[90.0, 100.0, 110.0], &[111.0, 120.0, 130.0]),
        Verdict::Better
    );
    // Apart, but by less than the noise of a timed figure.
    assert_eq!(
        timed(&[104.0, 105.0, 105.0], &[100.0, 100.0, 100.0]),
        Verdict::Same
    );
    assert_eq!(
        timed(&[105.2, 105.1, 105.2], &[100.0, 100.0, 100.0]),
        Verdict::Worse
    );
}

#[test]
fn more_can_be_better() {
    let now = [130.0, 131.0, 132.0];
    let then = [100.0, 101.0, 102.0];
    assert_eq!(verdict("timed", "higher", &now, &then), Verdict::Better);
    assert_eq!(verdict("timed", "higher", &then, &now), Verdict::Worse);
}

#[test]
fn too_few_timed_repetitions_decide_nothing_and_counted_ones_do() {
    assert_eq!(
        verdict("timed", "lower", &[200.0, 201.0], &[100.0, 101.0, 102.0]),
        Verdict::Undecided
    );
    assert_eq!(
        verdict("timed", "lower", &[200.0, 201.0, 202.0], &[100.0]),
        Verdict::Undecided
    );
    assert_eq!(
        verdict("counted", "lower", &[102.0], &[100.0]),
        Verdict::Worse
    );
    assert_eq!(
        verdict("counted", "lower", &[101.0], &[100.0]),
        Verdict::Same
    );
    assert_eq!(verdict("counted", "lower", &[1.0], &[0.0]), Verdict::Worse);
    assert_eq!(verdict("counted", "lower", &[0.0], &[0.0]), Verdict::Same);
}

#[test]
fn an_outlier_among_many_samples_hides_nothing() {
    let mut now = vec![120.0; 19];
    now.push(10.0);
    assert_eq!(
        verdict("timed", "lower", &now, &[100.0; 20]),
        Verdict::Worse
    );
}

#[test]
fn a_result_has_not_changed_against_itself() {
    let document = document(QUICK);
    let comparison = compare(&document, &document);
    assert!(comparison.warnings.is_empty());
    assert_eq!(comparison.count(Verdict::Same), document.results.len());
    assert_eq!(
        comparison.render(),
        format!(
            "Against the earlier result: 0 worse, 0 better, {} the same.\n",
            document.results.len()
        )
    );
}

#[test]
fn new_and_gone_rows_and_other_machines_are_told() {
    let (mut new, mut old) = (empty(), empty());
    new.results = vec![
        row("a/b", "counted", "lower", "qd=1", &[150.0]),
        row("n/n", "counted", "lower", "", &[1.0]),
    ];
    old.results = vec![
        row("a/b", "counted", "lower", "qd=1", &[100.0]),
        row("a/b", "counted", "lower", "qd=2", &[1.0]),
    ];
    old.environment.cpu = "another".into();
    old.environment.seed = None;
    let text = compare(&new, &old).render();
    assert!(
        text.contains("1 worse, 0 better, 0 the same, 1 new, 1 gone."),
        "{text}"
    );
    assert!(
        text.contains("worse: a/b counted, 100 x → 150 x (+50.0 %)"),
        "{text}"
    );
    assert!(
        text.contains(
            "warning: The processor is a made-up processor, it was another: timed figures"
        ),
        "{text}"
    );
    assert!(
        text.contains("warning: The seed is 1, it was none"),
        "{text}"
    );
}

//! The page without a browser: it is whole, it asks nobody for anything, and its marks carry the
//! data. What a browser makes of it is a test of `cargo xtask test page`.

mod common;

use common::{ABLATION, QUICK, document, row};
use spillway_report::{Document, baseline, page};

fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    let parts = text.split(start).skip(1);
    parts
        .filter_map(|part| Some(part.split_once(end)?.0))
        .collect()
}

#[test]
fn nothing_is_loaded_from_anywhere_and_nothing_is_executed() {
    for text in [QUICK, ABLATION] {
        let page = page::render(&document(text), None);
        assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'"));
        for word in [
            "http://",
            "https://",
            "src=",
            "href=",
            "url(",
            "@import",
            "<link",
            "onload",
            "javascript",
        ] {
            assert!(!page.contains(word), "{word}");
        }
        assert_eq!(page.matches("<script").count(), 1);
    }
}

#[test]
fn the_page_has_its_own_data() {
    for text in [QUICK, ABLATION] {
        let page = page::render(&document(text), None);
        let data = between(&page, "id=\"data\">", "</script>");
        assert!(Document::parse(data[0]).unwrap() == document(text));
    }
}

#[test]
fn marks_show_the_values_of_their_rows() {
    for (text, at_least) in [(QUICK, 100), (ABLATION, 100)] {
        let document = document(text);
        let page = page::render(&document, None);
        let marks = between(&page, "data-row=\"", ">");
        assert!(marks.len() > at_least, "{}", marks.len());
        for mark in marks {
            let (row, rest) = mark.split_once("\" data-value=\"").unwrap();
            let value: f64 = rest.split('"').next().unwrap().parse().unwrap();
            let row: usize = row.parse().unwrap();
            assert_eq!(
                document.results[row].value, value,
                "{}",
                document.results[row].name
            );
        }
    }
}

#[test]
fn each_plot_is_there_if_its_rows_are() {
    let quick = page::render(&document(QUICK), None);
    for class in ["throughput", "latency", "cost"] {
        assert!(
            quick.contains(&format!("svg class=\"wide {class}"))
                || quick.contains(&format!("svg class=\"{class}")),
            "{class}"
        );
    }
    assert!(!quick.contains("svg class=\"wide waterfall") && quick.contains("table class=\"sizes"));
    let ablation = page::render(&document(ABLATION), None);
    assert!(ablation.contains("svg class=\"wide waterfall") && !ablation.contains("throughput\""));
    let mut bare = common::empty();
    bare.results = vec![row("kernel/null_syscall", "counted", "lower", "", &[61.0])];
    let bare = page::render(&bare, None);
    assert!(!bare.contains("<svg") && bare.contains("at most 60 are allowed"));
}

#[test]
fn a_document_without_rows_or_with_strange_texts_still_has_a_page() {
    let mut strange = common::empty();
    assert!(page::render(&strange, None).contains("0 figures"));
    let labels = "level=</script><u> qd=x";
    strange.results = vec![row("levels/<u>&\"", "timed", "lower", labels, &[0.0])];
    strange.environment.cpu = "</script><script>alert(1)</script>".into();
    let page = page::render(&strange, None);
    assert!(
        !page.contains("<script>") && !page.contains("<u>"),
        "texts are escaped"
    );
    assert_eq!(page.matches("</script").count(), 1);
}

#[test]
fn a_comparison_stands_on_the_page() {
    let (mut new, mut old) = (common::empty(), common::empty());
    new.results = vec![row("a/b", "counted", "lower", "", &[150.0])];
    old.results = vec![row("a/b", "counted", "lower", "", &[100.0])];
    let comparison = baseline::compare(&new, &old);
    let page = page::render(&new, Some(&comparison));
    assert!(page.contains("1 worse") && page.contains("+50.0 %"));
}

//! The form of results: read as it was written, and refused if it is another.

mod common;

use common::{ABLATION, QUICK, document, row};
use proptest::prelude::*;
use serde_json::{Value, json};
use spillway_report::{Document, Measurement, csv, schema};

#[test]
fn a_document_is_read_as_it_was_written() {
    for text in [QUICK, ABLATION] {
        let document = document(text);
        assert!(
            document.to_json().unwrap() == text,
            "it is written as it was"
        );
        assert!(Document::parse(&document.to_json().unwrap()).unwrap() == document);
    }
}

#[test]
fn a_document_from_before_plans_were_kept_is_read() {
    let mut value: Value = serde_json::from_str(QUICK).unwrap();
    let environment = value["environment"].as_object_mut().unwrap();
    environment.remove("plan");
    environment.remove("flags");
    assert!(
        Document::parse(&value.to_string())
            .unwrap()
            .environment
            .plan
            .is_none()
    );
}

/// The sentence by which a changed document is refused.
fn refusal(change: impl Fn(&mut Value)) -> String {
    let mut value: Value = serde_json::from_str(ABLATION).unwrap();
    change(&mut value);
    match Document::parse(&value.to_string()) {
        Ok(_) => "accepted".into(),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn what_breaks_the_form_is_refused_by_a_sentence() {
    assert_eq!(refusal(|_| ()), "accepted");
    let found = refusal(|value| value["schema"] = json!(2));
    assert!(found.contains("schema 2, this program reads 1"), "{found}");
    let found = refusal(|value| drop(value.as_object_mut().unwrap().remove("schema")));
    assert!(found.contains("it has no `schema`"), "{found}");
    let found = refusal(|value| drop(value["results"][0].as_object_mut().unwrap().remove("unit")));
    assert!(found.contains("missing field `unit`"), "{found}");
    let found = refusal(|value| value["results"][0]["method"] = json!("guessed"));
    assert!(found.contains("unknown variant `guessed`"), "{found}");
    let found = refusal(|value| value["results"][0]["value"] = json!(1e9));
    assert!(found.contains("outside of its samples"), "{found}");
    let found = refusal(|value| value["results"][0]["min"] = json!(-1));
    assert!(found.contains("go from"), "{found}");
    let found = refusal(|value| value["results"][0]["samples"] = json!([]));
    assert!(found.contains("has 0 samples"), "{found}");
    let found = refusal(|value| value["results"][0]["name"] = json!(""));
    assert!(found.contains("has no name"), "{found}");
    let found = refusal(|value| value["results"][0]["histogram"] = json!([[5, 5, 1]]));
    assert!(found.contains("histogram"), "{found}");
    let found = refusal(|value| value["results"][0]["histogram"] = json!([[5, 7, 1], [6, 8, 1]]));
    assert!(found.contains("histogram"), "{found}");
    let found = refusal(|value| {
        let again = value["results"][0].clone();
        value["results"].as_array_mut().unwrap().push(again);
    });
    assert!(found.contains("twice with the same labels"), "{found}");
    assert!(Document::parse("garbage").is_err());
}

#[test]
fn figures_of_programs_are_checked() {
    let figure = |samples: &str| {
        let json = format!(
            r#"{{"name":"a/b","unit":"x","method":"timed","better":"lower","samples":{samples}}}"#
        );
        Measurement::parse(&json)
    };
    let found = figure("[41,40,44]").unwrap();
    assert_eq!((found.value, found.min, found.max), (41.0, 40.0, 44.0));
    let error = figure("[]").unwrap_err().to_string();
    assert!(error.contains("0 samples; report 1 to 100000"), "{error}");
    let most = |count: usize| figure(&format!("[{}]", vec!["1"; count].join(",")));
    assert!(most(schema::MAX_SAMPLES).is_ok() && most(schema::MAX_SAMPLES + 1).is_err());
    assert!(figure("[null]").is_err() && figure("[1e999]").is_err());
    assert!(
        Measurement::parse(
            r#"{"name":"a","unit":"x","method":"timed","better":"lower","samples":[1],"more":1}"#
        )
        .is_err()
    );
}

#[test]
fn samples_of_one_quantity_are_joined() {
    let mut rows = Vec::new();
    for (labels, samples) in [
        ("cores=1", [4.0, 2.0]),
        ("cores=2", [9.0, 9.0]),
        ("cores=1", [8.0, 6.0]),
    ] {
        schema::add(&mut rows, row("a/b", "timed", "lower", labels, &samples)).unwrap();
    }
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].value, rows[0].min, rows[0].max), (5.0, 2.0, 8.0));
    assert_eq!(rows[0].samples, [4.0, 2.0, 8.0, 6.0]);
}

#[test]
fn csv_has_a_line_for_each_row_and_a_column_for_each_label() {
    let mut document = common::empty();
    document.results = vec![
        row("a/b", "timed", "lower", "qd=1 note=x,y", &[1.0, 3.0]),
        row("c/d", "counted", "higher", "level=sync", &[0.5]),
    ];
    assert_eq!(
        csv::render(&document).unwrap(),
        "name,method,unit,better,value,min,max,samples,level,note,qd\n\
         a/b,timed,x,lower,2,1,3,1 3,,\"x,y\",1\n\
         c/d,counted,x,higher,0.5,0.5,0.5,0.5,sync,,\n"
    );
}

proptest! {
    #[test]
    fn any_text_is_survived(text in ".{0,200}") {
        let _ = Document::parse(&text);
        let _ = Measurement::parse(&text);
    }

    #[test]
    fn any_damage_is_survived(at in 0..100_000usize, byte in 0x20..0x7fu8) {
        let mut bytes = ABLATION.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = Document::parse(&String::from_utf8_lossy(&bytes));
    }
}

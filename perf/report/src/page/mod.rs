//! One HTML file with everything: plots, tables, reasons, and the data itself. It asks nobody for
//! anything, and needs no scripts.
//!
//! The plots are drawn here, not by a plotting crate: the marks then are elements with names, which
//! take their colours from the page in its light and its dark form, and carry the rows that they
//! show, so that a test can read the data back from what a browser made of it.

mod cards;
mod cost;
mod environment;
mod latency;
mod plot;
mod tables;
mod throughput;
mod waterfall;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use spillway_plan::{Plan, source};

use crate::{
    Document, Measurement,
    baseline::{Comparison, Verdict},
    case::{self, Group},
    limits,
};

const STYLE: &str = include_str!("style.css");
/// Nothing is loaded from anywhere, and nothing is executed.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// What every part of the page may look at.
pub(crate) struct Context<'a> {
    document: &'a Document,
}

impl Context<'_> {
    /// The position of a row in the document, by which a mark says what it shows.
    fn index(&self, row: &Measurement) -> usize {
        let rows = self.document.results.iter();
        rows.take_while(|other| !std::ptr::eq(*other, row)).count()
    }
}

/// The page of a document, with what has changed since an earlier one.
pub fn render(document: &Document, comparison: Option<&Comparison>) -> String {
    let context = Context { document };
    let file = document.environment.plan.as_ref();
    let plan = file.and_then(|file| source::parse(&file.name, &file.text).ok());
    let name = file.map_or("results", |file| file.name.as_str());
    let cases = case::cases(&document.results);
    let groups = case::groups(&cases);
    let steps = case::steps(&cases);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { "Spillway: " (name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (head(document, name, plan.as_ref()))
                    @if let Some(comparison) = comparison { (changes(comparison)) }
                    (waterfall::section(&context, &steps))
                    @for group in &groups { (section(&context, group)) }
                    @for sentence in case::checks(&cases) { p.note.checked { (sentence) } }
                    (tables::sizes(&context))
                    (tables::all(&context))
                    (environment::how_to_read())
                    (environment::section(document))
                    footer { "Made by cargo xtask bench " (name) "." }
                }
                script type="application/json" id="data" { (PreEscaped(data(document))) }
            }
        }
    };
    page.into_string()
}

fn head(document: &Document, name: &str, plan: Option<&Plan>) -> Markup {
    let environment = &document.environment;
    let commit: String = environment.commit.chars().take(12).collect();
    let over = limits::over(&document.results);
    html! {
        header {
            h1 { "Spillway " small { (name) } }
            @if let Some(plan) = plan { p.lead { (plan.about) } }
            ul.meta {
                li { "commit " b { (commit) @if environment.dirty { " with changes" } } }
                li { "profile " b { (environment.profile) } }
                li { "accelerator " b { (environment.accelerator) } }
                @if !environment.qemu_version.is_empty() {
                    li { "QEMU " b { (environment.qemu_version) } }
                }
                li { b { (environment.cpu) } }
                @if let Some(seed) = environment.seed { li { "seed " b { (seed) } } }
            }
            @if environment.profile == "debug" {
                p.note.bad { "This is a debug build: the figures say little." }
            }
            @if environment.accelerator == "tcg" {
                p.note {
                    "The guest ran under emulation. Instructions are exact. Times are those of the emulator: \
                     compare them with each other on this page, not with a real machine's."
                }
            }
            @if !over.is_empty() {
                div.note.bad { @for sentence in &over { p { (sentence) "." } } }
            }
        }
    }
}

fn section(context: &Context, group: &Group) -> Markup {
    html! {
        section {
            h2 {
                @if group.title.is_empty() { "What a level costs, and why" }
                @else { "The same " (group.heading()) }
            }
            (cards::cards(group))
            p.caption { "Everywhere here: " (conditions(&group.conditions())) "." }
            @for (system, own) in group.others().iter().filter(|(_, own)| !own.is_empty()) {
                p.caption { "Only for " (system) ": " (conditions(own)) "." }
            }
            (throughput::figure(context, group))
            (latency::figure(context, group))
            (cost::figure(context, group))
            (tables::vector(context, group))
        }
    }
}

fn conditions(all: &[(&str, &str)]) -> Markup {
    html! {
        @for (index, (name, value)) in all.iter().enumerate() {
            @if index > 0 { ", " }
            (name.replace('_', " ")) " " b { (value) }
        }
    }
}

fn changes(comparison: &Comparison) -> Markup {
    let changed = comparison.changes.iter();
    let changed: Vec<_> = changed
        .filter(|change| change.verdict <= Verdict::Better)
        .collect();
    html! {
        section #changes {
            h2 { "What has changed" }
            p { (comparison.summary()) }
            @for warning in &comparison.warnings { p.note.bad { (warning) "." } }
            @if !changed.is_empty() {
                figure { div.scroll { table {
                    thead { tr { th.word { "figure" } th.word { "method" } th { "then" } th { "now" } th { "change" } } }
                    tbody { @for change in changed { tr {
                        td.word { (change.new.name) }
                        td.word { (change.new.method.name()) }
                        td { (crate::number::with_unit(change.old.value, &change.old.unit)) }
                        td { (crate::number::with_unit(change.new.value, &change.new.unit)) }
                        td.good[change.verdict == Verdict::Better].bad[change.verdict == Verdict::Worse] {
                            @if change.ratio().is_finite() { (format!("{:+.1} %", 100.0 * change.ratio())) }
                        }
                    } } }
                } } }
            }
            p.caption {
                "Changed means: the spreads of the repetitions do not overlap, and the medians are more than 1 % \
                 (counted) or 5 % (timed) apart."
            }
        }
    }
}

/// The document in the page, so that the page is enough. In JSON, `<` is only ever part of a text.
fn data(document: &Document) -> String {
    let json = serde_json::to_string(document).unwrap_or_default();
    json.replace('<', "\\u003c")
}

//! The steps of an ablation: what each one saves of the cost of an operation.

use maud::{Markup, html};
use spillway_wire::{Method, Quantity};

use super::{
    Context,
    plot::{Scale, at, colour, hint, line, text, ticks},
};
use crate::{
    Measurement,
    case::{Case, What},
    number::{number, short},
};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 50.0;
const ROW: f64 = 38.0;
const BAR: f64 = 20.0;

/// The section; nothing without steps.
pub fn section(context: &Context, steps: &[(&str, Case)]) -> Markup {
    let rows: Vec<(&str, &Case, &Measurement)> = steps
        .iter()
        .filter_map(|(step, case)| {
            let row = case.row(Method::Counted, What::PerOperation(Quantity::Instructions))?;
            Some((*step, case, row))
        })
        .collect();
    if rows.len() < 2 {
        return html! {};
    }
    let (first, last) = (rows[0].2.value, rows[rows.len() - 1].2.value);
    html! {
        section {
            h2 { "One step at a time" }
            p {
                "From " b { (number(first)) } " to " b { (number(last)) } " instructions for one operation"
                @if last > 0.0 && first > last { ", " b { (short(first / last)) " times" } " fewer" }
                "."
            }
            figure {
                ul.legend {
                    li { i.good {} "saved by the step" }
                    li { i.bad {} "added by it" }
                    li { i.unsplit {} "where it begins" }
                }
                div.scroll { (plot(context, &rows)) }
                figcaption { "Counted, instructions of work for one operation. The number at the right is what remains." }
            }
            (table(steps))
        }
    }
}

fn plot(context: &Context, rows: &[(&str, &Case, &Measurement)]) -> Markup {
    let height = TOP + ROW * rows.len() as f64 + BOTTOM;
    let largest = rows.iter().map(|(_, _, row)| row.value).fold(0.0, f64::max);
    let ticks = ticks(largest, 6);
    let x = Scale::linear((0.0, ticks[ticks.len() - 1]), (LEFT, WIDTH - RIGHT));
    let y = |index: usize| TOP + ROW * index as f64 + (ROW - BAR) / 2.0;
    html! {
        svg.wide.waterfall viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label="What each step saves" {
            @for tick in &ticks {
                (line("grid", (x.place(*tick), TOP), (x.place(*tick), height - BOTTOM)))
                (text("", (x.place(*tick), height - BOTTOM + 18.0), "middle", &short(*tick)))
            }
            (line("axis", (LEFT, TOP), (LEFT, height - BOTTOM)))
            (text("title", ((LEFT + WIDTH - RIGHT) / 2.0, height - 8.0), "middle", "instructions for one operation"))
            @for (index, (step, case, row)) in rows.iter().enumerate() {
                @if index + 1 < rows.len() {
                    (line("join", (x.place(row.value), y(index) + BAR), (x.place(row.value), y(index + 1))))
                }
                g style=(colour(case.level())) data-step=(step) {
                    (text("name", (LEFT - 10.0, y(index) + BAR / 2.0 + 4.5), "end", step))
                    (bar(context, (index > 0).then(|| rows[index - 1].2.value), row, &x, y(index)))
                    (text("strong", (WIDTH - 8.0, y(index) + BAR / 2.0 + 4.5), "end", &number(row.value)))
                }
            }
        }
    }
}

/// The whole cost of the first step; the change of a later one, with its number beside it.
fn bar(context: &Context, before: Option<f64>, row: &Measurement, x: &Scale, y: f64) -> Markup {
    let start = before.unwrap_or(0.0);
    let (low, high) = (start.min(row.value), start.max(row.value));
    let class = match before {
        None => "unsplit",
        Some(before) if row.value <= before => "good",
        Some(_) => "bad",
    };
    // A change that is too small to see is still a line.
    let width = (x.place(high) - x.place(low)).max(2.0);
    let change = row.value - start;
    let words = match change {
        change if change > 0.0 => format!("+{}", number(change)),
        change => format!("−{}", number(-change)),
    };
    let middle = y + BAR / 2.0 + 4.5;
    html! {
        rect class={"bar " (class)} x=(at(x.place(low))) y=(at(y)) height=(at(BAR)) width=(at(width))
            data-row=(context.index(row)) data-value=(row.value) { title { (hint("", row)) } }
        @if before.is_some() {
            (text(class, (x.place(low) + width + 8.0, middle), "start", &words))
        }
    }
}

/// What else the steps change.
fn table(steps: &[(&str, Case)]) -> Markup {
    let kinds = [
        (Quantity::SystemCalls, "system calls"),
        (Quantity::AddressSpaceSwitches, "address-space switches"),
        (Quantity::Interrupts, "interrupts"),
        (Quantity::WakeUps, "wake-ups"),
        (Quantity::BytesCopied, "bytes copied"),
    ];
    html! {
        figure { div.scroll { table.steps {
            thead { tr {
                th.word { "step" } th.word { "what changes" }
                @for (_, name) in kinds { th { (name) } }
                th { "operations per second" }
            } }
            tbody { @for (index, (step, case)) in steps.iter().enumerate() { tr style=(colour(case.level())) {
                td.word.level { (step) }
                td.word.changes { @if index > 0 { (changes(&steps[index - 1].1, case)) } }
                @for (quantity, _) in kinds { (super::tables::cell(case.per_operation(quantity))) }
                @match case.row(Method::Timed, What::Throughput) {
                    Some(row) => td { (short(row.value)) },
                    None => td.none { "–" },
                }
            } } }
        } } }
    }
}

/// The conditions that a step changes, read off the labels.
fn changes(before: &Case, now: &Case) -> String {
    const CONDITIONS: [&str; 9] = [
        "level",
        "buffers",
        "qd",
        "batch",
        "wait",
        "topology",
        "iommu",
        "block_size",
        "device",
    ];
    let differ = CONDITIONS
        .iter()
        .filter(|name| before.label(name) != now.label(name));
    let words: Vec<_> = differ
        .map(|name| {
            let word = if *name == "qd" {
                "depth".into()
            } else {
                name.replace('_', " ")
            };
            format!("{word} {} → {}", before.label(name), now.label(name))
        })
        .collect();
    words.join(", ")
}

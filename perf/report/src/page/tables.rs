//! The tables of the page.

use maud::{Markup, html};
use spillway_wire::{Method, Quantity};

use super::{
    Context,
    plot::{colour, looks},
};
use crate::{
    Measurement,
    case::{Case, Group, What},
    limits,
    number::number,
    sizes,
};

/// The columns of the cost vector.
const VECTOR: [(Quantity, &str); 9] = [
    (Quantity::Instructions, "instructions"),
    (Quantity::SystemCalls, "system calls"),
    (Quantity::AddressSpaceSwitches, "address-space switches"),
    (Quantity::MmioWrites, "register writes"),
    (Quantity::Interrupts, "interrupts"),
    (Quantity::WakeUps, "wake-ups"),
    (Quantity::BytesCopied, "bytes copied"),
    (Quantity::IotlbFlushes, "IOTLB flushes"),
    (Quantity::EmptyPolls, "empty polls"),
];

/// A number, or a dash for what was not measured.
pub fn cell(value: Option<f64>) -> Markup {
    match value {
        Some(0.0) => html! { td.zero { "0" } },
        Some(value) => html! { td { (number(value)) } },
        None => html! { td.none title="not measured" { "–" } },
    }
}

/// The cost vector of every case.
pub fn vector(context: &Context, group: &Group) -> Markup {
    let series = group.series();
    let looks = looks(series.iter().map(|(name, _)| name.as_str()));
    let row = |case: &Case<'_>, quantity| {
        let by = |method| {
            case.row(method, What::PerOperation(quantity))
                .map(|row| (context.index(row), row.value))
        };
        by(Method::Counted).or_else(|| by(Method::Timed))
    };
    let is_known = |quantity| group.cases.iter().any(|case| row(case, quantity).is_some());
    let columns: Vec<_> = VECTOR
        .into_iter()
        .filter(|(quantity, _)| is_known(*quantity))
        .collect();
    if columns.is_empty() {
        return html! {};
    }
    html! {
        h3 { "The whole cost of one operation" }
        p.caption {
            "An instruction is not time: a page-table switch, a register write and a cache miss each count as one. \
             So here is everything that was counted, for one operation. A dash was not measured."
        }
        figure { div.scroll { table.vector {
            thead { tr {
                th.word { "level" } th { "depth" }
                @for (_, name) in &columns { th { (name) } }
            } }
            tbody {
                @for ((name, cases), look) in series.iter().zip(&looks) {
                    @for (index, case) in cases.iter().enumerate() {
                        tr.first[index == 0] style=(look.colour) {
                            td.word.level { (name) } td { (case.depth()) }
                            @for (quantity, _) in &columns {
                                @match row(case, *quantity) {
                                    Some((index, value)) => td.zero[value == 0.0] data-row=(index) data-value=(value) { (number(value)) },
                                    None => td.none title="not measured" { "–" },
                                }
                            }
                        }
                    }
                }
            }
        } } }
    }
}

/// What the same program takes at each level.
pub fn sizes(context: &Context) -> Markup {
    let sizes = sizes::of(&context.document.results);
    if sizes.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "The same small program at each level" }
            p.caption {
                "It opens the disk and reads a page. Bytes of its code, of its constants and data, and of the memory \
                 that it has when it runs; and the devices on which the very same file ran. A driver that is linked in \
                 makes a program larger, and ties it to a kind of device."
            }
            figure { div.scroll { table.sizes {
                thead { tr {
                    th.word { "level" } th { "text, bytes" } th { "data, bytes" } th { "memory, bytes" }
                    th.word { "runs unchanged on" }
                } }
                tbody { @for size in &sizes { tr style=(colour(Some(size.level))) {
                    td.word.level { (size.level.name()) }
                    (cell(size.text)) (cell(size.data)) (cell(size.memory))
                    td.word { (size.devices.join(", ")) }
                } } }
            } } }
        }
    }
}

/// Every row of the document.
pub fn all(context: &Context) -> Markup {
    let rows = &context.document.results;
    let labels = |row: &Measurement| {
        let labels = row
            .labels
            .iter()
            .map(|(name, value)| format!("{name} {value}"));
        labels.collect::<Vec<_>>().join(", ")
    };
    html! {
        h2 { "Every figure" }
        details open[rows.iter().all(|row| What::of(row).is_none())] {
            summary { (rows.len()) " figures with their extremes" }
            div.inside { div.scroll { table.all {
                thead { tr {
                    th.word { "figure" } th.word { "method" } th { "value" } th { "min" } th { "max" }
                    th.word { "unit" } th { "samples" } th { "limit" } th { "aim" } th.word { "labels" }
                } }
                tbody { @for (index, row) in rows.iter().enumerate() { tr {
                    td.word { (row.name) } td.word { (row.method.name()) }
                    td data-row=(index) data-value=(row.value) { (number(row.value)) }
                    td { (number(row.min)) } td { (number(row.max)) }
                    td.word { (row.unit) } td { (row.samples.len()) }
                    (bounds(row))
                    td.word { (labels(row)) }
                } } }
            } } }
        }
    }
}

fn bounds(row: &Measurement) -> Markup {
    let limit = limits::of(row);
    html! {
        @if let Some(limit) = limit {
            td.bad[row.value > limit.most].good[row.value <= limit.most] { (number(limit.most)) }
        } @else { td {} }
        td { @if let Some(aim) = limit.and_then(|limit| limit.aim) { (number(aim)) } }
    }
}

//! One card for each level: the way, the figure, and the reason.

use maud::{Markup, html};
use spillway_plan::Level;
use spillway_wire::{Method, Quantity};

use super::plot::looks;
use crate::{
    case::{Case, Group, What},
    number::{number, short},
    why,
};

/// The way from the application to the driver.
const fn path(level: Level) -> &'static str {
    match level {
        Level::Sync => "a system call, the kernel, the driver process",
        Level::Async => "rings shared with the kernel, the driver process",
        Level::Shared => "rings shared with the driver process",
        Level::Integrated => "the driver in the application",
    }
}

/// The cards of a group.
pub fn cards(group: &Group) -> Markup {
    let series = group.series();
    let looks = looks(series.iter().map(|(name, _)| name.as_str()));
    let reasons = why::reasons(group);
    html! {
        div.cards {
            @for ((name, cases), look) in series.iter().zip(&looks) {
                @if let Some(reason) = reasons.iter().find(|reason| reason.series == *name) {
                    div.card style=(look.colour) {
                        h3 { (name) }
                        @if let Some(level) = cases[0].level() { p.path { (path(level)) } }
                        @else { p.path { "another system on the same device" } }
                        @if let Some(case) = cases.iter().find(|case| case.depth() == reason.depth) {
                            (figure(case))
                        }
                        p.why { "At depth " (reason.depth) ": " (reason.text) }
                    }
                }
            }
        }
    }
}

fn figure(case: &Case) -> Markup {
    let cost = case.counted(Quantity::Instructions);
    let throughput = case.row(Method::Timed, What::Throughput);
    html! {
        @if let Some(cost) = cost {
            div.figure { (number(cost)) small { "instructions per " (case.operation()) } }
        } @else if let Some(throughput) = throughput {
            div.figure { (short(throughput.value)) small { (case.operation()) "s per second" } }
        }
    }
}

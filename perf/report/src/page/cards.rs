//! One card for each level: the way, the figure, and the reason.

use maud::{Markup, html};
use spillway_plan::Level;
use spillway_wire::{Method, Quantity};

use super::plot::{Look, looks};
use crate::{
    case::{Case, Group, What},
    number::{number, short},
    why::{self, Reason},
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
    let all = series
        .iter()
        .zip(&looks)
        .filter_map(|((name, cases), look)| {
            let reason = reasons.iter().find(|reason| reason.series == *name)?;
            Some((cases.as_slice(), look, reason))
        });
    let (ours, others): (Vec<_>, Vec<_>) = all.partition(|(cases, ..)| cases[0].system().is_none());
    let show = |cards: &[(&[&Case], &Look, &Reason)]| {
        html! {
            div.cards { @for (cases, look, reason) in cards { (card(cases, look, reason)) } }
        }
    };
    html! {
        @if !ours.is_empty() { (show(&ours)) }
        @if !others.is_empty() {
            details open[ours.is_empty()] {
                summary { "Another system on the same device: " (others.len()) " interfaces in words" }
                div.inside { (show(&others)) }
            }
        }
    }
}

fn card(cases: &[&Case], look: &Look, reason: &Reason) -> Markup {
    html! {
        div.card style=(look.colour) {
            h3 { (look.name) }
            @if let Some(level) = cases[0].level() { p.path { (path(level)) } }
            @if let Some(case) = cases.iter().find(|case| case.depth() == reason.depth) {
                (figure(case))
            }
            ul.why { @for sentence in &reason.sentences { li { (sentence) } } }
        }
    }
}

fn figure(case: &Case) -> Markup {
    let cost = case.counted(Quantity::Instructions);
    let throughput = case.row(Method::Timed, What::Throughput);
    let depth = case.depth();
    html! {
        @if let Some(cost) = cost {
            div.figure { (number(cost)) small { "instructions per " (case.operation()) } small { "at depth " (depth) } }
        } @else if let Some(throughput) = throughput {
            div.figure { (short(throughput.value)) small { (case.operation()) "s per second" } small { "at depth " (depth) } }
        }
    }
}

//! The cost of one operation by the place where it arises: a bar for each case.

use maud::{Markup, html};
use spillway_wire::{Method, Quantity};

use super::{
    Context,
    plot::{Scale, at, hint, line, looks, room, text, ticks},
};
use crate::{
    Measurement,
    case::{Case, Group, What},
    number::{number, short},
};

const WIDTH: f64 = 860.0;
/// Room for names at the least.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 80.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 50.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;

const PLACES: [(Quantity, &str, &str); 3] = [
    (Quantity::Application, "app", "application"),
    (Quantity::Driver, "driver", "driver process"),
    (Quantity::Kernel, "kernel", "kernel"),
];

/// What a bar shows.
struct Bar<'a> {
    label: String,
    colour: String,
    is_ours: bool,
    total: Option<&'a Measurement>,
    parts: Vec<(&'static str, &'static str, &'a Measurement)>,
}

impl Bar<'_> {
    fn sum(&self) -> f64 {
        self.parts.iter().map(|(_, _, row)| row.value).sum()
    }

    fn length(&self) -> f64 {
        self.sum().max(self.total.map_or(0.0, |row| row.value))
    }
}

/// The bars; nothing without counted rows. Where another system costs so much more that ours could
/// not be told apart beside it, ours come first by themselves.
pub fn figure(context: &Context, group: &Group) -> Markup {
    let series = group.series();
    let looks = looks(series.iter().map(|(name, _)| name.as_str()));
    let bars: Vec<Bar> = series
        .iter()
        .zip(&looks)
        .flat_map(|((name, cases), look)| {
            cases
                .iter()
                .filter_map(|case| bar(case, name, &look.colour))
        })
        .collect();
    let (ours, others): (Vec<_>, Vec<_>) = bars.iter().partition(|bar| bar.is_ours);
    let longest = |bars: &[&Bar]| bars.iter().map(|bar| bar.length()).fold(0.0, f64::max);
    let ours_alone = !ours.is_empty() && longest(&others) > 2.0 * longest(&ours);
    let all: Vec<&Bar> = bars.iter().collect();
    html! {
        @if !bars.is_empty() {
            h3 { "Cost of one operation, by place" }
            p.caption { "Instructions of work for one operation, without polls that found nothing and without idling. Lower is better." }
            (bars_of(context, if ours_alone { &ours } else { &all }))
            @if ours_alone {
                h3 { "The same beside another system" }
                p.caption { "On a scale of its own." }
                (bars_of(context, &all))
            }
        }
    }
}

fn bars_of(context: &Context, bars: &[&Bar]) -> Markup {
    let is_split = bars.iter().any(|bar| !bar.parts.is_empty());
    let is_unsplit = bars.iter().any(|bar| bar.parts.is_empty());
    html! {
        figure {
            ul.legend {
                @if is_split {
                    @for (_, class, place) in PLACES { li { i class=(class) {} (place) } }
                }
                @if is_unsplit { li { i.unsplit {} "everywhere, not split" } }
                @if is_split { li { i.total-mark {} "total, as the guest counted it" } }
            }
            div.scroll { (plot(context, bars)) }
            figcaption {
                "Counted by the emulator. The number at the end is the total."
                @if is_split {
                    " The places were told apart from outside, by the emulator, which costs the guest nothing."
                }
            }
        }
    }
}

fn bar<'a>(case: &Case<'a>, name: &str, colour: &str) -> Option<Bar<'a>> {
    let row = |quantity| case.row(Method::Counted, What::PerOperation(quantity));
    let total = row(Quantity::Instructions);
    let parts = PLACES
        .iter()
        .filter_map(|(quantity, class, place)| Some((*class, *place, row(*quantity)?)));
    let mut parts: Vec<_> = parts.collect();
    // A single place is no split.
    if parts.len() < 2 {
        parts.clear();
    }
    let bar = Bar {
        label: format!("{name}, depth {}", case.depth()),
        colour: colour.into(),
        is_ours: case.level().is_some(),
        total,
        parts,
    };
    (total.is_some() || !bar.parts.is_empty()).then_some(bar)
}

fn plot(context: &Context, bars: &[&Bar]) -> Markup {
    let height = TOP + ROW * bars.len() as f64 + BOTTOM;
    let largest = bars.iter().map(|bar| bar.length()).fold(0.0, f64::max);
    let ticks = ticks(largest, 6);
    let left = LEFT.max(20.0 + room(bars.iter().map(|bar| bar.label.as_str())));
    let x = Scale::linear((0.0, ticks[ticks.len() - 1]), (left, WIDTH - RIGHT));
    html! {
        svg.wide.cost viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label="Instructions per operation by place" {
            @for tick in &ticks {
                (line("grid", (x.place(*tick), TOP), (x.place(*tick), height - BOTTOM)))
                (text("", (x.place(*tick), height - BOTTOM + 18.0), "middle", &short(*tick)))
            }
            (line("axis", (left, TOP), (left, height - BOTTOM)))
            (text("title", ((left + WIDTH - RIGHT) / 2.0, height - 8.0), "middle", "instructions for one operation"))
            @for (index, bar) in bars.iter().enumerate() {
                (one(context, bar, &x, left, TOP + ROW * index as f64 + (ROW - BAR) / 2.0))
            }
        }
    }
}

fn one(context: &Context, bar: &Bar, x: &Scale, left: f64, y: f64) -> Markup {
    let mut from = 0.0;
    let mut parts = Vec::new();
    for (class, place, row) in &bar.parts {
        parts.push((*class, *place, *row, from));
        from += row.value;
    }
    let end = x.place(bar.length()) + 8.0;
    let shown = bar.total.map_or(bar.sum(), |row| row.value);
    let middle = y + BAR / 2.0;
    html! {
        g style=(bar.colour) data-case=(bar.label) {
            (text("name", (left - 10.0, middle + 4.5), "end", &bar.label))
            @for (class, place, row, from) in parts {
                rect class={"bar " (class)} x=(at(x.place(from))) y=(at(y)) height=(at(BAR))
                    width=(at(x.place(from + row.value) - x.place(from)))
                    data-row=(context.index(row)) data-value=(row.value) { title { (hint(place, row)) } }
            }
            @if let Some(total) = bar.total {
                @if bar.parts.is_empty() {
                    rect.bar.unsplit x=(at(left)) y=(at(y)) height=(at(BAR)) width=(at(x.place(total.value) - left))
                        data-row=(context.index(total)) data-value=(total.value) { title { (hint(&bar.label, total)) } }
                } @else {
                    line.total-mark x1=(at(x.place(total.value))) x2=(at(x.place(total.value))) y1=(at(y - 3.0)) y2=(at(y + BAR + 3.0))
                        data-row=(context.index(total)) data-value=(total.value) { title { (hint(&bar.label, total)) } }
                }
            }
            (text("strong", (end, middle + 4.5), "start", &number(shown)))
        }
    }
}
